// Values as texts: Python's `str`, `repr` and `json.dumps`.

import {
  Callable,
  checkLength,
  Float,
  isSimple,
  Loop,
  Markup,
  Namespace,
  Range,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.js'

/** Python's `str`. */
export function textOf(value: Value): string {
  if (value instanceof Markup) return value.text
  if (value instanceof Undefined) return ''
  return typeof value === 'string' ? value : representation(value)
}

/** Python's `repr`. */
export function representation(value: Value): string {
  if (value === null) return 'None'
  if (typeof value === 'string') return quoted(value)
  if (typeof value === 'number') return String(value)
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (value instanceof Float) return floatText(value.value)
  if (value instanceof Range) return value.text
  if (Array.isArray(value)) return `[${list(value)}]`
  if (value instanceof View) return `${value.name}([${list(value.items)}])`
  if (value instanceof Tuple) {
    return value.items.length === 1 ? `(${list(value.items)},)` : `(${list(value.items)})`
  }
  if (value instanceof Map) {
    return `{${joinedTexts(
      [...value].map(([key, item]) => `${representation(key)}: ${representation(item)}`),
      ', ',
    )}}`
  }
  if (value instanceof Undefined) return 'Undefined'
  // Python prints where they lie in memory, which no prompt can mean.
  const kind = value instanceof Callable ? 'function' : typeName(value)
  const what =
    value instanceof Namespace || value instanceof Loop ? kind : `${kind} (add "| list"?)`
  throw new TemplateError(`it prints a ${what}, which has no text`)
}

const list = (items: readonly Value[]) => joinedTexts(items.map(representation), ', ')

/** Texts joined, within the limit. */
export function joinedTexts(texts: readonly string[], separator: string): string {
  const between = separator.length * Math.max(0, texts.length - 1)
  checkLength(texts.reduce((sum, text) => sum + text.length, between))
  return texts.join(separator)
}

const HTML: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&#39;',
  '"': '&#34;',
}

/** A text for HTML. */
export function escapedText(value: Value): string {
  if (value instanceof Markup) return value.text
  return textOf(value).replace(/[&<>'"]/g, (one) => HTML[one]!)
}

/** A number with so many digits behind the point, at most 99; a tie goes to the even digit, as in Python. */
export function fixedText(value: number, digits: number): string {
  const exact = value.toFixed(100)
  const end = exact.length - 100 + digits
  const isTie = /^50*$/.test(exact.slice(end))
  if (!isTie) return value.toFixed(digits)
  const [kept, step] = [Number(exact.slice(0, end)), 10 ** -digits]
  const isEven = Number(exact.slice(0, end).at(exact[end - 1] === '.' ? -2 : -1)) % 2 === 0
  return (isEven ? kept : kept + Math.sign(value) * step).toFixed(digits)
}

/** Python's shortest text for a float. It has JavaScript's digits, but an exponent from 1e16 and below 1e-4. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf'
  if (Object.is(value, -0)) return '-0.0'
  const size = Math.abs(value)
  if (size === 0 || (size >= 1e-4 && size < 1e16)) {
    const text = String(value)
    return text.includes('.') ? text : `${text}.0`
  }
  const [digits, exponent] = value.toExponential().split('e')
  return `${digits}e${exponent![0]}${exponent!.slice(1).padStart(2, '0')}`
}

// What Python's repr writes as an escape: everything that is not printable.
const UNPRINTABLE = /[\\\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Zs}]/gu
const SHORT_ESCAPES: Record<string, string> = {
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
}

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const escaped = text.replace(UNPRINTABLE, (character) => {
    if (character === ' ') return character
    const code = character.codePointAt(0)!
    const hex = code.toString(16)
    if (code < 0x100) return SHORT_ESCAPES[character] ?? `\\x${hex.padStart(2, '0')}`
    return code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`
  })
  return quote + (quote === "'" ? escaped.replaceAll("'", "\\'") : escaped) + quote
}

/** Options of `json.dumps`. */
export interface JsonOptions {
  isAscii: boolean
  /** What each level is indented by; undefined for one line. */
  indent: string | undefined
  itemSeparator: string
  keySeparator: string
  sortsKeys: boolean
}

/** Python's `json.dumps`. */
export function jsonText(value: Value, options: JsonOptions, margin = ''): string {
  if (typeof value === 'string') return jsonString(value, options)
  if (value === null || typeof value === 'boolean' || typeof value === 'number')
    return String(value)
  if (value instanceof Float) return jsonFloat(value.value)
  const inner = margin + (options.indent ?? '')
  const items = Array.isArray(value) ? value : value instanceof Tuple ? value.items : undefined
  if (items)
    return jsonGroup(
      '[]',
      items.map((one) => jsonText(one, options, inner)),
      options,
      margin,
    )
  if (value instanceof Map) {
    const entries = entriesOf(value, options).map(
      ([key, one]) =>
        jsonString(key, options) + options.keySeparator + jsonText(one, options, inner),
    )
    return jsonGroup('{}', entries, options, margin)
  }
  throw new TemplateError(`Object of type ${typeName(value)} is not JSON serializable`)
}

function jsonGroup(
  brackets: '[]' | '{}',
  texts: string[],
  { indent, itemSeparator }: JsonOptions,
  margin: string,
): string {
  if (texts.length === 0) return brackets
  const newline = indent === undefined ? '' : `\n${margin}${indent}`
  const end = indent === undefined ? '' : `\n${margin}`
  const text = joinedTexts(texts, itemSeparator + newline)
  return joinedTexts([brackets[0]!, newline, text, end, brackets[1]!], '')
}

function entriesOf(map: Map<Value, Value>, { sortsKeys }: JsonOptions): [string, Value][] {
  const entries = [...map].map(([key, value]): [string, Value] => {
    if (typeof key === 'string') return [key, value]
    return [key instanceof Float ? jsonFloat(key.value) : String(key), value]
  })
  if (!sortsKeys) return entries
  return entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

function jsonFloat(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity'
  return floatText(value)
}

function jsonString(text: string, { isAscii }: JsonOptions): string {
  // JSON.stringify escapes lone surrogates, which Python leaves.
  const json = isSimple(text)
    ? JSON.stringify(text)
    : `"${text.replace(/["\\\p{Cc}]/gu, (one) => (one >= '\x7f' ? one : JSON.stringify(one).slice(1, -1)))}"`
  if (!isAscii) return json
  return json.replace(
    /[\x7f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

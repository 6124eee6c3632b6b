// Methods of Python's texts.

import { bound, integer, text as textArgument } from './arguments.js'
import { formattedFields } from './format.js'
import { sliced } from './slices.js'
import { joinedTexts } from './text.js'
import {
  checkItems,
  checkLength,
  codePoints,
  isSimple,
  lengthOf,
  type Named,
  needItems,
  TemplateError,
  Tuple,
  type Value,
} from './values.js'

type Method = (text: string, args: Value[], named: Named) => Value

// White space and ends of lines as Python has them: U+0085 and the separators of ASCII, but not U+FEFF.
const SPACE = '\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'
const LEADING = new RegExp(`^[${SPACE}]+`)
const ALL_SPACE = new RegExp(`^[${SPACE}]+$`)
const IS_SPACE = new RegExp(`[${SPACE}]`)
const WORDS = new RegExp(`[^${SPACE}]+`, 'g')
// biome-ignore lint/suspicious/noControlCharactersInRegex: they end lines in Python
const LINES = /\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]/g

type Side = 'left' | 'right' | 'both'

/** Python's `strip`: of white space, or of the characters in `characters`. */
export function stripped(text: string, characters: Value | undefined, side: Side = 'both'): string {
  let from = 0
  let to = text.length
  if (characters === undefined || characters === null) {
    if (side !== 'right') from = LEADING.exec(text)?.[0].length ?? 0
    // Not by a pattern for the end, which would try each run of spaces.
    if (side !== 'left') while (to > from && IS_SPACE.test(text[to - 1]!)) to -= 1
    return text.slice(from, to)
  }
  const dropped = new Set(codePoints(textArgument('strip', characters)))
  const kept = codePoints(text)
  to = kept.length
  if (side !== 'right') while (from < to && dropped.has(kept[from]!)) from += 1
  if (side !== 'left') while (to > from && dropped.has(kept[to - 1]!)) to -= 1
  return kept.slice(from, to).join('')
}

/** Python's `splitlines`. */
export function linesOf(text: string, keepsEnds = false): string[] {
  const lines: string[] = []
  let from = 0
  for (const { 0: end, index } of text.matchAll(LINES)) {
    lines.push(text.slice(from, keepsEnds ? index + end.length : index))
    from = index + end.length
  }
  if (from < text.length) lines.push(text.slice(from))
  return lines
}

/** Python's `replace`: at most `count` times unless that is negative. */
export function replaced(text: string, old: string, by: string, count: number): string {
  const parts = old === '' ? ['', ...codePoints(text), ''] : text.split(old)
  const times = count < 0 ? parts.length - 1 : Math.min(count, parts.length - 1)
  checkLength(text.length + times * (by.length - old.length))
  const rest = parts.slice(times).join(old)
  return [...parts.slice(0, times), rest].join(by)
}

/** Text times count, within the limit. */
export function repeated(text: string, count: number): string {
  checkLength(text.length * Math.max(0, count))
  return text.repeat(Math.max(0, count))
}

function split(text: string, args: Value[], named: Named, fromRight: boolean): Value {
  const { sep = null, maxsplit = -1 } = bound('split', ['sep', 'maxsplit'], args, named)
  const most = integer('split', maxsplit)
  const limit = most < 0 ? Infinity : most
  const parts =
    sep === null ? wordsOf(text, limit, fromRight) : textParts(text, sep, limit, fromRight)
  checkItems(parts.length)
  return parts
}

function textParts(text: string, sep: Value, limit: number, fromRight: boolean): string[] {
  const separator = textArgument('split', sep)
  if (separator === '') throw new TemplateError('empty separator')
  const parts = text.split(separator)
  if (parts.length - 1 <= limit) return parts
  if (!fromRight) return [...parts.slice(0, limit), parts.slice(limit).join(separator)]
  const kept = parts.length - limit
  return [parts.slice(0, kept).join(separator), ...parts.slice(kept)]
}

function wordsOf(text: string, limit: number, fromRight: boolean): string[] {
  const words = [...text.matchAll(WORDS)]
  if (words.length <= limit) return words.map(([word]) => word)
  if (!fromRight) {
    const rest = stripped(text.slice(words[limit]!.index), undefined, 'left')
    return [...words.slice(0, limit).map(([word]) => word), rest]
  }
  const kept = words.slice(words.length - limit)
  const last = words[words.length - limit - 1]!
  return [text.slice(0, last.index + last[0].length), ...kept.map(([word]) => word)]
}

function partition(fromRight: boolean): Method {
  return (text, [sep]) => {
    const separator = textArgument('partition', sep)
    if (separator === '') throw new TemplateError('empty separator')
    const at = fromRight ? text.lastIndexOf(separator) : text.indexOf(separator)
    if (at < 0) return new Tuple(fromRight ? ['', '', text] : [text, '', ''])
    return new Tuple([text.slice(0, at), separator, text.slice(at + separator.length)])
  }
}

function affix(operation: 'startswith' | 'endswith'): Method {
  const test = operation === 'startswith' ? 'startsWith' : 'endsWith'
  return (text, [wanted, start, end]) => {
    const part = start === undefined ? text : (sliced(text, start, end ?? null) as string)
    const texts = wanted instanceof Tuple ? wanted.items : [wanted]
    return texts.some((one) => part[test](textArgument(operation, one)))
  }
}

function find(operation: string, fromRight: boolean): Method {
  return (text, [wanted, start, end]) => {
    const part = start === undefined ? text : (sliced(text, start, end ?? null) as string)
    const sought = textArgument(operation, wanted)
    const at = fromRight ? part.lastIndexOf(sought) : part.indexOf(sought)
    if (at < 0) {
      if (operation.endsWith('index')) throw new TemplateError('substring not found')
      return -1
    }
    const skipped = start === undefined ? 0 : lengthOf(text)! - lengthOf(sliced(text, start, null))!
    return skipped + lengthOf(part.slice(0, at))!
  }
}

function padded(operation: string): Method {
  return (text, [width, fill]) => {
    const missing = integer(operation, width) - lengthOf(text)!
    const filling = textArgument(operation, fill, ' ')
    if (missing <= 0) return text
    checkLength(text.length + missing)
    if (operation === 'ljust') return text + filling.repeat(missing)
    if (operation === 'rjust') return filling.repeat(missing) + text
    const left = Math.floor(missing / 2) + (missing & (integer(operation, width) & 1))
    return filling.repeat(left) + text + filling.repeat(missing - left)
  }
}

const all =
  (pattern: RegExp): Method =>
  (text) =>
    pattern.test(text)

/** Python's `title`: a letter after none is large, others small. */
const title: Method = (text) =>
  text.replace(/\p{L}+/gu, (word) => {
    const [first, ...rest] = codePoints(word)
    return first!.toUpperCase() + rest.join('').toLowerCase()
  })

const cased = (text: string, change: 'toUpperCase' | 'toLowerCase') =>
  /\p{L}/u.test(text) && /\p{Lu}|\p{Ll}/u.test(text) && text === text[change]()

/** As Python's: the first character large, others small. */
export function capitalized(text: string): string {
  const [first = '', ...rest] = isSimple(text)
    ? [text.slice(0, 1), text.slice(1)]
    : codePoints(text)
  return first.toUpperCase() + rest.join('').toLowerCase()
}

const METHODS: Record<string, Method> = {
  upper: (text) => text.toUpperCase(),
  lower: (text) => text.toLowerCase(),
  casefold: (text) => text.toLowerCase().replaceAll('ß', 'ss'),
  swapcase: (text) =>
    text.replace(/\p{L}/gu, (one) =>
      one === one.toUpperCase() ? one.toLowerCase() : one.toUpperCase(),
    ),
  capitalize: capitalized,
  title,
  strip: (text, [characters]) => stripped(text, characters),
  lstrip: (text, [characters]) => stripped(text, characters, 'left'),
  rstrip: (text, [characters]) => stripped(text, characters, 'right'),
  split: (text, args, named) => split(text, args, named, false),
  rsplit: (text, args, named) => split(text, args, named, true),
  splitlines: (text, args, named) =>
    linesOf(text, bound('splitlines', ['keepends'], args, named).keepends === true),
  partition: partition(false),
  rpartition: partition(true),
  startswith: affix('startswith'),
  endswith: affix('endswith'),
  find: find('find', false),
  rfind: find('rfind', true),
  index: find('index', false),
  rindex: find('rindex', true),
  count: (text, [sought]) => {
    const wanted = textArgument('count', sought)
    return wanted === '' ? lengthOf(text)! + 1 : text.split(wanted).length - 1
  },
  replace: (text, args, named) => {
    const { old, new: by, count } = bound('replace', ['old', 'new', 'count'], args, named)
    return replaced(
      text,
      textArgument('replace', old),
      textArgument('replace', by),
      integer('replace', count, -1),
    )
  },
  removeprefix: (text, [prefix]) => {
    const start = textArgument('removeprefix', prefix)
    return text.startsWith(start) ? text.slice(start.length) : text
  },
  removesuffix: (text, [suffix]) => {
    const end = textArgument('removesuffix', suffix)
    return end !== '' && text.endsWith(end) ? text.slice(0, -end.length) : text
  },
  join: (separator, [values]) => {
    const texts = needItems(values ?? null).map((value) => textArgument('join', value))
    return joinedTexts(texts, separator)
  },
  ljust: padded('ljust'),
  rjust: padded('rjust'),
  center: padded('center'),
  zfill: (text, [width]) => {
    const sign = /^[+-]/.exec(text)?.[0] ?? ''
    const missing = integer('zfill', width) - lengthOf(text)!
    return sign + repeated('0', missing) + text.slice(sign.length)
  },
  isspace: all(ALL_SPACE),
  isdigit: all(/^[\p{Nd}²³¹⁰⁴-⁹₀-₉]+$/u),
  isdecimal: all(/^\p{Nd}+$/u),
  isnumeric: all(/^\p{N}+$/u),
  isalpha: all(/^\p{L}+$/u),
  isalnum: all(/^[\p{L}\p{N}]+$/u),
  isascii: all(/^[\0-\x7f]*$/),
  isidentifier: all(/^[\p{L}_][\p{L}\p{Nd}_]*$/u),
  isupper: (text) => cased(text, 'toUpperCase'),
  islower: (text) => cased(text, 'toLowerCase'),
  format: (text, args, named) => formattedFields(text, args, named),
}

/** A method of a text by its name; undefined where Python's texts have none, or it is not implemented. */
export function stringMethod(name: string): Method | undefined {
  return Object.hasOwn(METHODS, name) ? METHODS[name] : undefined
}

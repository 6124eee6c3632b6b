// Python's two ways to put values into a text: `'%s' % value` and `'{}'.format(value)`.

import { fixedText, representation, textOf } from './text.js'
import {
  checkLength,
  type Named,
  numberOf,
  TemplateError,
  Tuple,
  typeName,
  type Value,
} from './values.js'

const CONVERSION = /%(?:\((\w+)\))?([-0 +]*)(\d+)?(?:\.(\d+))?(.?)/gs

/**
 * `text % values`: the conversions s, r, d, i, f, x and %.
 *
 * @example formatted('%s: %d', new Tuple(['a', 1])) // 'a: 1'
 */
export function formatted(text: string, values: Value): string {
  const list = values instanceof Tuple ? values.items : [values]
  let used = 0
  const result = text.replace(CONVERSION, (_, name, flags, width, precision, conversion) => {
    if (conversion === '%') return '%'
    let value: Value | undefined
    if (name !== undefined) value = values instanceof Map ? values.get(name) : undefined
    else value = list[used++]
    if (value === undefined) throw new TemplateError('not enough arguments for format string')
    const plain = converted(conversion, value, precision)
    return pad(plain, flags, width === undefined ? 0 : Number(width))
  })
  if (used < list.length && !(values instanceof Map)) {
    throw new TemplateError('not all arguments converted during string formatting')
  }
  checkLength(result.length)
  return result
}

function converted(conversion: string, value: Value, precision: string | undefined): string {
  if (conversion === 's') return textOf(value).slice(0, precision ? Number(precision) : undefined)
  if (conversion === 'r') return representation(value)
  const number = numberOf(value)
  if (number === undefined) {
    throw new TemplateError(`%${conversion} format: a number is required, not ${typeName(value)}`)
  }
  if (conversion === 'd' || conversion === 'i') return String(Math.trunc(number))
  if (conversion === 'x') return Math.trunc(number).toString(16)
  if (conversion === 'f') return fixed(number, precision === undefined ? 6 : Number(precision))
  throw new TemplateError(`the conversion %${conversion} is not implemented here`)
}

function fixed(value: number, digits: number): string {
  if (digits >= 100) throw new TemplateError('a number is asked for with 100 digits or more')
  return fixedText(value, digits)
}

function pad(text: string, flags: string, width: number): string {
  checkLength(width)
  const signed = flags.includes('+') && /^\d/.test(text) ? `+${text}` : text
  if (flags.includes('-')) return signed.padEnd(width)
  if (!flags.includes('0')) return signed.padStart(width)
  const sign = /^[+-]/.exec(signed)?.[0] ?? ''
  return sign + signed.slice(sign.length).padStart(width - sign.length, '0')
}

/**
 * `text.format(...)` with fields such as `{}`, `{0}`, `{name}` and `{:.2f}`; others are errors.
 *
 * @example formattedFields('{}-{a}', [1], new Map([['a', 2]])) // '1-2'
 */
export function formattedFields(text: string, args: readonly Value[], named: Named): string {
  let used = 0
  const result = text.replace(/\{\{|\}\}|\{([^{}]*)\}|[{}]/g, (whole, field?: string) => {
    if (whole === '{{') return '{'
    if (whole === '}}') return '}'
    const parts = /^(\w*)(?::(?:\.(\d+)f)?)?$/.exec(field ?? '!')
    if (!parts) throw new TemplateError(`the format field ${whole} is not implemented here`)
    const [, name = '', digits] = parts
    const value = /^\d*$/.test(name) ? args[name === '' ? used++ : Number(name)] : named.get(name)
    if (value === undefined) throw new TemplateError(`the format field ${whole} has no value`)
    return digits === undefined ? textOf(value) : converted('f', value, digits)
  })
  checkLength(result.length)
  return result
}

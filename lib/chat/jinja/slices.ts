// Indices and slices as Python has them: negative ones count from the end, texts are cut at code points.

import {
  checkItems,
  codePoints,
  isSimple,
  Range,
  TemplateError,
  Tuple,
  typeName,
  type Value,
} from './values.js'

/** What a value has at an index; undefined for what has no indices, or nothing there. */
export function itemAt(value: Value, index: number): Value | undefined {
  if (typeof value === 'string') {
    return isSimple(value) ? value.at(index) : codePoints(value).at(index)
  }
  if (Array.isArray(value)) return value.at(index)
  return value instanceof Tuple || value instanceof Range ? value.items.at(index) : undefined
}

/**
 * `value[start:stop:step]`; null where a part is left out.
 *
 * @example sliced('abc', -2, null) // 'bc'
 */
export function sliced(value: Value, start: Value, stop: Value, step: Value = null): Value {
  const by = whole(step) ?? 1
  if (by === 0) throw new TemplateError('slice step cannot be zero')
  const [from, to] = [whole(start), whole(stop)]
  if (typeof value === 'string') {
    if (by === 1 && isSimple(value)) return value.slice(from ?? 0, to ?? undefined)
    return picked(codePoints(value), from, to, by).join('')
  }
  if (Array.isArray(value)) return picked(value, from, to, by)
  if (value instanceof Tuple) return new Tuple(picked(value.items, from, to, by))
  if (value instanceof Range) return picked(value.items, from, to, by)
  throw new TemplateError(`'${typeName(value)}' object cannot be sliced`)
}

function picked<Item>(
  items: readonly Item[],
  start: number | undefined,
  stop: number | undefined,
  step: number,
): Item[] {
  if (step === 1) return items.slice(start, stop)
  const { length } = items
  const [lowest, highest] = step > 0 ? [0, length] : [-1, length - 1]
  const clamp = (index: number) =>
    Math.min(highest, Math.max(lowest, index < 0 ? index + length : index))
  const from = start === undefined ? (step > 0 ? lowest : highest) : clamp(start)
  const to = stop === undefined ? (step > 0 ? highest : lowest) : clamp(stop)
  const result: Item[] = []
  for (let index = from; step > 0 ? index < to : index > to; index += step) {
    result.push(items[index]!)
  }
  checkItems(result.length)
  return result
}

function whole(value: Value): number | undefined {
  if (value === null) return undefined
  if (typeof value === 'number') return value
  throw new TemplateError('slice indices must be integers or None')
}

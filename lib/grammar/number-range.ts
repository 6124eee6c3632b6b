// Numbers between two bounds, as grammars.

import {
  choice,
  EMPTY,
  type GrammarNode,
  literal,
  NOTHING,
  optional,
  range,
  repeat,
  sequence,
} from './grammar-node.js'
import { MAX_DIGITS } from './json-nodes.js'

/** Integers that grammars write have no more digits. */
export const LARGEST_INTEGER = 10 ** MAX_DIGITS - 1

const digit = range('0', '9')
const digits = (min: number, max: number) => repeat(digit, min, max)
const digitBetween = (from: number, to: number) =>
  from > to ? NOTHING : range(String(from), String(to))

/**
 * Whole numbers from `min` to `max`, both included; of no more than 15 digits, whatever the bounds.
 *
 * @example integersBetween(0, 255)
 */
export function integersBetween(min: number, max: number): GrammarNode {
  const low = Math.max(Math.ceil(min), -LARGEST_INTEGER)
  const high = Math.min(Math.floor(max), LARGEST_INTEGER)
  if (low > high) return NOTHING
  const options: GrammarNode[] = []
  if (low < 0) options.push(sequence(literal('-'), naturals(Math.max(1, -high), -low)))
  if (high >= 0) options.push(naturals(Math.max(0, low), high))
  return choice(...options)
}

/** From `low` to `high`, 0 ≤ low. */
function naturals(low: number, high: number): GrammarNode {
  if (low > high) return NOTHING
  const options: GrammarNode[] = []
  const last = String(high).length
  for (let length = String(low).length; length <= last; length++) {
    const from = Math.max(low, length === 1 ? 0 : 10 ** (length - 1))
    const to = Math.min(high, 10 ** length - 1)
    options.push(sameLength(String(from), String(to)))
  }
  return choice(...options)
}

/** Numbers of as many digits as both have, from `low` to `high`. */
function sameLength(low: string, high: string): GrammarNode {
  if (low === '') return EMPTY
  const [a, b] = [Number(low[0]), Number(high[0])]
  const [lowRest, highRest] = [low.slice(1), high.slice(1)]
  if (/^0*$/.test(lowRest) && /^9*$/.test(highRest)) {
    return sequence(digitBetween(a, b), digits(lowRest.length, lowRest.length))
  }
  if (a === b) return sequence(literal(low[0]!), sameLength(lowRest, highRest))
  const nines = '9'.repeat(lowRest.length)
  const zeros = '0'.repeat(lowRest.length)
  return choice(
    sequence(literal(low[0]!), sameLength(lowRest, nines)),
    sequence(digitBetween(a + 1, b - 1), digits(lowRest.length, lowRest.length)),
    sequence(literal(high[0]!), sameLength(zeros, highRest)),
  )
}

/** A bound of decimal numbers. */
export interface Bound {
  value: number
  isExclusive: boolean
}

/** What a bound may be at most: the digits behind the point that 15 leave must tell numbers apart. */
export const LARGEST_BOUND = 10 ** 9
export const SMALLEST_BOUND = 10 ** -6

/**
 * Decimal numbers between two bounds, without exponents.
 *
 * @example numbersBetween({ value: 0, isExclusive: true }, { value: 1, isExclusive: false })
 */
export function numbersBetween(low: Bound | undefined, high: Bound | undefined): GrammarNode {
  const options: GrammarNode[] = []
  if (!low || low.value < 0) {
    const from = high && high.value <= 0 ? negated(high) : { value: 0, isExclusive: true }
    options.push(sequence(literal('-'), magnitudes(from, low && negated(low))))
  }
  if (!high || high.value >= 0) {
    const from = low && low.value >= 0 ? low : { value: 0, isExclusive: false }
    options.push(magnitudes(from, high))
  }
  return choice(...options)
}

const negated = ({ value, isExclusive }: Bound): Bound => ({ value: -value, isExclusive })

/** A bound's digits before the point and behind it, the latter without zeros at the end. */
interface Edge {
  whole: number
  fraction: string
  isExclusive: boolean
}

function edgeOf({ value, isExclusive }: Bound): Edge {
  const [whole, fraction = ''] = String(Math.abs(value)).split('.')
  return { whole: Number(whole), fraction, isExclusive }
}

function magnitudes(lowBound: Bound, highBound: Bound | undefined): GrammarNode {
  const low = edgeOf(lowBound)
  const high = highBound ? edgeOf(highBound) : undefined
  // Of 15 digits no two are the same double, so none is rounded to a bound that it keeps clear of.
  const places = MAX_DIGITS - String(Math.max(low.whole, high?.whole ?? 0)).length
  const end = high?.whole ?? LARGEST_INTEGER + 1
  if (low.whole > end) return NOTHING
  if (low.whole === end) {
    return sequence(literal(String(end)), fractions(low, high, places))
  }
  const between = naturals(low.whole + 1, end - 1)
  return choice(
    sequence(literal(String(low.whole)), fractions(low, undefined, places)),
    sequence(between, optional(sequence(literal('.'), digits(1, places)))),
    ...(high ? [sequence(literal(String(end)), fractions(undefined, high, places))] : []),
  )
}

/** What a bound still asks of the digits that follow; undefined: nothing. */
type Side = { rest: string; isExclusive: boolean } | undefined

/** A point and digits, or nothing, so that the number is not below `low` nor above `high`. */
function fractions(low: Edge | undefined, high: Edge | undefined, places: number): GrammarNode {
  const side = (edge: Edge | undefined): Side =>
    edge && { rest: edge.fraction, isExclusive: edge.isExclusive }
  const digitsBetween = fractionDigits(side(low), side(high), places, true)
  const withPoint = sequence(literal('.'), digitsBetween)
  return mayEnd(side(low), side(high)) ? choice(withPoint, EMPTY) : withPoint
}

/** Whether zeros may follow, which nobody writes. */
function mayEnd(low: Side, high: Side): boolean {
  const isHighEnough = !low || (low.rest === '' && !low.isExclusive)
  const isLowEnough = high?.rest !== '' || !high.isExclusive
  return isHighEnough && isLowEnough
}

function fractionDigits(low: Side, high: Side, places: number, isFirst: boolean): GrammarNode {
  if (!low && !high) return digits(isFirst ? 1 : 0, places)
  const options = !isFirst && mayEnd(low, high) ? [EMPTY] : []
  if (places === 0) return choice(...options)
  const from = low ? Number(low.rest[0] ?? 0) : 0
  const to = high ? Number(high.rest[0] ?? 0) : 9
  const behind = (side: Side, edge: number, value: number): Side =>
    side && value === edge ? { ...side, rest: side.rest.slice(1) } : undefined
  for (let value = from; value <= to; value++) {
    const [lowRest, highRest] = [behind(low, from, value), behind(high, to, value)]
    const more = fractionDigits(lowRest, highRest, places - 1, false)
    options.push(sequence(literal(String(value)), more))
  }
  return choice(...options)
}

// The one table that says how close to exact is close enough.

import type { DType } from '../operations/tensor.js'

/**
 * |actual − expected| may be `absolute + relative · |expected|`, where the dtype is that of the
 * results, not of the weights: references are computed from the weights as they are stored.
 * Half precision allows one rounding of a float32 result; float32 the error that sums of a few
 * thousand products gather.
 */
export const TOLERANCES: Readonly<Record<DType, { absolute: number; relative: number }>> = {
  float32: { absolute: 1e-5, relative: 1e-5 },
  float16: { absolute: 1e-5, relative: 1e-3 },
  bfloat16: { absolute: 1e-5, relative: 1e-2 },
  uint32: { absolute: 0, relative: 0 },
  uint8: { absolute: 0, relative: 0 },
}

/** The element that is furthest from its tolerance. */
export interface WorstElement {
  index: number
  error: number
  /** What the tolerance allows there. */
  limit: number
}

/** error / limit: above 1 is too far. Infinite for NaN or infinity on one side only. */
export function excess({ error, limit }: WorstElement): number {
  if (error === 0) return 0
  return limit > 0 ? error / limit : Number.POSITIVE_INFINITY
}

/** Compares two arrays of the same length, element by element; undefined when they are empty. */
export function worstElement(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  dtype: DType,
): WorstElement | undefined {
  const { absolute, relative } = TOLERANCES[dtype]
  if (expected.length === 0) return undefined
  const worst = { index: 0, error: 0, limit: absolute + relative * Math.abs(expected[0]!) }
  let largest = 0
  for (let index = 0; index < expected.length; index++) {
    const [a, e] = [actual[index]!, expected[index]!]
    if (a === e || Object.is(a, e)) continue
    const finite = Number.isFinite(a) && Number.isFinite(e)
    const error = finite ? Math.abs(a - e) : Number.POSITIVE_INFINITY
    const limit = absolute + relative * Math.abs(e)
    const ratio = limit > 0 ? error / limit : Number.POSITIVE_INFINITY
    if (ratio <= largest) continue
    largest = ratio
    Object.assign(worst, { index, error, limit })
  }
  return worst
}

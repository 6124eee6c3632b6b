// The one place that says how close is close enough, and the comparisons that use it.

import { expect } from 'vitest'
import type { DType } from '../lib/tensor.js'

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
}

/** Of whole results against goldens in float64: ‖actual − expected‖ / ‖expected‖. */
export const GOLDEN_RELATIVE_L2 = 2e-5

/** Fails with the worst element when the arrays differ by more than `TOLERANCES[dtype]`. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  dtype: DType,
): void {
  expect(actual.length, 'number of elements').toBe(expected.length)
  const { absolute, relative } = TOLERANCES[dtype]
  let worst = 0
  let message = ''
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!]
    if (Object.is(a, e) || a === e) continue
    const allowed = absolute + relative * Math.abs(e)
    // NaN or infinity on one side only is infinitely wrong.
    const finite = Number.isFinite(a) && Number.isFinite(e)
    const excess = !finite ? Infinity : allowed > 0 ? Math.abs(a - e) / allowed : Infinity
    if (excess > 1 && excess > worst) {
      worst = excess
      message = `element ${i} of ${expected.length} is ${a} but should be ${e} (±${allowed})`
    }
  }
  if (worst > 0) expect.fail(message)
}

/**
 * Fails with the first element that is not the very same. For arrays so large that the differences
 * which `toEqual` lists would take minutes.
 */
export function expectSame(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(actual.length, 'number of elements').toBe(expected.length)
  for (let i = 0; i < expected.length; i++) {
    if (Object.is(actual[i], expected[i])) continue
    expect.fail(`element ${i} of ${expected.length} is ${actual[i]} but should be ${expected[i]}`)
  }
}

/** ‖actual − expected‖ / ‖expected‖. */
export function relativeL2(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length, 'number of elements').toBe(expected.length)
  let difference = 0
  let norm = 0
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2
    norm += expected[i]! ** 2
  }
  return Math.sqrt(difference / norm)
}

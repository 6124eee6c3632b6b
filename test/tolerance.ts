// Comparisons of results. What is close enough, element by element, is said in lib/verify/tolerance.ts.

import { expect } from 'vitest'
import type { DType } from '../lib/operations/tensor.js'
import { excess, worstElement } from '../lib/verify/tolerance.js'

/** Of whole results against goldens in float64: ‖actual − expected‖ / ‖expected‖. */
export const GOLDEN_RELATIVE_L2 = 2e-5

/** Fails with the worst element when the arrays differ by more than `TOLERANCES[dtype]`. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  dtype: DType,
): void {
  expect(actual.length, 'number of elements').toBe(expected.length)
  const worst = worstElement(actual, expected, dtype)
  if (!worst || excess(worst) <= 1) return
  const { index, limit } = worst
  expect.fail(
    `element ${index} of ${expected.length} is ${actual[index]} but should be ${expected[index]} (±${limit})`,
  )
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

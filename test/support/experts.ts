// What tokens of a test choose, and the products that follow.

import type { Device } from '../../lib/operations/device.js'
import { linear } from '../reference/linear.js'
import { upload } from './arrays.js'

export const EXPERTS = 5
// Two tokens share an expert; one has the same expert as the other in another place.
const CHOSEN = [
  [4, 0],
  [2, 4],
  [0, 1],
]

/** A product of every token's experts; `weights` has the rows of one expert after the other, `expertRows` apart. */
export function expectedOfExperts(
  x: number[][],
  weights: number[][],
  outputs: number,
  expertRows: number,
  finish: (sum: number, i: number) => number,
): number[] {
  return CHOSEN.flat().flatMap((expert, product) => {
    const row = x.length === CHOSEN.length ? x[Math.floor(product / 2)]! : x[product]!
    const first = expert * expertRows
    return linear(row, weights.slice(first, first + outputs)).map((sum, n) =>
      finish(sum, product * outputs + n),
    )
  })
}

export const chosenOn = (device: Device) => upload(device, 'uint32', [3, 2], CHOSEN.flat())

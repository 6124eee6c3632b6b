// What tokens of a test choose, and the products that follow.

import type { Device } from '../../lib/operations/device.js'
import { EXPERT_TILE, mostExpertTiles } from '../../lib/operations/arguments.js'
import type { Recorder } from '../../lib/operations/recorder.js'
import type { Tensor } from '../../lib/operations/tensor.js'
import { linear } from '../reference/linear.js'
import { seededIntegers } from '../unit/random.js'
import { unwritten, upload } from './arrays.js'

export const EXPERTS = 5
// Two tokens share an expert; one has the same expert as the other in another place.
const CHOSEN = [
  [4, 0],
  [2, 4],
  [0, 1],
]

/** As many of so many experts for each token, of the first `used` of them. */
export function choices(tokens: number, chosen: number, used: number): number[][] {
  const below = seededIntegers(tokens)
  return Array.from({ length: tokens }, () => Array.from({ length: chosen }, () => below(used)))
}

/** Those of a chunk on a device, and their tiles. */
export function chunkOn(device: Device, cl: Recorder, chosen: number[][], experts: number) {
  const [tokens, k] = [chosen.length, chosen[0]!.length]
  const tensor = upload(device, 'uint32', [tokens, k], chosen.flat())
  const tiles = unwritten(device, [mostExpertTiles(tokens * k, experts), EXPERT_TILE], 'uint32')
  cl.groupExperts(tensor, tiles, { experts })
  return { chosen: tensor, tiles } satisfies Record<string, Tensor>
}

/** A product of every token's experts; `weights` has the rows of one expert after the other, `expertRows` apart. */
export function expectedOfExperts(
  x: number[][],
  weights: number[][],
  outputs: number,
  expertRows: number,
  finish: (sum: number, i: number) => number,
  chosen: number[][] = CHOSEN,
): number[] {
  return chosen.flat().flatMap((expert, product) => {
    const row = x[Math.floor((product * x.length) / chosen.flat().length)]!
    const first = expert * expertRows
    return linear(row, weights.slice(first, first + outputs)).map((sum, n) =>
      finish(sum, product * outputs + n),
    )
  })
}

export const chosenOn = (device: Device) => upload(device, 'uint32', [3, 2], CHOSEN.flat())

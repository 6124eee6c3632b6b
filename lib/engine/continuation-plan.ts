// Which candidates step together and which run alone, so that the weights are read as few times as can be.

import { MOST_ROWS } from './lists.js'

/** Indices of candidates. Those that consume no token are in neither. */
export interface ContinuationPlan {
  /** Each runs as a prompt of its own. */
  alone: number[]
  /** Each group takes one token of all its candidates in a pass: up to 32, the longest first. */
  together: number[][]
}

/**
 * Splits candidates that consume `lengths` tokens. A prompt takes a pass for each chunk, a group one for each token of
 * its longest candidate. The tokens are as many either way, so the fewest passes are the least work. The longest
 * run alone, the others together: where to split is tried at every length.
 *
 * @example planContinuations([300, 1, 2, 2, 2, 0], 256) // { alone: [0], together: [[2, 3, 4, 1]] }
 */
export function planContinuations(lengths: readonly number[], chunkSize: number): ContinuationPlan {
  const order = [...lengths.keys()]
    .filter((i) => lengths[i]! > 0)
    .sort((a, b) => lengths[b]! - lengths[a]!)
  // steps[k]: passes of groups where the k longest are not among them.
  const steps = new Float64Array(order.length + MOST_ROWS)
  for (let k = order.length - 1; k >= 0; k--) steps[k] = lengths[order[k]!]! + steps[k + MOST_ROWS]!
  let split = 0
  let fewest = steps[0]!
  let chunks = 0
  for (const [k, i] of order.entries()) {
    chunks += Math.ceil(lengths[i]! / chunkSize)
    const passes = chunks + steps[k + 1]!
    if (passes >= fewest) continue
    fewest = passes
    split = k + 1
  }
  const together: number[][] = []
  for (let k = split; k < order.length; k += MOST_ROWS) together.push(order.slice(k, k + MOST_ROWS))
  return { alone: order.slice(0, split), together }
}

// Which value of a tunable wins, from times alone.

import { median } from '../bench/statistics.js'

/** Times of one case in each round. */
export interface CaseTimes {
  /** Of the present value. */
  present: readonly number[]
  /** Of the present value once more: how far two measurements of the same thing lie apart. */
  again: readonly number[]
  /** By value; one that is absent changes nothing for this case. */
  candidates: ReadonlyMap<number, readonly number[]>
}

export interface Decision {
  /** The fastest candidate, whether or not it wins. */
  best: number
  /** Its time over that of the present value: the median over the rounds of the mean over the cases. */
  ratio: number
  /** The largest difference from 1 that the same ratio of the present value to itself had in a round. */
  noise: number
  /** Whether the best candidate is faster by more than the noise, and than `LEAST_GAIN`. */
  wins: boolean
}

/** What is not worth a change. */
export const LEAST_GAIN = 0.02

/**
 * Holds candidates against the present value: every case counts alike, by the geometric mean of the
 * ratios of times in the same round.
 *
 * @example
 * decide([{ present: [2, 2], again: [2, 2.1], candidates: new Map([[4, [1, 1]]]) }])
 * // { best: 4, ratio: about 0.5, noise: about 0.05, wins: true }
 */
export function decide(cases: readonly CaseTimes[]): Decision | undefined {
  const values = new Set(cases.flatMap(({ candidates }) => [...candidates.keys()]))
  const rounds = cases[0]?.present.length ?? 0
  if (values.size === 0 || rounds === 0) return undefined
  /** In each round. */
  const ratios = (timesOf: (given: CaseTimes) => readonly number[] | undefined) =>
    Array.from({ length: rounds }, (_, round) => {
      const logarithms = cases.map((given) => {
        const times = timesOf(given)
        return times ? Math.log(times[round]! / given.present[round]!) : 0
      })
      return Math.exp(logarithms.reduce((sum, x) => sum + x, 0) / cases.length)
    })
  const noise = Math.max(...ratios(({ again }) => again).map((ratio) => Math.abs(ratio - 1)))
  let best = { value: 0, ratio: Number.POSITIVE_INFINITY }
  for (const value of values) {
    const ratio = median(ratios(({ candidates }) => candidates.get(value)))
    if (ratio < best.ratio) best = { value, ratio }
  }
  const wins = 1 - best.ratio > Math.max(noise, LEAST_GAIN)
  return { best: best.value, ratio: best.ratio, noise, wins }
}

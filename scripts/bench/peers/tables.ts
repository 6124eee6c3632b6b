// What the tables of measurements share: which rounds count, and how figures are written.

import { mean, median } from '../../../lib/bench/statistics.js'
import { describeMachine } from '../../../lib/machine/machine.js'
import { type Precision, PRECISIONS } from './models.js'

/**
 * Leaves out the rounds in which other processes were too busy, where others remain: threads that wait for each other
 * at barriers can become ten times slower by it. `busy`: the share of the processors that they used in a round.
 */
export function quietRounds<Round>(
  name: string,
  rounds: readonly Round[],
  busy: (round: Round) => number,
  mostOthers: number,
): Round[] {
  const quiet = rounds.filter((round) => 100 * busy(round) <= mostOthers)
  const all = rounds.length
  if (quiet.length === 0) {
    console.log(`\nNOT TO BE QUOTED: ${name}: others were busy in all of ${all} rounds.`)
    return [...rounds]
  }
  if (quiet.length < all) console.log(`\n${name}: ${quiet.length} of ${all} rounds were quiet.`)
  return quiet
}

/** The largest share that others used in any of these trials. */
export function othersOf(...trials: readonly { otherCpu?: number }[]): number {
  return Math.max(...trials.map(({ otherCpu }) => otherCpu ?? 0))
}

/** A median with the range around it. */
export function spread(numbers: readonly number[], digits: number): string {
  const format = (value: number) => value.toFixed(digits)
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)]
  return `${format(median(numbers))} (${format(least)}–${format(most)})`
}

export function weightName(precision: Precision | 'f32'): string {
  return precision === 'f16' || precision === 'f32'
    ? precision
    : `${precision} bits / ${PRECISIONS[precision].toUpperCase()}`
}

/** How far logits are from `reference`: the root of the mean squared difference, in standard deviations of those. */
export function difference(reference: readonly number[], logits: readonly number[]): number {
  if (reference.length !== logits.length) throw new Error('vocabularies differ')
  const meanSquare = (numbers: readonly number[]) => mean(numbers.map((x) => x * x))
  const centre = mean(reference)
  return Math.sqrt(
    meanSquare(logits.map((x, i) => x - reference[i]!)) /
      meanSquare(reference.map((x) => x - centre)),
  )
}

/** A line of a Markdown table. */
export function row(cells: readonly unknown[]): string {
  return `| ${cells.join(' | ')} |`
}

/** Where the figures are from. */
export function machineLine(): string {
  const { processor, cores, platform, architecture, node, version } = describeMachine()
  return `${processor}, ${cores} cores, ${platform} ${architecture}, Node ${node}, ssm-metal ${version}`
}

// What streams.ts prints.

import { median } from '../../../lib/bench/statistics.js'
import type { Precision } from './models.js'
import { difference, othersOf, row, spread, weightName } from './tables.js'

/** What streams-trial.mjs answers. */
export interface Theirs {
  tokensPerSecond: number
  /** Time a token of the slowest stream over the mean of all. */
  worst: number
  otherCpu?: number
}

export interface Ours extends Theirs {
  /** Tokens a second that the machine allows, from the rates measured around the trial. */
  floor: number
  /** Tokens a second of a prompt. */
  prefill: number
  /** Bytes a second that the threads read. */
  bandwidth: number
}

/** Milliseconds. */
export interface Joining {
  /** Of the whole long prompt. */
  readMs: number
  /** Between two tokens of a stream. */
  gaps: number[]
  stepMs: number[]
  pieceMs: number[]
  pieceTokens: number[]
  otherCpu?: number
}

export interface StreamCase {
  precision: Precision
  streams: number
  rounds: { ours: Ours; theirs: Theirs }[]
}

// Shares of the floor's rate that are to be reached.
const GOALS = new Map([
  [8, 0.6],
  [32, 0.7],
])
const MOST_WORST = 1.3

export function streamTable(cases: readonly StreamCase[]): void {
  console.log('\nTokens a second of all streams; medians of the rounds (range).\n')
  const head = ['ours', 'floor', 'ours / floor', 'llama.cpp', 'ours / llama.cpp', 'worst stream']
  const rates = ['prefill tok/s', 'read GB/s', 'others %']
  console.log(row(['weights', 'streams', ...head, ...rates]))
  console.log(row(['---', ...Array(10).fill('--:')]))
  for (const { precision, streams, rounds } of cases) {
    const of = (figure: (round: StreamCase['rounds'][number]) => number, digits: number) =>
      spread(rounds.map(figure), digits)
    const goal = GOALS.get(streams)
    const share = of(({ ours }) => ours.tokensPerSecond / ours.floor, 2)
    console.log(
      row([
        weightName(precision),
        streams,
        of(({ ours }) => ours.tokensPerSecond, 0),
        of(({ ours }) => ours.floor, 0),
        goal === undefined ? share : `${share}, goal ${goal}`,
        of(({ theirs }) => theirs.tokensPerSecond, 0),
        of(({ ours, theirs }) => ours.tokensPerSecond / theirs.tokensPerSecond, 2),
        of(({ ours }) => ours.worst, 2),
        of(({ ours }) => ours.prefill, 0),
        of(({ ours }) => ours.bandwidth / 1e9, 1),
        of(({ ours, theirs }) => 100 * othersOf(ours, theirs), 0),
      ]),
    )
  }
  console.log(`\nWorst stream: its time a token over the mean of all; goal at most ${MOST_WORST}.`)
}

export function joiningTable(
  cases: readonly { precision: Precision; rounds: readonly Joining[] }[],
): void {
  console.log(
    '\nA long prompt joins 8 streams: milliseconds between two tokens of a stream while it is read.\n',
  )
  const limit = ['piece', 'tokens of a piece', 'step', 'piece + 2 steps']
  console.log(row(['weights', 'p99', 'max', ...limit, 'p99 / limit', 'prompt ms', 'others %']))
  console.log(row(['---', ...Array(9).fill('--:')]))
  for (const { precision, rounds } of cases) {
    const of = (figure: (round: Joining) => number, digits: number) =>
      spread(rounds.map(figure), digits)
    console.log(
      row([
        weightName(precision),
        of(({ gaps }) => percentile(gaps, 0.99), 0),
        of(({ gaps }) => Math.max(...gaps), 0),
        of(({ pieceMs }) => median(pieceMs), 0),
        of(({ pieceTokens }) => median(pieceTokens), 0),
        of(({ stepMs }) => median(stepMs), 0),
        of(limitOf, 0),
        of((round) => percentile(round.gaps, 0.99) / limitOf(round), 2),
        of(({ readMs }) => readMs, 0),
        of((round) => 100 * othersOf(round), 0),
      ]),
    )
  }
}

function limitOf({ pieceMs, stepMs }: Joining): number {
  return median(pieceMs) + 2 * median(stepMs)
}

function percentile(numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.ceil(share * sorted.length) - 1]!
}

// Matrix products of one row and of several may add up in another order.
const MOST_BATCH_ERROR = 0.05

/** Throws unless the logits of two sequences in a batch are those of each alone, but for rounding. */
export function checkBatch(
  name: string,
  { together, alone }: { together: number[][]; alone: number[][] },
): void {
  const [first, second] = together as [number[], number[]]
  const error = Math.max(...together.map((logits, i) => difference(alone[i]!, logits)))
  const verdict =
    `${name}: logits differ by ${error.toExponential(1)} standard deviations, ` +
    `those of the two sequences by ${difference(first, second).toFixed(1)}`
  if (!(error < MOST_BATCH_ERROR)) throw new Error(`${verdict}; ${MOST_BATCH_ERROR} are allowed`)
  if (!(difference(first, second) > 0.5)) throw new Error(`${verdict}: are they one?`)
  console.log(`- ${verdict}`)
}

// Batches of sequences that have come different ways already.

import { ringOf } from '../reference/ring.js'

/**
 * Whole sequences, of which the first `positions[b]` tokens of sequence b are past and the next
 * `length` are new.
 */
export interface Batch {
  positions: readonly number[]
  length: number
  cols: number
  /** (batch, positions[b] + length, cols) */
  sequences: number[][][]
}

export function randomBatch(
  normals: (count: number, scale?: number) => number[],
  { positions, length, cols }: { positions: readonly number[]; length: number; cols: number },
): Batch {
  const sequences = positions.map((position) =>
    Array.from({ length: position + length }, () => normals(cols)),
  )
  return { positions, length, cols, sequences }
}

/** The new tokens `start` up to but not including `end` of each sequence, flat (batch, length, cols). */
export function newTokens({ positions, length, sequences }: Batch, start = 0, end = length) {
  return sequences.flatMap((tokens, b) =>
    tokens.slice(positions[b]! + start, positions[b]! + end).flat(),
  )
}

/** The rings of the sequences after `count` new tokens, flat (batch, slots, cols). */
export function ringsAfter({ positions, sequences, cols }: Batch, count: number, slots: number) {
  return sequences.flatMap((tokens, b) =>
    ringOf(tokens.slice(0, positions[b]! + count), slots, cols).flat(),
  )
}

/** The last `length` rows of each sequence's results, flat: what belongs to the new tokens. */
export function resultsOfNewTokens(results: number[][][], length: number): number[] {
  return results.flatMap((rows) => rows.slice(-length).flat())
}

// How a prompt is cut.

import { STEP_TOKENS } from '../models/language-model.js'
import { MOST_RUN_BYTES } from '../operations/run-block.js'

/** Tokens of a prompt that run through the model at once, by default. */
export const PREFILL_CHUNK_SIZE = 256

/** The most that may be asked for: they are inputs of a run, beside the slot. */
export const LARGEST_CHUNK_SIZE = Math.floor(MOST_RUN_BYTES / 4 / 64 - 1) * 64

/** Tokens that the scan of a prompt takes at once. A prompt may be cut at multiples of it, and leaves the same bits. */
export const SCAN_TOKENS = 64

/**
 * The next chunk of a prompt of which `left` tokens are left. A few tokens beyond a multiple of 64 are a chunk of
 * their own, because products of so few rows add up in another order than those of many: what a token's numbers
 * are then depends on where the prompt began, not on how long it is. So a prompt given in parts, each a multiple
 * of 64 long but the last, leaves the same bits as the whole.
 *
 * @example nextChunk(325, 256) // 256, then nextChunk(69, 256) is 64, then nextChunk(5, 256) is 5
 */
export function nextChunk(left: number, chunkSize: number): number {
  if (left >= chunkSize) return chunkSize
  const few = left % SCAN_TOKENS
  return left > SCAN_TOKENS && few > 0 && few <= STEP_TOKENS ? left - few : left
}

/**
 * The next chunk of a prompt of so many tokens, of which `first` were started. One ends at each of `cuts`, which are
 * numbers of its tokens, ascending.
 */
export function chunkFrom(
  first: number,
  { tokens, chunkSize, cuts }: { tokens: number; chunkSize: number; cuts: readonly number[] },
): number {
  const cut = cuts.find((end) => end > first) ?? tokens
  return Math.min(nextChunk(tokens - first, chunkSize), cut - first)
}

/** All chunks of a prompt. */
export function chunkLengths(
  tokens: number,
  chunkSize: number,
  cuts: readonly number[] = [],
): number[] {
  const lengths: number[] = []
  for (let first = 0; first < tokens; first += lengths.at(-1)!) {
    lengths.push(chunkFrom(first, { tokens, chunkSize, cuts }))
  }
  return lengths
}

// Rotary embedding (Su et al., 2021) and causal attention with grouped heads (Vaswani et al., 2017; Ainslie et al., 2023)
// in double precision.

import { softmax } from './attention.js'

export interface Turn {
  /** Weight of the norm of a head. */
  norm?: number[] | undefined
  eps?: number | undefined
  /** Radians a position, of each pair. */
  frequencies?: number[] | undefined
  attentionFactor?: number | undefined
  interleaved?: boolean | undefined
}

/** A head of the token at `position`, normed and turned. The angle is the product in float32, as the authors compute it. */
export function turned(head: readonly number[], position: number, turn: Turn): number[] {
  const { norm, eps = 0, frequencies = [], attentionFactor = 1, interleaved = false } = turn
  const rms = Math.sqrt(head.reduce((sum, x) => sum + x * x, 0) / head.length + eps)
  const result = head.map((x, d) => (norm ? (x / rms) * norm[d]! : x))
  for (const [i, frequency] of frequencies.entries()) {
    const angle = Math.fround(Math.fround(position) * frequency)
    const [at, other] = interleaved ? [2 * i, 2 * i + 1] : [i, i + frequencies.length]
    const [a, b] = [result[at]!, result[other]!]
    result[at] = attentionFactor * (a * Math.cos(angle) - b * Math.sin(angle))
    result[other] = attentionFactor * (b * Math.cos(angle) + a * Math.sin(angle))
  }
  return result
}

/** Equal parts of a row. */
export function headsOf(row: readonly number[], headDim: number): number[][] {
  return Array.from({ length: row.length / headDim }, (_, h) =>
    row.slice(h * headDim, (h + 1) * headDim),
  )
}

/** One query head over all of these keys. */
export function attend(
  query: readonly number[],
  keys: readonly number[][],
  values: readonly number[][],
  scale: number,
): number[] {
  const weights = softmax(keys.map((key) => scale * query.reduce((s, x, d) => s + x * key[d]!, 0)))
  const result = query.map(() => 0)
  for (const [j, value] of values.entries()) {
    for (const [d, x] of value.entries()) result[d]! += weights[j]! * x
  }
  return result
}

/** All heads of a token over all of these rows of keys and values. `gates`: a number for each of the result. */
export function attendHeads(
  queries: readonly number[][],
  keys: readonly number[][],
  values: readonly number[][],
  { scale, gates }: { scale: number; gates?: readonly number[] | undefined },
): number[] {
  const headDim = queries[0]!.length
  const sharing = queries.length / (keys[0]!.length / headDim)
  const result = queries.flatMap((query, h) => {
    const first = Math.floor(h / sharing) * headDim
    const part = (rows: readonly number[][]) => rows.map((row) => row.slice(first, first + headDim))
    return attend(query, part(keys), part(values), scale)
  })
  return gates ? result.map((x, i) => x / (1 + Math.exp(-gates[i]!))) : result
}

// Data for products whose operands a GPU holds in float16: the mat-mat kernels round weights and normed
// rows to it where activations are float16. With these numbers it has nothing to round, and results are
// held to the same tolerances as everywhere. (That it rounds well is a test of its own.)

import { seededIntegers } from '../unit/random.js'
import { rowsOf, seededNormals } from './arrays.js'

/** The number with `bits` significant bits. */
export function shortened(x: number, bits: number): number {
  if (x === 0) return 0
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(x))) + 1 - bits)
  return Math.round(x / unit) * unit
}

// 8 numbers whose squares have a mean of 4.
const EIGHT = [1, 3, 1, 1, 3, 1, 1, 3]

/**
 * Rows of whole numbers up to 3 times a power of two, at random; the mean square of each of `groups`
 * parts of a row is a power of four, from 256 on, beside which an epsilon of a thousandth is nothing.
 */
export function rowsToNorm(seed: number, rows: number, inputs: number, groups = 1): number[] {
  const integers = seededIntegers(seed)
  const size = inputs / groups
  return Array.from({ length: rows * groups }, () => {
    const scale = 2 ** (3 + integers(3))
    const turns = Array.from({ length: Math.floor(size / 8) }, () => integers(8))
    return Array.from({ length: size }, (_, i) => {
      const turn = turns[Math.floor(i / 8)]
      const magnitude = turn === undefined ? 2 : EIGHT[(i + turn) % 8]!
      return (integers(2) === 0 ? -1 : 1) * magnitude * scale
    })
  }).flat()
}

/** Sums of squares of parts of rows, whose means over `size` columns, `parts` of them, are powers of four. */
export function squaresToNorm(seed: number, count: number, parts: number, size: number): number[] {
  const integers = seededIntegers(seed)
  const shares = seededNormals(seed)(count * parts).map((x) => x * x + 0.1)
  return rowsOf(shares, parts).flatMap((row) => {
    const sum = row.reduce((a, b) => a + b, 0)
    const mean = 4 ** (4 + integers(2))
    return row.map((share) => Math.fround((share / sum) * mean * size))
  })
}

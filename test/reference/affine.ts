// The affine quantised format: w = scale · q + bias for each group of columns, values packed into
// 32-bit words, the first value in the lowest bits.

export interface AffineGroup {
  scale: number
  bias: number
}

/** Words of one row of values, each below 2^bits. */
export function pack(values: number[], bits: 4 | 8): number[] {
  const perWord = 32 / bits
  return Array.from({ length: values.length / perWord }, (_, word) => {
    // Arithmetic rather than shifts: JavaScript's are of signed numbers.
    let sum = 0
    for (let i = 0; i < perWord; i++) sum += values[word * perWord + i]! * 2 ** (bits * i)
    return sum
  })
}

/** Values of one row of words. */
export function unpack(words: number[], bits: 4 | 8): number[] {
  return words.flatMap((word) =>
    Array.from({ length: 32 / bits }, (_, i) => Math.floor(word / 2 ** (bits * i)) % 2 ** bits),
  )
}

/** One row of a matrix, given its values and a scale and a bias for each group. */
export function dequantize(values: number[], groups: AffineGroup[]): number[] {
  const size = values.length / groups.length
  return values.map((q, i) => {
    const { scale, bias } = groups[Math.floor(i / size)]!
    return scale * q + bias
  })
}

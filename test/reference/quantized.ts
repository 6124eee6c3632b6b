// Quantised formats: a row is a stream of bits, the first value in the lowest bits of the first 32-bit word. Affine:
// w = scale · q + bias for each group of columns. The others: w = scale · q, where q is a float of four bits.

export interface AffineGroup {
  scale: number
  bias: number
}

/** Words of one row of values, each below 2^bits. */
export function pack(values: number[], bits: number): number[] {
  let stream = 0n
  for (const [i, value] of values.entries()) stream |= BigInt(value) << BigInt(bits * i)
  return Array.from({ length: (values.length * bits) / 32 }, (_, word) =>
    Number((stream >> BigInt(32 * word)) & 0xffffffffn),
  )
}

/** Values of one row of words. */
export function unpack(words: number[], bits: number): number[] {
  let stream = 0n
  for (const [i, word] of words.entries()) stream |= BigInt(word) << BigInt(32 * i)
  const mask = BigInt(2 ** bits - 1)
  return Array.from({ length: (words.length * 32) / bits }, (_, i) =>
    Number((stream >> BigInt(bits * i)) & mask),
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

/** Table 4 of OCP Microscaling Formats (MX) v1.0: sign, two bits of exponent with bias 1, one of fraction. */
export const e2m1 = (code: number): number =>
  [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6][code]!

/** The scale of mxfp4. */
export const e8m0 = (code: number): number => 2 ** (code - 127)

/** The scale of nvfp4: sign, four bits of exponent with bias 7, three of fraction; NaN where all are ones. */
export function e4m3(code: number): number {
  const sign = code < 128 ? 1 : -1
  const exponent = Math.floor(code / 8) % 16
  const fraction = (code % 8) / 8
  if (exponent === 15 && fraction === 7 / 8) return Number.NaN
  return sign * (exponent === 0 ? fraction * 2 ** -6 : (1 + fraction) * 2 ** (exponent - 7))
}

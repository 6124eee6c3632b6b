// Half-precision numbers by their definition (IEEE 754-2019, section 3.4), in double precision.

export interface FloatFormat {
  exponentBits: number
  fractionBits: number
}

export const FLOAT_FORMATS = {
  float16: { exponentBits: 5, fractionBits: 10 },
  bfloat16: { exponentBits: 8, fractionBits: 7 },
} as const

/** The number that 16 bits stand for. */
export function decodeFloat(bits: number, { exponentBits, fractionBits }: FloatFormat): number {
  const bias = 2 ** (exponentBits - 1) - 1
  const sign = bits >> 15 === 0 ? 1 : -1
  const exponent = (bits >> fractionBits) % 2 ** exponentBits
  const fraction = (bits % 2 ** fractionBits) / 2 ** fractionBits
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias)
  return sign * (1 + fraction) * 2 ** (exponent - bias)
}

/** The nearest number's bits, of two equally near ones the even one. */
export function encodeFloat(value: number, { exponentBits, fractionBits }: FloatFormat): number {
  const bias = 2 ** (exponentBits - 1) - 1
  const infinity = (2 ** exponentBits - 1) * 2 ** fractionBits
  if (Number.isNaN(value)) return infinity + 2 ** (fractionBits - 1)
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const magnitude = Math.abs(value)
  if (magnitude === Infinity) return sign + infinity
  const exponent = Math.max(1 - bias, Math.floor(Math.log2(magnitude)))
  // In units of the last place, where rounding is rounding to whole numbers.
  const units = roundHalfEven(magnitude / 2 ** (exponent - fractionBits))
  // Below 2^fractionBits this is a subnormal; a carry out of the fraction raises the exponent, up
  // to and including the one that means infinity.
  return sign + Math.min((exponent + bias - 1) * 2 ** fractionBits + units, infinity)
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value)
  const rest = value - below
  if (rest === 0.5) return below % 2 === 0 ? below : below + 1
  return rest < 0.5 ? below : below + 1
}

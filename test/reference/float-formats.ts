// Half-precision numbers by their definition (IEEE 754-2019, section 3.4), in double precision.

export interface FloatFormat {
  exponentBits: number
  fractionBits: number
}

export const FLOAT_FORMATS = {
  float16: { exponentBits: 5, fractionBits: 10 },
  bfloat16: { exponentBits: 8, fractionBits: 7 },
} as const

// Math.pow takes longer than everything else here, for numbers that tests convert by the million.
const LEAST_EXPONENT = -1100
const POWERS = Float64Array.from({ length: 2200 }, (_, i) => 2 ** (i + LEAST_EXPONENT))

const powerOfTwo = (exponent: number) => POWERS[exponent - LEAST_EXPONENT]!

/** The number that 16 bits stand for. */
export function decodeFloat(bits: number, { exponentBits, fractionBits }: FloatFormat): number {
  const bias = powerOfTwo(exponentBits - 1) - 1
  const sign = bits >> 15 === 0 ? 1 : -1
  const exponent = (bits >> fractionBits) % powerOfTwo(exponentBits)
  const fraction = (bits % powerOfTwo(fractionBits)) / powerOfTwo(fractionBits)
  if (exponent === powerOfTwo(exponentBits) - 1) return fraction === 0 ? sign * Infinity : NaN
  if (exponent === 0) return sign * fraction * powerOfTwo(1 - bias)
  return sign * (1 + fraction) * powerOfTwo(exponent - bias)
}

/** The nearest number's bits, of two equally near ones the even one. */
export function encodeFloat(value: number, { exponentBits, fractionBits }: FloatFormat): number {
  const bias = powerOfTwo(exponentBits - 1) - 1
  const infinity = (powerOfTwo(exponentBits) - 1) * powerOfTwo(fractionBits)
  if (Number.isNaN(value)) return infinity + powerOfTwo(fractionBits - 1)
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const magnitude = Math.abs(value)
  if (magnitude === Infinity) return sign + infinity
  const exponent = Math.max(1 - bias, Math.floor(Math.log2(magnitude)))
  // In units of the last place, where rounding is rounding to whole numbers.
  const units = roundHalfEven(magnitude / powerOfTwo(exponent - fractionBits))
  // Below 2^fractionBits this is a subnormal; a carry out of the fraction raises the exponent, up
  // to and including the one that means infinity.
  return sign + Math.min((exponent + bias - 1) * powerOfTwo(fractionBits) + units, infinity)
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value)
  const rest = value - below
  if (rest === 0.5) return below % 2 === 0 ? below : below + 1
  return rest < 0.5 ? below : below + 1
}

// Floats to mxfp4 and nvfp4 as MLX makes them of weights: a group's scale is its largest magnitude over 6, rounded up to
// a power of two (e8m0) or to nearest (e4m3); values are rounded to the nearest float of four bits. Half-way between two,
// MLX on a CPU takes the smaller one, as here, and its kernels for GPUs the even one. (mlx: fp_quantize)

import { CorruptFileError } from '../../support/errors.js'
import type { SmallFloatMode } from './small-floats.js'

const { fround } = Math
const LARGEST = 6

/** The words and scales of a matrix. */
export interface EncodedSmallFloats {
  words: Uint32Array
  scales: Uint8Array
}

/** Rows of float32 numbers, of which `groupSize` divides the columns. Throws `CorruptFileError` for NaN and infinity. */
export function encodeSmallFloats(
  values: Float32Array,
  mode: SmallFloatMode,
  groupSize: number,
): EncodedSmallFloats {
  const words = new Uint32Array(values.length / 8)
  const scales = new Uint8Array(values.length / groupSize)
  const encodeScale = mode === 'mxfp4' ? powerAbove : nearestE4m3
  for (let group = 0; group < scales.length; group++) {
    const first = group * groupSize
    const largest = largestOf(values, first, groupSize)
    if (!Number.isFinite(largest)) throw new CorruptFileError('weights hold NaN or infinity')
    const { code, value } = encodeScale(fround(largest / LARGEST))
    scales[group] = code
    for (let i = first; i < first + groupSize; i += 8) {
      let word = 0
      for (let j = 7; j >= 0; j--) word = (word << 4) | nearestE2m1(fround(values[i + j]! / value))
      words[i >>> 3] = word
    }
  }
  return { words, scales }
}

/** The largest magnitude; NaN where there is one. */
function largestOf(values: Float32Array, first: number, count: number): number {
  let largest = 0
  for (let i = first; i < first + count; i++) {
    const magnitude = Math.abs(values[i]!)
    if (!(magnitude <= largest)) {
      if (Number.isNaN(magnitude)) return magnitude
      largest = magnitude
    }
  }
  return largest
}

interface Scale {
  code: number
  value: number
}

// MLX takes the logarithm in float32, where one of a number just above a power of two is that of the power. Of nothing
// but zeros the scale is 1.
function powerAbove(size: number): Scale {
  const exponent = size === 0 ? 0 : Math.ceil(fround(Math.log2(size)))
  const clamped = Math.min(Math.max(exponent, -127), 127)
  return { code: clamped + 127, value: 2 ** clamped }
}

// Four bits of exponent and three of fraction; subnormal below 2^-6, at most 448.
function nearestE4m3(size: number): Scale {
  const exponent = Math.max(Math.floor(Math.log2(size)), -6)
  const step = 2 ** (exponent - 3)
  const steps = Math.min(nearestEven(size / step), 448 / step)
  // Eight steps are the next power of two, whose fraction is 0: the bits follow on. So they do from subnormals.
  return { code: (exponent + 6) * 8 + steps, value: steps * step }
}

function nearestEven(x: number): number {
  const below = Math.floor(x)
  if (x - below !== 0.5) return Math.round(x)
  return below % 2 === 0 ? below : below + 1
}

// 0, 0.5, 1, 1.5, 2, 3, 4, 6, and with the fourth bit their negatives but for 0. What is no number, of a group whose scale
// is too small for its type, becomes 0.
function nearestE2m1(x: number): number {
  const magnitude = Math.abs(x)
  if (!(magnitude > 0.25) || magnitude === Number.POSITIVE_INFINITY) return 0
  const sign = x < 0 ? 8 : 0
  if (magnitude <= 1.75) return sign + (magnitude <= 0.75 ? 1 : magnitude <= 1.25 ? 2 : 3)
  return sign + (magnitude <= 2.5 ? 4 : magnitude <= 3.5 ? 5 : magnitude <= 5 ? 6 : 7)
}

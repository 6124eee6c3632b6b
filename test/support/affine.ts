// Random matrices in the affine quantised format, with the values that they stand for.

import type { Device } from '../../lib/operations/device.js'
import type { AffineMatrix } from '../../lib/operations/arguments.js'
import type { DType } from '../../lib/operations/tensor.js'
import { dequantize, pack } from '../reference/affine.js'
import { seededIntegers } from '../unit/random.js'
import { rounded, seededNormals, upload } from './arrays.js'
import { shortened } from './exact-halves.js'

/** Every combination of bits and group size. */
export const AFFINE_FORMATS = ([4, 8] as const).flatMap((bits) =>
  ([32, 64, 128] as const).map((groupSize) => ({ bits, groupSize })),
)

export interface AffineSpecification {
  rows: number
  cols: number
  bits: 4 | 8
  groupSize: 32 | 64 | 128
  scaleType: DType
  seed: number
  /** Scales and biases such that float16 holds every value exactly. */
  inHalf?: boolean
}

export function affineMatrix(
  device: Device,
  { rows, cols, bits, groupSize, scaleType, seed, inHalf }: AffineSpecification,
): { tensors: AffineMatrix; values: number[][] } {
  const integers = seededIntegers(seed)
  const normals = seededNormals(seed)
  const groups = cols / groupSize
  const steps = Array.from({ length: rows }, () =>
    Array.from({ length: cols }, () => integers(2 ** bits)),
  )
  // Values of about the size of normal numbers, whatever the number of bits.
  let scales = rounded(normals(rows * groups, 2 / 2 ** bits), scaleType)
  let biases = rounded(normals(rows * groups), scaleType)
  if (inHalf) {
    // Of 2 bits, by whole numbers of up to 9: within the 11 bits of float16.
    scales = scales.map((scale) => shortened(scale, 2))
    biases = scales.map((scale) => scale * (integers(2) === 0 ? -1 : 1) * 2 ** integers(bits))
  }
  const values = steps.map((row, r) =>
    dequantize(
      row,
      Array.from({ length: groups }, (_, g) => ({
        scale: scales[r * groups + g]!,
        bias: biases[r * groups + g]!,
      })),
    ),
  )
  const words = steps.flatMap((row) => pack(row, bits))
  return {
    tensors: {
      words: upload(device, 'uint32', [rows, (cols * bits) / 32], words),
      scales: upload(device, scaleType, [rows, groups], scales),
      biases: upload(device, scaleType, [rows, groups], biases),
      bits,
      groupSize,
    },
    values,
  }
}

// Random matrices in the quantised formats, with the values that they stand for.

import type { Device } from '../../lib/operations/device.js'
import type {
  AffineBits,
  AffineGroupSize,
  AffineMatrix,
  QuantizedMatrix,
} from '../../lib/operations/arguments.js'
import type { DType } from '../../lib/operations/tensor.js'
import { dequantize, e2m1, e4m3, e8m0, pack } from '../reference/quantized.js'
import { seededIntegers } from '../unit/random.js'
import { FLOAT_TYPES, rounded, seededNormals, upload } from './arrays.js'
import { shortened } from './exact-halves.js'

/** Affine formats: every number of bits, and every group size. */
export const AFFINE_FORMATS: readonly { bits: AffineBits; groupSize: AffineGroupSize }[] = [
  ...([4, 8] as const).flatMap((bits) =>
    ([32, 64, 128] as const).map((groupSize) => ({ bits, groupSize })),
  ),
  { bits: 5, groupSize: 32 },
  { bits: 5, groupSize: 128 },
  { bits: 6, groupSize: 64 },
]

/** Whether kernels take the values out of their words in the way that needs more of a kernel's forms tested. */
export const isByMask = ({ bits }: { bits: number }): boolean => bits === 4 || bits === 8

export interface AffineSpecification {
  rows: number
  cols: number
  bits: AffineBits
  groupSize: AffineGroupSize
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
  const steps = randomSteps(integers, rows, cols, bits)
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

function randomSteps(
  integers: (limit: number) => number,
  rows: number,
  cols: number,
  bits: number,
): number[][] {
  return Array.from({ length: rows }, () => Array.from({ length: cols }, () => integers(2 ** bits)))
}

/** The formats of small floats, whose scales are bytes. */
export const SMALL_FLOATS = [
  { mode: 'mxfp4', groupSize: 32, scaleOf: e8m0, scaleCodes: [121, 122, 123, 124] },
  // The first two are below the normal numbers, the last one is negative.
  { mode: 'nvfp4', groupSize: 16, scaleOf: e4m3, scaleCodes: [3, 7, 31, 38, 42, 45, 47, 172] },
] as const
export type SmallFloats = (typeof SMALL_FLOATS)[number]

/** A matrix of small floats; float16 holds every value exactly. */
export function smallFloatMatrix(
  device: Device,
  { mode, groupSize, scaleOf, scaleCodes }: SmallFloats,
  rows: number,
  cols: number,
): { tensors: QuantizedMatrix; values: number[][] } {
  const integers = seededIntegers(rows + cols)
  const groups = cols / groupSize
  const codes = randomSteps(integers, rows, cols, 4)
  const scales = Array.from(
    { length: rows * groups },
    () => scaleCodes[integers(scaleCodes.length)]!,
  )
  const values = codes.map((row, r) =>
    row.map((code, c) => e2m1(code) * scaleOf(scales[r * groups + Math.floor(c / groupSize)]!)),
  )
  const words = codes.flatMap((row) => pack(row, 4))
  return {
    tensors: {
      mode,
      words: upload(device, 'uint32', [rows, cols / 8], words),
      scales: device.tensor('uint8', [rows, groups], Uint8Array.from(scales)),
      bits: 4,
      groupSize,
    },
    values,
  }
}

/** What makes matrices of one format. */
export interface MatrixMaker {
  name: string
  groupSize: number
  /** With `inHalf` float16 holds every value exactly. */
  make(
    device: Device,
    rows: number,
    cols: number,
    inHalf?: boolean,
  ): { tensors: QuantizedMatrix; values: number[][] }
}

const affineMaker = (
  format: (typeof AFFINE_FORMATS)[number],
  scaleType: (typeof FLOAT_TYPES)[number],
): MatrixMaker => ({
  name: `${format.bits} bits in groups of ${format.groupSize}, ${scaleType} scales`,
  groupSize: format.groupSize,
  make: (device, rows, cols, inHalf = false) =>
    affineMatrix(device, { rows, cols, ...format, scaleType, seed: rows + cols, inHalf }),
})

const SMALL_FLOAT_MAKERS: readonly MatrixMaker[] = SMALL_FLOATS.map((format) => ({
  name: format.mode,
  groupSize: format.groupSize,
  make: (device, rows, cols) => smallFloatMatrix(device, format, rows, cols),
}))

/** Every format, those by mask with every type of scales. */
export const EVERY_FORMAT: readonly MatrixMaker[] = [
  ...AFFINE_FORMATS.flatMap((format) =>
    (isByMask(format) ? FLOAT_TYPES : FLOAT_TYPES.slice(-1)).map((type) =>
      affineMaker(format, type),
    ),
  ),
  ...SMALL_FLOAT_MAKERS,
]

/** One of each kind that kernels treat alike, with scales in float16 where these are floats. */
export const FORMATS_BY_MASK: readonly MatrixMaker[] = AFFINE_FORMATS.filter(isByMask).map(
  (format) => affineMaker(format, 'float16'),
)
export const OTHER_FORMATS: readonly MatrixMaker[] = [
  affineMaker({ bits: 5, groupSize: 32 }, 'float16'),
  affineMaker({ bits: 6, groupSize: 64 }, 'float16'),
  ...SMALL_FLOAT_MAKERS,
]

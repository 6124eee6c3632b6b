// The forms that a matrix of weights has in memory: the one list of them, and which one the loader
// gives to a matrix of a checkpoint.

import type { Checkpoint } from '../../models/checkpoint.js'
import type { Quantization } from '../../models/config.js'
import type { FileDtype } from '../checkpoint.js'

export const FLOAT_TYPES = ['float32', 'float16', 'bfloat16'] as const
export type FloatType = (typeof FLOAT_TYPES)[number]

/** Floats, or numbers of a few bits with a scale and a bias for each group. */
export type WeightFormat =
  | { kind: 'plain'; type: FloatType }
  | ({ kind: 'affine'; scaleType: FloatType } & Quantization)

export type PlainFormat = Extract<WeightFormat, { kind: 'plain' }>
export type AffineFormat = Extract<WeightFormat, { kind: 'affine' }>

export const PLAIN_FORMATS: readonly PlainFormat[] = FLOAT_TYPES.map((type) => ({
  kind: 'plain',
  type,
}))

export const AFFINE_FORMATS: readonly AffineFormat[] = ([4, 8] as const).flatMap((bits) =>
  ([32, 64, 128] as const).flatMap((groupSize) =>
    FLOAT_TYPES.map((scaleType) => ({ kind: 'affine' as const, bits, groupSize, scaleType })),
  ),
)

/** For example `float16`, or `4-bit g64 float16`. */
export function formatName(format: WeightFormat): string {
  if (format.kind === 'plain') return format.type
  return `${format.bits}-bit g${format.groupSize} ${format.scaleType}`
}

/** What the caller of a load wants of float matrices. */
export interface WeightWishes {
  /** Element type of float matrices. Defaults to what the file has. */
  dtype?: FloatType | undefined
  /** Quantise float matrices whose inputs the group size divides. */
  quantize?: Quantization | undefined
}

/** A float type of a file in memory: float64 becomes float32. Undefined for a type that is no float. */
export function floatTypeOf(dtype: FileDtype): FloatType | undefined {
  if (dtype === 'float64') return 'float32'
  return FLOAT_TYPES.find((type) => type === dtype)
}

/**
 * The format that the matrix of the module at `path` gets when it is loaded. Undefined for a matrix
 * that cannot be loaded: the loader says why.
 */
export function plannedFormat(
  { tensors, quantizationOf }: Pick<Checkpoint, 'tensors' | 'quantizationOf'>,
  path: string,
  { dtype, quantize }: WeightWishes,
): WeightFormat | undefined {
  const scales = tensors.get(`${path}.scales`)
  const entry = tensors.get(`${path}.weight`)
  if (scales) {
    const quantization = quantizationOf(path)
    const scaleType = FLOAT_TYPES.find((type) => type === scales.dtype)
    return quantization && scaleType && { kind: 'affine', ...quantization, scaleType }
  }
  const type = entry && floatTypeOf(entry.dtype)
  if (!type) return undefined
  if (quantize && entry.shape.at(-1)! % quantize.groupSize === 0) {
    return { kind: 'affine', ...quantize, scaleType: type }
  }
  return { kind: 'plain', type: dtype ?? type }
}

// Which format a matrix of a checkpoint gets when it is loaded.

import type { TensorEntry } from './checkpoint.js'
import { type FloatType, floatTypeOf } from './float-types.js'
import type { AffineQuantization } from './formats/affine.js'
import {
  isQuantized,
  kindOf,
  type Quantization,
  quantizedKind,
  type WeightFormat,
} from './formats/formats.js'

/** What a loader has to know of a checkpoint. */
export interface WeightSource {
  /** The file that messages about tensors name: the weights, or the index of their shards. */
  weightsFile: string
  tensors: ReadonlyMap<string, TensorEntry>
  /** Quantisation of the module at this path, when it is quantised. Throws for one that is not implemented. */
  quantizationOf(path: string): Quantization | undefined
}

/** What the caller of a load wants of float matrices. */
export interface WeightWishes {
  /** Element type of float matrices. Defaults to what the file has. */
  dtype?: FloatType | undefined
  /** Quantise float matrices whose inputs the group size divides. */
  quantize?: AffineQuantization | undefined
}

/** What the float matrix at a path is called: of a module `.weight`, or it is there itself. */
export function matrixName(tensors: ReadonlyMap<string, TensorEntry>, path: string): string {
  return tensors.has(path) ? path : `${path}.weight`
}

/**
 * The format that the matrix of the module at `path` gets when it is loaded. Undefined for a matrix
 * that cannot be loaded: the loader says why.
 */
export function plannedFormat(
  { tensors, quantizationOf }: Pick<WeightSource, 'tensors' | 'quantizationOf'>,
  path: string,
  wishes: WeightWishes,
): WeightFormat | undefined {
  if (isQuantized(tensors, path)) {
    const stated = quantizationOf(path)
    return stated && quantizedKind(stated).formatOf(stated, tensors.get(`${path}.scales`)!.dtype)
  }
  const entry = tensors.get(matrixName(tensors, path))
  const type = entry && floatTypeOf(entry.dtype)
  if (!type) return undefined
  return (
    quantizedFormat(entry.shape.at(-1)!, type, wishes) ?? {
      kind: 'plain',
      type: wishes.dtype ?? type,
    }
  )
}

/** The format that a float matrix is quantised to, if it is. */
export function quantizedFormat(
  inputs: number,
  type: FloatType,
  { quantize }: Pick<WeightWishes, 'quantize'>,
): WeightFormat | undefined {
  const format = quantize && quantizedKind(quantize).formatOf(quantize, type)
  return format && inputs % kindOf(format).inputMultiple(format) === 0 ? format : undefined
}

// What the rows of a benchmark say about a model, from its configuration and headers alone.

import { basename } from 'node:path'
import { resolveModelPath } from '../hub/cache.js'
import { type LoadOptions, QUANTIZATION } from '../options/loading.js'
import { type Checkpoint, openCheckpoint } from '../models/checkpoint.js'
import type { Quantization } from '../models/config.js'
import { bytesPerElement, type DType } from '../operations/tensor.js'
import { parameterCount } from '../weights/parameters.js'

/** A model and how its weights are loaded. */
export interface BenchModel {
  /** As it was named: a path or a Hub name. */
  model: string
  /** Where its files are. */
  path: string
  /** The last part of its name, and the type of its weights. */
  label: string
  architecture: string
  /** `f32`, `f16`, `bf16`, or `q4 g64`: 4 bits in groups of 64. */
  weightType: string
  quantization: Quantization | undefined
  parameters: number
  /** Bytes of the embedding when the head has a matrix of its own: decoding reads one row of it. */
  unreadBytes: number
}

const GROUP_SIZE = QUANTIZATION.groupSize.default

/** How the weights of a model are loaded. */
export type WeightOptions = Pick<LoadOptions, 'dtype' | 'quantize'>

const TYPE_NAMES: Partial<Record<string, string>> = {
  float32: 'f32',
  float16: 'f16',
  bfloat16: 'bf16',
}

export async function describeModel(
  model: string,
  options: WeightOptions & Pick<LoadOptions, 'cacheDir' | 'revision'>,
): Promise<BenchModel> {
  const path = await resolveModelPath(model, options)
  const checkpoint = await openCheckpoint(path)
  const { config } = checkpoint
  const quantize = options.quantize && { groupSize: GROUP_SIZE, ...options.quantize }
  const quantization = (quantize as Quantization | undefined) ?? config.quantization
  const weightType = quantization
    ? `q${quantization.bits} g${quantization.groupSize}`
    : floatType(checkpoint, options)
  return {
    model,
    path,
    label: `${basename(model)} ${weightType}`,
    architecture: config.architecture,
    weightType,
    quantization,
    parameters: parameterCount(checkpoint),
    unreadBytes: config.tieEmbeddings ? 0 : embeddingBytes(checkpoint, options),
  }
}

/** The type of most of the weights. */
function floatType({ tensors }: Checkpoint, { dtype = 'auto' }: WeightOptions): string {
  if (dtype !== 'auto') return TYPE_NAMES[dtype]!
  const largest = [...tensors.values()].reduce((a, b) => (b.byteLength > a.byteLength ? b : a))
  return TYPE_NAMES[largest.dtype] ?? largest.dtype
}

/** Bytes of the embedding in memory, as lib/weights/loader.ts brings it there. */
function embeddingBytes({ tensors, names, config }: Checkpoint, options: WeightOptions): number {
  const parts = ['weight', 'scales', 'biases'].flatMap(
    (part) => tensors.get(`${names.embedding}.${part}`) ?? [],
  )
  if (parts.length > 1) return parts.reduce((sum, { byteLength }) => sum + byteLength, 0)
  const { dtype: fileType } = parts[0]!
  const elements = config.paddedVocabSize * config.dModel
  const { bits, groupSize = GROUP_SIZE } = options.quantize ?? {}
  if (bits !== undefined && config.dModel % groupSize === 0) {
    const scaleBytes = fileType === 'float16' || fileType === 'bfloat16' ? 2 : 4
    return (elements * bits) / 8 + (2 * scaleBytes * elements) / groupSize
  }
  const dtype = options.dtype ?? 'auto'
  const type = dtype === 'auto' ? fileType : dtype
  return elements * (type === 'float64' ? 4 : bytesPerElement(type as DType))
}

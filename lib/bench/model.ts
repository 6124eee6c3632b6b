// What the rows of a benchmark say about a model, from its configuration and headers alone.

import { basename } from 'node:path'
import { resolveModelPath } from '../hub/cache.js'
import type { BENCH } from '../options/bench.js'
import { type Checkpoint, openCheckpoint } from '../models/checkpoint.js'
import type { OptionValues } from '../support/option-table.js'
import { kindOf, type Quantization, quantizedKind } from '../weights/formats/formats.js'
import { plannedFormat, type WeightWishes } from '../weights/planned-format.js'
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

/** Where a model is, and how its weights are loaded. */
type ModelOptions = Pick<OptionValues<typeof BENCH>, 'dtype' | 'quantize' | 'cacheDir' | 'revision'>

const TYPE_NAMES: Partial<Record<string, string>> = {
  float32: 'f32',
  float16: 'f16',
  bfloat16: 'bf16',
}

export async function describeModel(
  model: string,
  { dtype, quantize, cacheDir, revision }: ModelOptions,
): Promise<BenchModel> {
  const path = await resolveModelPath(model, { cacheDir, revision })
  const checkpoint = await openCheckpoint(path)
  const { config } = checkpoint
  const quantization = quantize ?? config.quantization
  const weightType = quantization
    ? quantizedKind(quantization).shortNameOf(quantization)
    : floatType(checkpoint, dtype)
  const wishes = { dtype: dtype === 'auto' ? undefined : dtype, quantize }
  return {
    model,
    path,
    label: `${basename(model)} ${weightType}`,
    architecture: config.architecture,
    weightType,
    quantization,
    parameters: parameterCount(checkpoint),
    unreadBytes: config.tieEmbeddings ? 0 : embeddingBytes(checkpoint, wishes),
  }
}

/** The type of most of the weights. */
function floatType({ tensors }: Checkpoint, dtype: ModelOptions['dtype']): string {
  if (dtype !== 'auto') return TYPE_NAMES[dtype]!
  const largest = [...tensors.values()].reduce((a, b) => (b.byteLength > a.byteLength ? b : a))
  return TYPE_NAMES[largest.dtype] ?? largest.dtype
}

/** Bytes of the embedding in memory. */
function embeddingBytes(checkpoint: Checkpoint, wishes: WeightWishes): number {
  const { paddedVocabSize, dModel } = checkpoint.config
  const format = plannedFormat(checkpoint, checkpoint.names.embedding, wishes)
  return format ? kindOf(format).bytesOf(format, paddedVocabSize, dModel) : 0
}

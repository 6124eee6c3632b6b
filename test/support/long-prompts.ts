// Prompts of thousands of tokens of whole hybrids, against the same model in double precision.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { falconH1Logits, type HybridFile, qwen35Logits } from '../reference/hybrids.js'
import { relativeL2 } from '../tolerance.js'
import {
  copyOfFixture,
  numbersOf,
  type RawTensor,
  rawTensor,
  type RawTensors,
  readRawTensors,
  rewriteConfig,
  rewriteTensors,
} from './checkpoints.js'

interface Twin {
  /** The logits after each token, in double precision. */
  logits: (file: HybridFile, tokens: readonly number[]) => Float64Array
  /** Those that a smaller model has. */
  layers: readonly number[]
  /** Rows of q_proj of a head. */
  queryRows: number
}

/** By the name of a fixture. */
export const TWINS: Readonly<Record<string, Twin>> = {
  'falcon-h1': { logits: falconH1Logits, layers: [0, 1], queryRows: 16 },
  // One of each kind; a query has a gate beside it.
  'qwen3-5': { logits: qwen35Logits, layers: [2, 3], queryRows: 2 * 32 },
}

/** A checkpoint whose tensors are in one file, in double precision. */
export async function openTwin(folder: string): Promise<HybridFile> {
  const text = await readFile(join(folder, 'config.json'), 'utf8')
  const { tensors } = await readRawTensors(join(folder, 'model.safetensors'))
  const vectors = new Map([...tensors].map(([name, t]) => [name, Float64Array.from(numbersOf(t))]))
  return { config: JSON.parse(text), vectors }
}

/** The first columns of a matrix. */
function firstColumns(tensor: RawTensor, count: number): RawTensor {
  const [rows, cols] = tensor.shape as [number, number]
  const values = numbersOf(tensor).filter((_, i) => i % cols < count)
  return rawTensor('float32', [rows, count], values)
}

/** The first rows of a matrix. */
const firstRows = (tensor: RawTensor, count: number): RawTensor =>
  rawTensor(
    'float32',
    [count, tensor.shape[1]!],
    numbersOf(tensor).slice(0, count * tensor.shape[1]!),
  )

/** The fixture with two of its layers, which have two heads and what those share: all of it takes a minute. */
export async function smallerFixture(name: string): Promise<string> {
  const { layers, queryRows } = TWINS[name]!
  const folder = await copyOfFixture(name)
  let headDim = 0
  await rewriteConfig(folder, (config) => {
    const types = config.layer_types as string[] | undefined
    headDim = config.head_dim as number
    return {
      ...config,
      num_hidden_layers: layers.length,
      ...(types && { layer_types: layers.map((layer) => types[layer]!) }),
      num_attention_heads: 2,
      num_key_value_heads: 1,
      max_position_embeddings: 4096,
    }
  })
  const narrowed = (part: string, tensor: RawTensor): RawTensor => {
    if (part.endsWith('q_proj.weight')) return firstRows(tensor, 2 * queryRows)
    if (/[kv]_proj.weight$/.test(part)) return firstRows(tensor, headDim)
    return part.endsWith('o_proj.weight') ? firstColumns(tensor, 2 * headDim) : tensor
  }
  await rewriteTensors(folder, (tensors) => {
    const kept: RawTensors = new Map()
    for (const [key, tensor] of tensors) {
      const [, layer, part] = /^model\.layers\.(\d+)\.(.*)$/.exec(key) ?? []
      if (part === undefined) kept.set(key, tensor)
      const place = layers.indexOf(Number(layer))
      if (part === undefined || place < 0) continue
      kept.set(`model.layers.${place}.${part}`, narrowed(part, tensor))
    }
    return kept
  })
  return folder
}

/** How far logits are off in each third of the positions. */
export function offByThirds(
  actual: ArrayLike<number>,
  expected: Float64Array,
  tokens: number,
): [number, number, number] {
  const width = expected.length / tokens
  const all = Float64Array.from(actual)
  const third = (n: number) => {
    const [first, last] = [n, n + 1].map((i) => Math.round((i * tokens) / 3) * width)
    return relativeL2(all.subarray(first, last), expected.subarray(first, last))
  }
  return [third(0), third(1), third(2)]
}

// Sliding-window attention.

import type { ActivationType } from '../../operations/device.js'
import type { Inputs } from '../inputs.js'
import type { Case, Recordable } from './case.js'

export interface AttentionShape {
  /** Tokens that each sequence has seen before. */
  positions: readonly number[]
  heads: number
  kvHeads: number
  headDim: number
  window: number
}

const SHAPES: readonly AttentionShape[] = [
  { positions: [0], heads: 1, kvHeads: 1, headDim: 1, window: 1 },
  { positions: [0, 6, 7, 31], heads: 6, kvHeads: 2, headDim: 5, window: 7 },
  { positions: [300], heads: 4, kvHeads: 4, headDim: 65, window: 257 },
  { positions: [4096], heads: 16, kvHeads: 1, headDim: 128, window: 2048 },
]

function tensorsOf(inputs: Inputs, shape: AttentionShape, length: number | undefined) {
  const { positions, heads, kvHeads, headDim, window } = shape
  const batch = positions.length
  const places = inputs.places(batch)
  const leading = length === undefined ? [batch] : [batch, length]
  return {
    q: inputs.activations([...leading, heads * headDim]),
    k: inputs.activations([...leading, kvHeads * headDim]),
    v: inputs.activations([...leading, kvHeads * headDim]),
    keys: inputs.windows(places, [window, kvHeads * headDim]),
    values: inputs.windows(places, [window, kvHeads * headDim]),
    position: inputs.integers(positions),
    rows: places.rows,
    out: inputs.activationResult([...leading, heads * headDim]),
  }
}

function decode(inputs: Inputs, shape: AttentionShape): Recordable {
  const tensors = tensorsOf(inputs, shape, undefined)
  return {
    record: (cl) => cl.attentionDecode(tensors, { headDim: shape.headDim }),
    outputs: [tensors.out, tensors.keys, tensors.values],
  }
}

function prefill(inputs: Inputs, shape: AttentionShape, length: number): Recordable {
  const tensors = tensorsOf(inputs, shape, length)
  return {
    record: (cl) => cl.attentionPrefill(tensors, { headDim: shape.headDim }),
    outputs: [tensors.out],
  }
}

function cacheWrite(inputs: Inputs, shape: AttentionShape, length: number): Recordable {
  const { q: _, out: __, ...tensors } = tensorsOf(inputs, shape, length)
  return {
    record: (cl) => cl.kvCacheWrite(tensors, { headDim: shape.headDim }),
    outputs: [tensors.keys, tensors.values],
  }
}

const sizeOf = ({ positions, heads, kvHeads, headDim, window }: AttentionShape) =>
  `${positions.length} x ${heads}/${kvHeads} x ${headDim}, window ${window}`

/** One token of each sequence. */
export function decodeCase(shape: AttentionShape, activationType: ActivationType): Case {
  return {
    operation: 'attention_decode',
    dtype: activationType,
    activationType,
    shape: sizeOf(shape),
    build: (inputs) => decode(inputs, shape),
  }
}

/** The tokens of a prompt. */
export function prefillCase(
  shape: AttentionShape,
  activationType: ActivationType,
  length: number,
): Case {
  return {
    operation: 'attention_prefill',
    dtype: activationType,
    activationType,
    shape: `${length} tokens, ${sizeOf(shape)}`,
    build: (inputs) => prefill(inputs, shape, length),
  }
}

export function* attentionCases(activationType: ActivationType): Generator<Case> {
  for (const shape of SHAPES) {
    const { window } = shape
    const large = window > 1000
    yield { ...decodeCase(shape, activationType), large }
    for (const length of new Set(large ? [64] : [1, window, window + 1, 40])) {
      yield { ...prefillCase(shape, activationType, length), large }
      yield {
        operation: 'kv_cache_write',
        dtype: activationType,
        activationType,
        large,
        shape: `${length} tokens, ${sizeOf(shape)}`,
        build: (inputs) => cacheWrite(inputs, shape, length),
      }
    }
  }
}

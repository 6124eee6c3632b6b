// Sliding-window attention.

import type { ActivationType } from '../../device.js'
import type { Inputs } from '../inputs.js'
import type { Case, Recordable } from './case.js'

interface Shape {
  /** Tokens that each sequence has seen before. */
  positions: readonly number[]
  heads: number
  kvHeads: number
  headDim: number
  window: number
}

const SHAPES: readonly Shape[] = [
  { positions: [0], heads: 1, kvHeads: 1, headDim: 1, window: 1 },
  { positions: [0, 6, 7, 31], heads: 6, kvHeads: 2, headDim: 5, window: 7 },
  { positions: [300], heads: 4, kvHeads: 4, headDim: 65, window: 257 },
  { positions: [4096], heads: 16, kvHeads: 1, headDim: 128, window: 2048 },
]

function tensorsOf(inputs: Inputs, shape: Shape, length: number | undefined) {
  const { positions, heads, kvHeads, headDim, window } = shape
  const batch = positions.length
  const leading = length === undefined ? [batch] : [batch, length]
  return {
    q: inputs.activations([...leading, heads * headDim]),
    k: inputs.activations([...leading, kvHeads * headDim]),
    v: inputs.activations([...leading, kvHeads * headDim]),
    keys: inputs.activations([batch, window, kvHeads * headDim]),
    values: inputs.activations([batch, window, kvHeads * headDim]),
    position: inputs.integers(positions),
    out: inputs.activationResult([...leading, heads * headDim]),
  }
}

function decode(inputs: Inputs, shape: Shape): Recordable {
  const tensors = tensorsOf(inputs, shape, undefined)
  return {
    record: (cl) => cl.attentionDecode(tensors, { headDim: shape.headDim }),
    outputs: [tensors.out, tensors.keys, tensors.values],
  }
}

function prefill(inputs: Inputs, shape: Shape, length: number): Recordable {
  const tensors = tensorsOf(inputs, shape, length)
  return {
    record: (cl) => cl.attentionPrefill(tensors, { headDim: shape.headDim }),
    outputs: [tensors.out],
  }
}

function cacheWrite(inputs: Inputs, shape: Shape, length: number): Recordable {
  const { k, v, keys, values, position } = tensorsOf(inputs, shape, length)
  return {
    record: (cl) => cl.kvCacheWrite({ k, v, keys, values, position }, { headDim: shape.headDim }),
    outputs: [keys, values],
  }
}

export function* attentionCases(activationType: ActivationType): Generator<Case> {
  for (const shape of SHAPES) {
    const { positions, heads, kvHeads, headDim, window } = shape
    const large = window > 1000
    const given = { activationType, dtype: activationType, large }
    const size = `${positions.length} x ${heads}/${kvHeads} x ${headDim}, window ${window}`
    yield {
      ...given,
      operation: 'attention_decode',
      shape: size,
      build: (inputs) => decode(inputs, shape),
    }
    for (const length of new Set(large ? [64] : [1, window, window + 1, 40])) {
      yield {
        ...given,
        operation: 'attention_prefill',
        shape: `${length} tokens, ${size}`,
        build: (inputs) => prefill(inputs, shape, length),
      }
      yield {
        ...given,
        operation: 'kv_cache_write',
        shape: `${length} tokens, ${size}`,
        build: (inputs) => cacheWrite(inputs, shape, length),
      }
    }
  }
}

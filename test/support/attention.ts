// Random inputs of the attention operations, their reference results, and their tensors.

import type { ActivationType, Device } from '../../lib/operations/device.js'
import type { AttentionTensors } from '../../lib/operations/arguments.js'
import type { Tensor } from '../../lib/operations/tensor.js'
import { slidingWindowAttention } from '../reference/attention.js'
import { type Layout, seededActivations, unwritten, upload } from './arrays.js'
import { type Batch, newTokens, randomBatch, ringsAfter } from './sequences.js'
import { inSlots, slotsOf } from './slots.js'

export interface AttentionSpecification {
  positions: readonly number[]
  length: number
  heads: number
  kvHeads: number
  headDim: number
  window: number
  scale?: number
}

export interface AttentionCase {
  specification: AttentionSpecification
  dtype: ActivationType
  q: Batch
  k: Batch
  v: Batch
  /** Results of all tokens, the past ones too: (batch, positions[b] + length, heads · headDim). */
  expected: number[][][]
}

/** A case whose activations are exact in `dtype`. */
export function randomAttention(
  specification: AttentionSpecification,
  dtype: ActivationType = 'float32',
): AttentionCase {
  const { positions, length, heads, kvHeads, headDim, window, scale } = specification
  const normals = seededActivations(length + heads, dtype)
  const tokens = (cols: number) => randomBatch(normals, { positions, length, cols })
  const [q, k, v] = [tokens(heads * headDim), tokens(kvHeads * headDim), tokens(kvHeads * headDim)]
  const shape = { heads, kvHeads, headDim, window, scale: scale ?? headDim ** -0.5 }
  const expected = positions.map((_, b) =>
    slidingWindowAttention(q.sequences[b]!, k.sequences[b]!, v.sequences[b]!, shape),
  )
  return { specification, dtype, q, k, v, expected }
}

/**
 * Tensors of the new tokens `start` up to but not including `end`: of three dimensions, or of two
 * for a single token when `single`. Rings continue from another call when given. Their slots are those
 * of `slotsOf`.
 */
export function attentionTensors(
  device: Device,
  { specification, dtype, q, k, v }: AttentionCase,
  place: Layout['place'],
  range: {
    start?: number
    end?: number
    single?: boolean
    keys?: Tensor
    values?: Tensor
  } = {},
): AttentionTensors {
  const { positions, length, window } = specification
  const { start = 0, end = length, single = false } = range
  const batch = positions.length
  const leading = single ? [batch] : [batch, end - start]
  const input = (tokens: Batch) =>
    place(device, [...leading, tokens.cols], newTokens(tokens, start, end))
  const places = slotsOf(batch)
  const ring = (tokens: Batch) => {
    const rings = inSlots(places, ringsAfter(tokens, start, window))
    return upload(device, dtype, [places.slots, window, tokens.cols], rings)
  }
  return {
    q: input(q),
    k: input(k),
    v: input(v),
    keys: range.keys ?? ring(k),
    values: range.values ?? ring(v),
    position: upload(
      device,
      'uint32',
      [batch],
      positions.map((position) => position + start),
    ),
    rows: upload(device, 'uint32', [batch], places.rows),
    out: unwritten(device, [...leading, q.cols], dtype),
  }
}

// Checks of attention and of its rings of keys and values.

import type { AttentionOptions, AttentionTensors } from '../arguments.js'
import type { Checker } from '../checker.js'

export function checkAttention(
  check: Checker,
  tensors: AttentionTensors,
  { headDim, scale }: AttentionOptions,
  dimensions: 2 | 3,
) {
  const { q, k, v, keys, values, out } = tensors
  if (scale !== undefined) check.notNegative('scale', scale)
  check.activations({ q, k, v, keys, values, out })
  check.dimensions('q', q, dimensions)
  check.divides('headDim', headDim, 'the columns of q', q.cols)
  check.divides('headDim', headDim, 'the columns of k', k.cols)
  const heads = q.cols / headDim
  const kvHeads = k.cols / headDim
  check.divides('the number of key/value heads', kvHeads, 'the query heads', heads)
  check.shape('k', k, [...q.shape.slice(0, -1), k.cols])
  const window = checkRings(check, tensors, q.shape[0]!, k.cols)
  check.output('out', out, q.shape)
  return {
    batch: q.shape[0]!,
    slots: keys.shape[0]!,
    heads,
    kv_heads: kvHeads,
    head_dim: headDim,
    window,
    q_stride: q.rowStride,
    k_stride: k.rowStride,
    v_stride: v.rowStride,
    scale: scale ?? 1 / Math.sqrt(headDim),
  }
}

/** The rings of keys and values; returns their length, the window. */
export function checkRings(
  check: Checker,
  tensors: Omit<AttentionTensors, 'q' | 'out'>,
  batch: number,
  cols: number,
): number {
  const { k, v, keys, values } = tensors
  check.shape('v', v, k.shape)
  check.dimensions('keys', keys, 3)
  const [slots, window] = keys.shape as [number, number, number]
  check.output('keys', keys, [slots, window, cols])
  check.output('values', values, keys.shape)
  check.rows(tensors, batch)
  return window
}

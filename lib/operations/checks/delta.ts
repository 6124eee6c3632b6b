// Checks of the gated delta rule.

import type { DeltaOptions, DeltaScanTensors, DeltaUpdateTensors } from '../arguments.js'
import type { Checker } from '../checker.js'
import type { Tensor } from '../tensor.js'

/** What both operations have: (slots, heads, valueDim, keyDim), and what a model learns for each head. */
function checkState(check: Checker, state: Tensor, A: Tensor, dtBias: Tensor) {
  check.float32({ state, A, dtBias })
  check.dimensions('state', state, 4)
  check.output('state', state, state.shape)
  const [slots, heads, valueDim, keyDim] = state.shape as [number, number, number, number]
  check.output('A', A, [heads])
  check.output('dtBias', dtBias, [heads])
  return { slots, heads, value_dim: valueDim, key_dim: keyDim }
}

function checkOptions(check: Checker, options: DeltaOptions, keyDim: number) {
  check.options(options, ['eps'])
  const { eps = 1e-6 } = options
  check.notNegative('eps', eps)
  return { eps, scale: 1 / Math.sqrt(keyDim) }
}

/** Heads of q and k, of which the columns of `name` have room for `cols`. */
function keyHeads(check: Checker, name: string, cols: number, keyDim: number, heads: number) {
  if (cols <= 0 || cols % keyDim !== 0) {
    check.fail(`${name} must have whole heads of ${keyDim} but has ${Math.max(cols, 0)} columns`)
  }
  check.divides(`the heads of ${name},`, cols / keyDim, 'the heads of the state', heads)
  return cols / keyDim
}

export function checkDeltaUpdate(
  check: Checker,
  tensors: DeltaUpdateTensors,
  options: DeltaOptions,
) {
  const { qkv, z, b, a, convWeight, convState, A, dtBias, state, out, squares } = tensors
  check.activations({ qkv, z, b, a, convState, out })
  check.float32({ convWeight, squares })
  const sizes = checkState(check, state, A, dtBias)
  const { slots, heads, key_dim, value_dim } = sizes
  const values = heads * value_dim
  check.dimensions('qkv', qkv, 2)
  const [batch, channels] = qkv.shape as [number, number]
  const key_heads = keyHeads(check, 'q and k in qkv', (channels - values) / 2, key_dim, heads)
  check.shape('z', z, [batch, values])
  check.shape('b', b, [batch, heads])
  check.shape('a', a, [batch, heads])
  const [, width] = check.matrix('convWeight', convWeight)
  check.shape('convWeight', convWeight, [channels, width])
  check.output('convState', convState, [slots, width, channels])
  check.rows(tensors, batch)
  check.output('out', out, [batch, values])
  check.output('squares', squares, [batch, heads])
  return {
    ...sizes,
    ...checkOptions(check, options, key_dim),
    batch,
    key_heads,
    width,
    qkv_stride: qkv.rowStride,
    z_stride: z.rowStride,
    b_stride: b.rowStride,
    a_stride: a.rowStride,
  }
}

export function checkDeltaScan(check: Checker, tensors: DeltaScanTensors, options: DeltaOptions) {
  const { q, k, v, b, a, A, dtBias, state, out } = tensors
  check.activations({ q, k, v, b, a, out })
  const sizes = checkState(check, state, A, dtBias)
  const { heads, key_dim, value_dim } = sizes
  check.dimensions('v', v, 3)
  const [batch, length] = v.shape as [number, number]
  check.dimensions('q', q, 3)
  const key_heads = keyHeads(check, 'q', q.cols, key_dim, heads)
  check.shape('q', q, [batch, length, key_heads * key_dim])
  check.shape('k', k, [batch, length, key_heads * key_dim])
  check.shape('v', v, [batch, length, heads * value_dim])
  check.shape('b', b, [batch, length, heads])
  check.shape('a', a, [batch, length, heads])
  check.rows(tensors, batch)
  check.output('out', out, v.shape)
  return {
    ...sizes,
    ...checkOptions(check, options, key_dim),
    batch,
    length,
    key_heads,
    q_stride: q.rowStride,
    k_stride: k.rowStride,
    v_stride: v.rowStride,
    b_stride: b.rowStride,
    a_stride: a.rowStride,
  }
}

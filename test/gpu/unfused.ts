// Records the same pass in more operations: norms, activations, gates, residuals and the parts of a
// Mamba-2 update each on its own. What fused operations are measured against.

import type { Device } from '../../lib/operations/device.js'
import type { PassContext } from '../../lib/models/language-model.js'
import type { LinearOptions, Mamba2Options, Mamba2Tensors } from '../../lib/operations/arguments.js'
import type { Recorder } from '../../lib/operations/recorder.js'
import type { Tensor } from '../../lib/operations/tensor.js'

type Product = (x: Tensor, out: Tensor) => void

/** `pass` with a recorder that takes fused operations apart. Activations must be float32. */
export function unfused(pass: PassContext, device: Device): PassContext {
  const cl = pass.cl
  const scratch = new Map<string, Tensor>()
  const take = (name: string, like: Tensor): Tensor => {
    const key = `${name} ${like.shape}`
    let tensor = scratch.get(key)
    if (!tensor) {
      tensor = device.tensor('float32', like.shape)
      scratch.set(key, tensor)
    }
    return tensor
  }
  // The norm after an update, which the product that follows it brings.
  let gated: { y: Tensor; z: Tensor; squares: Tensor; normBeforeGate: boolean } | undefined

  function linear(x: Tensor, out: Tensor, options: LinearOptions, product: Product) {
    const { bias, norm, activation, gate, residual } = options
    if (bias) throw new Error('[unfused] a bias has no operation of its own')
    let input = x
    if (norm && gated && norm.squares === gated.squares) {
      const { y, z, normBeforeGate } = gated
      input = take('normed', y)
      cl.gatedRmsNorm(y, z, norm.weight, input, {
        eps: norm.eps,
        groups: norm.groups ?? 1,
        normBeforeGate,
      })
      gated = undefined
    } else if (norm) {
      input = take('normed', x)
      cl.rmsNorm(x, norm.weight, input, { eps: norm.eps })
    }
    const result = residual ? take('product', out) : out
    product(input, result)
    if (activation) cl.mlpActivation(result, result, { activation, gate })
    if (residual) cl.add(result, residual, out)
  }

  function mamba2Update(tensors: Mamba2Tensors, options: Mamba2Options = {}) {
    const { zxBCdt, convWeight, convBias, convState, A, D, dtBias, ssmState } = tensors
    const { normBeforeGate = false, groups = 1, activation = 'silu', columns, ...rest } = options
    const [, heads, headDim, dState] = ssmState.shape as [number, number, number, number]
    const inner = heads * headDim
    const channels = convState.cols
    const [firstZ, firstX] = columns === 'xBCzdt' ? [channels, 0] : [0, inner]
    const x = zxBCdt.columns(firstX, firstX + channels)
    const xBC = take('conv', x)
    const y = take('y', tensors.out)
    const { position, rows } = tensors
    cl.conv1dUpdate(
      { x, weight: convWeight, bias: convBias, state: convState, position, rows, out: xBC },
      { activation },
    )
    cl.ssdUpdate(
      {
        x: xBC.columns(0, inner),
        dt: zxBCdt.columns(inner + channels, inner + channels + heads),
        A,
        B: xBC.columns(inner, inner + groups * dState),
        C: xBC.columns(inner + groups * dState, channels),
        D,
        dtBias,
        state: ssmState,
        rows,
        out: y,
      },
      { groups, ...rest },
    )
    gated = {
      y,
      z: zxBCdt.columns(firstZ, firstZ + inner),
      squares: tensors.squares,
      normBeforeGate,
    }
  }

  const parts: Partial<Record<keyof Recorder, unknown>> = {
    matmul: (...[x, weight, out, options = {}]: Parameters<Recorder['matmul']>) =>
      linear(x, out, options, (from, to) => cl.matmul(from, weight, to)),
    quantizedMatmul: (...[x, weight, out, options = {}]: Parameters<Recorder['quantizedMatmul']>) =>
      linear(x, out, options, (from, to) => cl.quantizedMatmul(from, weight, to)),
    mamba2Update,
  }
  const apart = new Proxy(cl, {
    get(target, name: keyof Recorder) {
      const value = parts[name] ?? target[name]
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return { ...pass, cl: apart }
}

// Checks of convolutions and of the SSM recurrence.

import type {
  ConvTensors,
  Mamba2Options,
  Mamba2Tensors,
  SsdOptions,
  SsdTensors,
} from '../arguments.js'
import type { Checker } from '../checker.js'

export function checkConvolution(
  check: Checker,
  tensors: ConvTensors,
  dimensions: 2 | 3,
): [batch: number, channels: number, width: number] {
  const { x, weight, bias, state, out } = tensors
  check.activations({ x, state, out })
  check.float32({ weight, bias })
  check.dimensions('x', x, dimensions)
  const batch = x.shape[0]!
  const channels = x.cols
  const [, width] = check.matrix('weight', weight)
  check.shape('weight', weight, [channels, width])
  if (bias) check.output('bias', bias, [channels])
  check.dimensions('state', state, 3)
  check.output('state', state, [state.shape[0]!, width, channels])
  check.rows(tensors, batch)
  check.output('out', out, x.shape)
  return [batch, channels, width]
}

export function checkSsd(
  check: Checker,
  tensors: SsdTensors,
  { groups = 1, dtLimit = [0, Infinity] }: SsdOptions,
  dimensions: 2 | 3,
) {
  const { x, dt, A, B, C, D, dtBias, state, out } = tensors
  check.activations({ x, dt, B, C, out })
  check.float32({ A, D, dtBias, state })
  check.dimensions('state', state, 4)
  const [slots, heads, headDim, dState] = state.shape as [number, number, number, number]
  check.output('state', state, state.shape)
  check.dimensions('x', x, dimensions)
  const batch = x.shape[0]!
  const leading = dimensions === 2 ? [batch] : [batch, x.shape[1]!]
  check.shape('x', x, [...leading, heads * headDim])
  check.shape('dt', dt, [...leading, heads])
  check.divides('groups', groups, 'the heads', heads)
  check.shape('B', B, [...leading, groups * dState])
  check.shape('C', C, [...leading, groups * dState])
  checkHeads(check, tensors, heads)
  check.rows(tensors, batch)
  check.output('out', out, x.shape)
  return {
    batch,
    slots,
    heads,
    head_dim: headDim,
    d_state: dState,
    groups,
    x_stride: x.rowStride,
    dt_stride: dt.rowStride,
    b_stride: B.rowStride,
    c_stride: C.rowStride,
    ...dtLimits(check, dtLimit),
  }
}

export function checkMamba2(
  check: Checker,
  tensors: Mamba2Tensors,
  { groups = 1, dtLimit = [0, Infinity], normBeforeGate = false }: Mamba2Options,
) {
  const { zxBCdt, convWeight, convBias, convState, A, D, dtBias, ssmState } = tensors
  const { out, squares } = tensors
  check.activations({ zxBCdt, convState, out })
  check.float32({ convWeight, convBias, A, D, dtBias, ssmState, squares })
  check.dimensions('ssmState', ssmState, 4)
  const [slots, heads, headDim, dState] = ssmState.shape as [number, number, number, number]
  check.output('ssmState', ssmState, ssmState.shape)
  check.divides('groups', groups, 'the heads', heads)
  const inner = heads * headDim
  const channels = inner + 2 * groups * dState
  check.dimensions('zxBCdt', zxBCdt, 2)
  const batch = zxBCdt.shape[0]!
  check.output('zxBCdt', zxBCdt, [batch, inner + channels + heads])
  const [, width] = check.matrix('convWeight', convWeight)
  check.shape('convWeight', convWeight, [channels, width])
  if (convBias) check.output('convBias', convBias, [channels])
  check.output('convState', convState, [slots, width, channels])
  checkHeads(check, tensors, heads)
  check.rows(tensors, batch)
  check.output('out', out, [batch, inner])
  check.output('squares', squares, [batch, heads])
  return {
    batch,
    slots,
    heads,
    head_dim: headDim,
    d_state: dState,
    groups,
    width,
    has_bias: convBias ? 1 : 0,
    norm_before_gate: normBeforeGate ? 1 : 0,
    ...dtLimits(check, dtLimit),
  }
}

function dtLimits(check: Checker, [min, max]: readonly [number, number]) {
  if (!(min >= 0 && min <= max)) {
    check.fail(`dtLimit must be 0 <= min <= max but is ${min}, ${max}`)
  }
  return { dt_min: min, dt_max: max }
}

/** What a model learns for each head. */
function checkHeads(
  check: Checker,
  { A, D, dtBias }: Pick<SsdTensors, 'A' | 'D' | 'dtBias'>,
  heads: number,
): void {
  check.output('A', A, [heads])
  check.output('D', D, [heads])
  check.output('dtBias', dtBias, [heads])
}

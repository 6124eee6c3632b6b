// Checks of convolutions and of the SSM recurrence.

import type {
  ConvOptions,
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
  options: ConvOptions,
  dimensions: 2 | 3,
) {
  const { x, inputGate, outputGate, weight, bias, state, out } = tensors
  check.options(options, ['activation'])
  check.activations({ x, inputGate, outputGate, state, out })
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
  if (inputGate) check.shape('inputGate', inputGate, x.shape)
  if (outputGate) check.shape('outputGate', outputGate, x.shape)
  if (!inputGate !== !outputGate) {
    check.fail('inputGate and outputGate must both be given or both be left out')
  }
  return {
    batch,
    slots: state.shape[0]!,
    channels,
    width,
    x_stride: x.rowStride,
    input_gate_stride: inputGate?.rowStride ?? 0,
    output_gate_stride: outputGate?.rowStride ?? 0,
    has_bias: bias ? 1 : 0,
    gated: inputGate ? 1 : 0,
    activation: convActivation(check, options),
  }
}

/** enum Activation of metal/types.h. */
function convActivation(check: Checker, { activation = 'silu' }: ConvOptions): number {
  check.oneOf('activation', activation, ['silu', 'none'])
  return activation === 'silu' ? 1 : 2
}

export function checkSsd(
  check: Checker,
  tensors: SsdTensors,
  { groups = 1, dtLimit = [0, Infinity], discrete = false }: SsdOptions,
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
    discrete: discrete ? 1 : 0,
    ...dtLimits(check, dtLimit),
  }
}

export function checkMamba2(check: Checker, tensors: Mamba2Tensors, options: Mamba2Options) {
  const { groups = 1, dtLimit = [0, Infinity], columns = 'zxBCdt' } = options
  check.oneOf('columns', columns, ['zxBCdt', 'xBCzdt'])
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
    activation: convActivation(check, options),
    norm_before_gate: options.normBeforeGate ? 1 : 0,
    gate_after: columns === 'xBCzdt' ? 1 : 0,
    discrete: options.discrete ? 1 : 0,
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

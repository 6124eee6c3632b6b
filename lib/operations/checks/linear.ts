// Checks of matrix products and of quantised matrices.

import { listed } from '../../support/format.js'
import {
  ACTIVATIONS,
  AFFINE_BITS,
  AFFINE_GROUP_SIZES,
  type EmbeddingOptions,
  type LinearNorm,
  type LinearOptions,
  QUANTIZED_MODES,
  type QuantizedMatrix,
  type QuantizedMode,
} from '../arguments.js'
import { type DType, formatShape, type Tensor } from '../tensor.js'
import type { Checker } from '../checker.js'

/** Activation functions as metal/types.h numbers them. */
export const ACTIVATION_NUMBERS = { gelu: 0, silu: 1, identity: 2, relu2: 3 } as const

const NO_NORM = { norm_group_cols: 0, norm_parts: 0, norm_eps: 0 }

/** A matrix product with what it does besides. */
export function checkLinear(
  check: Checker,
  x: Tensor,
  inputs: number,
  outputs: number,
  out: Tensor,
  options: LinearOptions,
) {
  check.options(options, ['scale', 'bias', 'norm', 'activation', 'gate', 'residual', 'role'])
  const { scale, bias, norm, activation, gate, residual } = options
  const { role = x.shape.length > 2 ? 'chunk' : 'step' } = options
  check.activations({ x })
  check.activations({ out, gate, residual })
  check.float32({ scale, bias, 'norm.weight': norm?.weight, 'norm.squares': norm?.squares })
  if (x.cols !== inputs) {
    check.fail(
      `x must have ${inputs} columns, as the weight has inputs, but has shape ${formatShape(x.shape)}`,
    )
  }
  if (scale) check.output('scale', scale, [outputs])
  if (bias) check.output('bias', bias, [outputs])
  check.output('out', out, [...x.shape.slice(0, -1), outputs])
  if (activation !== undefined) check.oneOf('activation', activation, ACTIVATIONS)
  check.oneOf('role', role, ['step', 'chunk'])
  if (gate) check.output('gate', gate, out.shape)
  if (residual) check.output('residual', residual, out.shape)
  const normalised = norm ? normParams(check, norm, x, inputs) : NO_NORM
  return {
    tensors: { scale, bias, normWeight: norm?.weight, squares: norm?.squares, gate, residual },
    params: {
      step: role === 'step' ? 1 : 0,
      has_scale: scale ? 1 : 0,
      has_bias: bias ? 1 : 0,
      ...normalised,
      activation: ACTIVATION_NUMBERS[activation ?? 'identity'],
      gated: gate ? 1 : 0,
      has_residual: residual ? 1 : 0,
    },
  }
}

function normParams(check: Checker, norm: LinearNorm, x: Tensor, inputs: number) {
  check.options(norm, ['weight', 'eps', 'groups', 'squares'])
  const { weight, eps, groups = 1, squares } = norm
  check.output('norm.weight', weight, [inputs])
  check.notNegative('norm.eps', eps)
  check.divides('norm.groups', groups, 'the inputs', inputs)
  if (squares) {
    check.output('norm.squares', squares, [...x.shape.slice(0, -1), squares.cols])
    check.divides('norm.groups', groups, 'the parts of norm.squares', squares.cols)
    check.divides('the parts of norm.squares', squares.cols, 'the inputs', inputs)
  }
  return {
    norm_group_cols: inputs / groups,
    norm_parts: squares?.cols ?? 0,
    norm_eps: eps,
  }
}

/** Bits, columns of a group and types of scales of each format. */
const QUANTIZED = {
  affine: {
    bits: AFFINE_BITS,
    groupSizes: AFFINE_GROUP_SIZES,
    scales: ['float32', 'float16', 'bfloat16'],
  },
  mxfp4: { bits: [4], groupSizes: [32], scales: ['uint8'] },
  nvfp4: { bits: [4], groupSizes: [16], scales: ['uint8'] },
} as const satisfies Record<
  QuantizedMode,
  { bits: readonly number[]; groupSizes: readonly number[]; scales: readonly DType[] }
>

export function checkQuantized(
  check: Checker,
  { mode = 'affine', words, scales, biases, bits, groupSize }: QuantizedMatrix,
) {
  check.oneOf('mode', mode, QUANTIZED_MODES)
  const format = QUANTIZED[mode]
  const of = mode === 'affine' ? '' : ` of ${mode}`
  if (!format.bits.some((each) => each === bits)) {
    check.fail(`bits${of} must be ${listed(format.bits, 'or')} but is ${bits}`)
  }
  if (!format.groupSizes.some((each) => each === groupSize)) {
    check.fail(`groupSize${of} must be ${listed(format.groupSizes, 'or')} but is ${groupSize}`)
  }
  check.type('words', words, ['uint32'])
  check.type('scales', scales, format.scales)
  if (mode === 'affine' && !biases) check.fail('biases must be given in affine format')
  if (mode !== 'affine' && biases) check.fail(`biases must be left out: ${mode} has none`)
  const [rows, packed] = check.matrix('words', words)
  const cols = (packed * 32) / bits
  if (cols % groupSize !== 0) check.fail(`groupSize ${groupSize} does not divide ${cols} columns`)
  check.output('scales', scales, [rows, cols / groupSize])
  if (biases) {
    check.type('biases', biases, [scales.dtype])
    check.output('biases', biases, scales.shape)
  }
  return {
    rows,
    cols,
    tensors: { words, scales, biases },
    params: { mode: QUANTIZED_MODES.indexOf(mode), bits, group_size: groupSize },
  }
}

/** The factor of a look-up. */
export function checkEmbeddingScale(check: Checker, options: EmbeddingOptions): number {
  check.options(options, ['scale'])
  const { scale = 1 } = options
  check.finite('scale', scale)
  return scale
}

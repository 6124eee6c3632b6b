// Checks of the tensors that operations are given. Messages lead with the operation and say what was
// expected and what came.

import { checkOptions, describe } from '../support/option-checks.js'
import type {
  AffineMatrix,
  AttentionOptions,
  AttentionTensors,
  ConvTensors,
  KeepLogitsTensors,
  LinearNorm,
  LinearOptions,
  Mamba2Options,
  Mamba2Tensors,
  ResolveRowsTensors,
  SampleTensors,
  SsdOptions,
  SsdTensors,
  TokenLogprobsTensors,
} from './recorder.js'
import { type DType, formatShape, type Tensor } from './tensor.js'

/** Activation functions as metal/types.h numbers them. */
const ACTIVATIONS = { gelu: 0, silu: 1, identity: 2 } as const

const NO_NORM = { norm_group_cols: 0, norm_parts: 0, norm_eps: 0 }

/** The checks of one operation. */
export class Checker {
  readonly #operation: string
  readonly #activationTypes: readonly DType[]

  /** `activationTypes`: what the device computes in. */
  constructor(operation: string, activationTypes: readonly DType[]) {
    this.#operation = operation
    this.#activationTypes = activationTypes
  }

  #fail(message: string): never {
    throw new RangeError(`[${this.#operation}] ${message}`)
  }

  type(name: string, tensor: Tensor, allowed: readonly DType[]): void {
    if (allowed.includes(tensor.dtype)) return
    throw new TypeError(
      `[${this.#operation}] ${name} must be ${allowed.join(' or ')} but is ${tensor.dtype}`,
    )
  }

  float32(tensors: Record<string, Tensor | undefined>): void {
    for (const [name, tensor] of Object.entries(tensors)) {
      if (tensor) this.type(name, tensor, ['float32'])
    }
  }

  /** Activations, all of the same element type. */
  activations(tensors: Record<string, Tensor | undefined>): void {
    let first: [name: string, dtype: DType] | undefined
    for (const [name, tensor] of Object.entries(tensors)) {
      if (!tensor) continue
      this.type(name, tensor, this.#activationTypes)
      first ??= [name, tensor.dtype]
      if (tensor.dtype !== first[1]) {
        throw new TypeError(
          `[${this.#operation}] ${name} must be ${first[1]}, as ${first[0]} is, but is ${tensor.dtype}`,
        )
      }
    }
  }

  dimensions(name: string, tensor: Tensor, count: number): void {
    if (tensor.shape.length === count) return
    this.#fail(`${name} must have ${count} dimensions but has shape ${formatShape(tensor.shape)}`)
  }

  shape(name: string, tensor: Tensor, expected: readonly number[]): void {
    const same =
      tensor.shape.length === expected.length &&
      tensor.shape.every((dimension, i) => dimension === expected[i])
    if (same) return
    this.#fail(
      `${name} must have shape ${formatShape(expected)} but has shape ${formatShape(tensor.shape)}`,
    )
  }

  /** A tensor whose rows may not lie apart, of the expected shape. */
  output(name: string, tensor: Tensor, expected: readonly number[]): void {
    this.shape(name, tensor, expected)
    if (!tensor.isContiguous) this.#fail(`${name} must be contiguous but is a view with rows apart`)
  }

  /** Rows and columns of a contiguous matrix. */
  matrix(name: string, tensor: Tensor): [rows: number, cols: number] {
    this.dimensions(name, tensor, 2)
    this.output(name, tensor, tensor.shape)
    return [tensor.shape[0]!, tensor.shape[1]!]
  }

  positive(name: string, value: number): void {
    if (Number.isSafeInteger(value) && value > 0 && value < 2 ** 32) return
    this.#fail(`${name} must be a positive whole number but is ${value}`)
  }

  /** A finite number that is not negative. */
  notNegative(name: string, value: number): void {
    if (Number.isFinite(value) && value >= 0) return
    this.#fail(`${name} must be a finite number, at least 0, but is ${describe(value)}`)
  }

  /** Refuses options that do not exist: a misspelt one would be ignored. */
  options(options: object, known: readonly string[]): void {
    checkOptions(this.#operation, options, known)
  }

  oneOf(name: string, value: unknown, allowed: readonly string[]): void {
    if (allowed.some((known) => known === value)) return
    const expected = allowed.map((known) => JSON.stringify(known)).join(' or ')
    this.#fail(`${name} must be ${expected} but is ${describe(value)}`)
  }

  divides(name: string, value: number, what: string, total: number): void {
    this.positive(name, value)
    if (total % value !== 0) this.#fail(`${name} ${value} does not divide ${what}, ${total}`)
  }

  tokens(tokens: Tensor, out: Tensor, cols: number): void {
    this.type('tokens', tokens, ['uint32'])
    this.float32({ out })
    this.output('tokens', tokens, tokens.shape)
    this.output('out', out, [...tokens.shape, cols])
  }

  /** A matrix product with what it does besides. */
  linear(x: Tensor, inputs: number, outputs: number, out: Tensor, options: LinearOptions) {
    this.options(options, ['bias', 'norm', 'activation', 'gate', 'residual', 'role'])
    const { bias, norm, activation, gate, residual } = options
    const { role = x.shape.length > 2 ? 'chunk' : 'step' } = options
    this.activations({ x })
    this.activations({ out, gate, residual })
    this.float32({ bias, 'norm.weight': norm?.weight, 'norm.squares': norm?.squares })
    if (x.cols !== inputs) {
      this.#fail(
        `x must have ${inputs} columns, as the weight has inputs, but has shape ${formatShape(x.shape)}`,
      )
    }
    if (bias) this.output('bias', bias, [outputs])
    this.output('out', out, [...x.shape.slice(0, -1), outputs])
    if (activation !== undefined) this.oneOf('activation', activation, ['gelu', 'silu'])
    this.oneOf('role', role, ['step', 'chunk'])
    if (gate) this.output('gate', gate, out.shape)
    if (residual) this.output('residual', residual, out.shape)
    const normParams = norm ? this.#norm(norm, x, inputs) : NO_NORM
    return {
      bindings: [bias, norm?.weight, norm?.squares, gate, residual] as const,
      params: {
        step: role === 'step' ? 1 : 0,
        has_bias: bias ? 1 : 0,
        ...normParams,
        activation: ACTIVATIONS[activation ?? 'identity'],
        gated: gate ? 1 : 0,
        has_residual: residual ? 1 : 0,
      },
    }
  }

  #norm(norm: LinearNorm, x: Tensor, inputs: number) {
    this.options(norm, ['weight', 'eps', 'groups', 'squares'])
    const { weight, eps, groups = 1, squares } = norm
    this.output('norm.weight', weight, [inputs])
    this.notNegative('norm.eps', eps)
    this.divides('norm.groups', groups, 'the inputs', inputs)
    if (squares) {
      this.output('norm.squares', squares, [...x.shape.slice(0, -1), squares.cols])
      this.divides('norm.groups', groups, 'the parts of norm.squares', squares.cols)
      this.divides('the parts of norm.squares', squares.cols, 'the inputs', inputs)
    }
    return {
      norm_group_cols: inputs / groups,
      norm_parts: squares?.cols ?? 0,
      norm_eps: eps,
    }
  }

  affine({ words, scales, biases, bits, groupSize }: AffineMatrix) {
    if (bits !== 4 && bits !== 8) this.#fail(`bits must be 4 or 8 but is ${bits}`)
    if (![32, 64, 128].includes(groupSize)) {
      this.#fail(`groupSize must be 32, 64 or 128 but is ${groupSize}`)
    }
    this.type('words', words, ['uint32'])
    this.type('scales', scales, ['float32', 'float16', 'bfloat16'])
    this.type('biases', biases, [scales.dtype])
    const [rows, packed] = this.matrix('words', words)
    const cols = (packed * 32) / bits
    if (cols % groupSize !== 0) this.#fail(`groupSize ${groupSize} does not divide ${cols} columns`)
    this.output('scales', scales, [rows, cols / groupSize])
    this.output('biases', biases, scales.shape)
    return {
      rows,
      cols,
      bindings: [words, scales, biases] as const,
      params: { bits, group_size: groupSize },
    }
  }

  /** Where the state of each row is, and for most operations how far its sequence has come. */
  #rows(tensors: { rows: Tensor; position?: Tensor }, batch: number): void {
    for (const name of ['position', 'rows'] as const) {
      const tensor = tensors[name]
      if (tensor) this.#integers(name, tensor, [batch])
    }
  }

  #integers(name: string, tensor: Tensor, shape: readonly number[]): void {
    this.type(name, tensor, ['uint32'])
    this.output(name, tensor, shape)
  }

  convolution(
    tensors: ConvTensors,
    dimensions: 2 | 3,
  ): [batch: number, channels: number, width: number] {
    const { x, weight, bias, state, out } = tensors
    this.activations({ x, state, out })
    this.float32({ weight, bias })
    this.dimensions('x', x, dimensions)
    const batch = x.shape[0]!
    const channels = x.cols
    const [, width] = this.matrix('weight', weight)
    this.shape('weight', weight, [channels, width])
    if (bias) this.output('bias', bias, [channels])
    this.dimensions('state', state, 3)
    this.output('state', state, [state.shape[0]!, width, channels])
    this.#rows(tensors, batch)
    this.output('out', out, x.shape)
    return [batch, channels, width]
  }

  ssd(tensors: SsdTensors, { groups = 1, dtLimit = [0, Infinity] }: SsdOptions, dimensions: 2 | 3) {
    const { x, dt, A, B, C, D, dtBias, state, out } = tensors
    this.activations({ x, dt, B, C, out })
    this.float32({ A, D, dtBias, state })
    this.dimensions('state', state, 4)
    const [slots, heads, headDim, dState] = state.shape as [number, number, number, number]
    this.output('state', state, state.shape)
    this.dimensions('x', x, dimensions)
    const batch = x.shape[0]!
    const leading = dimensions === 2 ? [batch] : [batch, x.shape[1]!]
    this.shape('x', x, [...leading, heads * headDim])
    this.shape('dt', dt, [...leading, heads])
    this.divides('groups', groups, 'the heads', heads)
    this.shape('B', B, [...leading, groups * dState])
    this.shape('C', C, [...leading, groups * dState])
    this.output('A', A, [heads])
    this.output('D', D, [heads])
    this.output('dtBias', dtBias, [heads])
    this.#rows(tensors, batch)
    this.output('out', out, x.shape)
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
      ...this.#dtLimit(dtLimit),
    }
  }

  mamba2(
    tensors: Mamba2Tensors,
    { groups = 1, dtLimit = [0, Infinity], normBeforeGate = false }: Mamba2Options,
  ) {
    const { zxBCdt, convWeight, convBias, convState, A, D, dtBias, ssmState } = tensors
    const { out, squares } = tensors
    this.activations({ zxBCdt, convState, out })
    this.float32({ convWeight, convBias, A, D, dtBias, ssmState, squares })
    this.dimensions('ssmState', ssmState, 4)
    const [slots, heads, headDim, dState] = ssmState.shape as [number, number, number, number]
    this.output('ssmState', ssmState, ssmState.shape)
    this.divides('groups', groups, 'the heads', heads)
    const inner = heads * headDim
    const channels = inner + 2 * groups * dState
    this.dimensions('zxBCdt', zxBCdt, 2)
    const batch = zxBCdt.shape[0]!
    this.output('zxBCdt', zxBCdt, [batch, inner + channels + heads])
    const [, width] = this.matrix('convWeight', convWeight)
    this.shape('convWeight', convWeight, [channels, width])
    if (convBias) this.output('convBias', convBias, [channels])
    this.output('convState', convState, [slots, width, channels])
    this.output('A', A, [heads])
    this.output('D', D, [heads])
    this.output('dtBias', dtBias, [heads])
    this.#rows(tensors, batch)
    this.output('out', out, [batch, inner])
    this.output('squares', squares, [batch, heads])
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
      ...this.#dtLimit(dtLimit),
    }
  }

  #dtLimit([min, max]: readonly [number, number]) {
    if (!(min >= 0 && min <= max)) {
      this.#fail(`dtLimit must be 0 <= min <= max but is ${min}, ${max}`)
    }
    return { dt_min: min, dt_max: max }
  }

  attention(tensors: AttentionTensors, { headDim, scale }: AttentionOptions, dimensions: 2 | 3) {
    const { q, k, v, keys, values, out } = tensors
    if (scale !== undefined) this.notNegative('scale', scale)
    this.activations({ q, k, v, keys, values, out })
    this.dimensions('q', q, dimensions)
    this.divides('headDim', headDim, 'the columns of q', q.cols)
    this.divides('headDim', headDim, 'the columns of k', k.cols)
    const heads = q.cols / headDim
    const kvHeads = k.cols / headDim
    this.divides('the number of key/value heads', kvHeads, 'the query heads', heads)
    this.shape('k', k, [...q.shape.slice(0, -1), k.cols])
    const window = this.rings(tensors, q.shape[0]!, k.cols)
    this.output('out', out, q.shape)
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
  rings(tensors: Omit<AttentionTensors, 'q' | 'out'>, batch: number, cols: number): number {
    const { k, v, keys, values } = tensors
    this.shape('v', v, k.shape)
    this.dimensions('keys', keys, 3)
    const [slots, window] = keys.shape as [number, number, number]
    this.output('keys', keys, [slots, window, cols])
    this.output('values', values, keys.shape)
    this.#rows(tensors, batch)
    return window
  }

  resolveRows(
    { slots, remaining, token, position, rows, positions, tokens }: ResolveRowsTensors,
    count: number,
  ) {
    const batch = slots.elements
    this.#integers('slots', slots, [batch])
    this.#integers('remaining', remaining, [remaining.elements])
    for (const [name, tensor] of Object.entries({ token, position })) {
      this.#integers(name, tensor, remaining.shape)
    }
    for (const [name, tensor] of Object.entries({ rows, positions, tokens })) {
      if (tensor) this.#integers(name, tensor, [batch])
    }
    // 0: the rows stay where they are.
    if (count !== 0) this.positive('count', count)
    return { batch, slots: remaining.elements, count, has_tokens: tokens ? 1 : 0 }
  }

  keepLogits({ logits, rows, kept }: KeepLogitsTensors) {
    this.float32({ logits, kept })
    const [batch, vocabulary] = this.matrix('logits', logits)
    this.#rows({ rows }, batch)
    const [slots] = this.matrix('kept', kept)
    this.output('kept', kept, [slots, vocabulary])
    return { batch, slots, vocabulary }
  }

  sample(tensors: SampleTensors) {
    const { logits, settings, stops, biases, history, mask, report } = tensors
    const { position, remaining, out, counts } = tensors
    this.float32({ settings })
    this.dimensions('settings', settings, 2)
    const slots = settings.shape[0]!
    this.output('settings', settings, [slots, 6])
    const common = this.#logitsOf(tensors, slots)
    const { batch, vocabulary } = common
    for (const [name, tensor] of Object.entries({ stops, biases, history })) {
      this.dimensions(name, tensor, 2)
      this.#integers(name, tensor, [slots, tensor.cols])
    }
    if (biases.cols % 2 !== 0) {
      this.#fail(
        `biases must have an even number of columns but has shape ${formatShape(biases.shape)}`,
      )
    }
    this.#integers('mask', mask, [slots, Math.ceil(vocabulary / 32)])
    this.#integers('counts', counts, [slots, vocabulary])
    for (const [name, tensor] of Object.entries({ position, remaining, out })) {
      this.#integers(name, tensor, [slots])
    }
    this.#integers('report', report, [batch, 2])
    return {
      ...common,
      stops: stops.cols,
      biases: biases.cols / 2,
      history_length: history.cols,
      has_logits: logits ? 1 : 0,
    }
  }

  tokenLogprobs(tensors: TokenLogprobsTensors) {
    const { logits, token, reported, logprobs } = tensors
    this.dimensions('reported', reported, 2)
    const [slots, places] = reported.shape as [number, number]
    const common = this.#logitsOf(tensors, slots)
    this.#integers('token', token, [slots])
    this.#integers('reported', reported, [slots, places])
    this.float32({ logprobs })
    this.output('logprobs', logprobs, [slots, places])
    return { ...common, places, has_logits: logits ? 1 : 0 }
  }

  // Of operations on rows of logits, given or kept, and on what their slots ask for.
  #logitsOf(
    {
      logits,
      rows,
      selection,
      kept,
    }: Pick<SampleTensors, 'logits' | 'rows' | 'selection' | 'kept'>,
    slots: number,
  ) {
    this.float32({ logits, kept })
    const vocabulary = this.matrix(logits ? 'logits' : 'kept', logits ?? kept)[1]
    const batch = logits ? logits.shape[0]! : rows.elements
    this.#rows({ rows }, batch)
    this.#integers('selection', selection, [slots, 8])
    this.output('kept', kept, [slots, vocabulary])
    return { batch, slots, vocabulary }
  }
}

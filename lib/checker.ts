// Checks of the tensors that operations are given. Messages lead with the operation and say what was
// expected and what came.

import { checkOptions, describe } from './options.js'
import type {
  AffineMatrix,
  AttentionOptions,
  AttentionTensors,
  ConvTensors,
  SsdOptions,
  SsdTensors,
} from './recorder.js'
import { type DType, formatShape, type Tensor } from './tensor.js'

/** The checks of one operation. */
export class Checker {
  readonly #operation: string

  constructor(operation: string) {
    this.#operation = operation
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

  linear(x: Tensor, inputs: number, outputs: number, bias: Tensor | undefined, out: Tensor): void {
    this.float32({ x, bias, out })
    if (x.cols !== inputs) {
      this.#fail(
        `x must have ${inputs} columns, as the weight has inputs, but has shape ${formatShape(x.shape)}`,
      )
    }
    if (bias) this.output('bias', bias, [outputs])
    this.output('out', out, [...x.shape.slice(0, -1), outputs])
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

  convolution(
    tensors: ConvTensors,
    dimensions: 2 | 3,
  ): [batch: number, channels: number, width: number] {
    const { x, weight, bias, state, position, out } = tensors
    this.float32({ x, weight, bias, state, out })
    this.type('position', position, ['uint32'])
    this.dimensions('x', x, dimensions)
    const batch = x.shape[0]!
    const channels = x.cols
    const [, width] = this.matrix('weight', weight)
    this.shape('weight', weight, [channels, width])
    if (bias) this.output('bias', bias, [channels])
    this.output('state', state, [batch, width, channels])
    this.output('position', position, [batch])
    this.output('out', out, x.shape)
    return [batch, channels, width]
  }

  ssd(tensors: SsdTensors, { groups = 1, dtLimit = [0, Infinity] }: SsdOptions, dimensions: 2 | 3) {
    const { x, dt, A, B, C, D, dtBias, state, out } = tensors
    this.float32({ x, dt, A, B, C, D, dtBias, state, out })
    this.dimensions('state', state, 4)
    const [batch, heads, headDim, dState] = state.shape as [number, number, number, number]
    this.output('state', state, state.shape)
    this.dimensions('x', x, dimensions)
    const leading = dimensions === 2 ? [batch] : [batch, x.shape[1]!]
    this.shape('x', x, [...leading, heads * headDim])
    this.shape('dt', dt, [...leading, heads])
    this.divides('groups', groups, 'the heads', heads)
    this.shape('B', B, [...leading, groups * dState])
    this.shape('C', C, [...leading, groups * dState])
    this.output('A', A, [heads])
    this.output('D', D, [heads])
    this.output('dtBias', dtBias, [heads])
    this.output('out', out, x.shape)
    const [min, max] = dtLimit
    if (!(min >= 0 && min <= max)) this.#fail(`dtLimit must be 0 <= min <= max but is ${dtLimit}`)
    return {
      batch,
      heads,
      head_dim: headDim,
      d_state: dState,
      groups,
      x_stride: x.rowStride,
      dt_stride: dt.rowStride,
      b_stride: B.rowStride,
      c_stride: C.rowStride,
      dt_min: min,
      dt_max: max,
    }
  }

  attention(tensors: AttentionTensors, { headDim, scale }: AttentionOptions, dimensions: 2 | 3) {
    const { q, k, v, keys, values, out } = tensors
    if (scale !== undefined) this.notNegative('scale', scale)
    this.float32({ q, k, v, keys, values, out })
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
  rings(
    { k, v, keys, values, position }: Omit<AttentionTensors, 'q' | 'out'>,
    batch: number,
    cols: number,
  ): number {
    this.shape('v', v, k.shape)
    this.dimensions('keys', keys, 3)
    const window = keys.shape[1]!
    this.output('keys', keys, [batch, window, cols])
    this.output('values', values, keys.shape)
    this.type('position', position, ['uint32'])
    this.output('position', position, [batch])
    return window
  }
}

// Checks of the tensors that operations are given. Messages lead with the operation and say what was
// expected and what came.

import { checkOptions, describe } from '../support/option-checks.js'
import { type DType, formatShape, type Tensor } from './tensor.js'

/** The checks of one operation. */
export class Checker {
  readonly #operation: string
  readonly #activationTypes: readonly DType[]

  /** `activationTypes`: what the device computes in. */
  constructor(operation: string, activationTypes: readonly DType[]) {
    this.#operation = operation
    this.#activationTypes = activationTypes
  }

  fail(message: string): never {
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
    this.fail(`${name} must have ${count} dimensions but has shape ${formatShape(tensor.shape)}`)
  }

  shape(name: string, tensor: Tensor, expected: readonly number[]): void {
    const same =
      tensor.shape.length === expected.length &&
      tensor.shape.every((dimension, i) => dimension === expected[i])
    if (same) return
    this.fail(
      `${name} must have shape ${formatShape(expected)} but has shape ${formatShape(tensor.shape)}`,
    )
  }

  /** A tensor whose rows may not lie apart, of the expected shape. */
  output(name: string, tensor: Tensor, expected: readonly number[]): void {
    this.shape(name, tensor, expected)
    if (!tensor.isContiguous) this.fail(`${name} must be contiguous but is a view with rows apart`)
  }

  /** Rows and columns of a contiguous matrix. */
  matrix(name: string, tensor: Tensor): [rows: number, cols: number] {
    this.dimensions(name, tensor, 2)
    this.output(name, tensor, tensor.shape)
    return [tensor.shape[0]!, tensor.shape[1]!]
  }

  positive(name: string, value: number): void {
    if (Number.isSafeInteger(value) && value > 0 && value < 2 ** 32) return
    this.fail(`${name} must be a positive whole number but is ${value}`)
  }

  finite(name: string, value: number): void {
    if (Number.isFinite(value)) return
    this.fail(`${name} must be a finite number but is ${describe(value)}`)
  }

  /** A finite number that is not negative. */
  notNegative(name: string, value: number): void {
    if (Number.isFinite(value) && value >= 0) return
    this.fail(`${name} must be a finite number, at least 0, but is ${describe(value)}`)
  }

  /** Refuses options that do not exist: a misspelt one would be ignored. */
  options(options: object, known: readonly string[]): void {
    checkOptions(this.#operation, options, known)
  }

  oneOf(name: string, value: unknown, allowed: readonly string[]): void {
    if (allowed.some((known) => known === value)) return
    const expected = allowed.map((known) => JSON.stringify(known)).join(' or ')
    this.fail(`${name} must be ${expected} but is ${describe(value)}`)
  }

  divides(name: string, value: number, what: string, total: number): void {
    this.positive(name, value)
    if (total % value !== 0) this.fail(`${name} ${value} does not divide ${what}, ${total}`)
  }

  tokens(tokens: Tensor, out: Tensor, cols: number): void {
    this.type('tokens', tokens, ['uint32'])
    this.float32({ out })
    this.output('tokens', tokens, tokens.shape)
    this.output('out', out, [...tokens.shape, cols])
  }

  /** Where the state of each row is, and for most operations how far its sequence has come. */
  rows(tensors: { rows: Tensor; position?: Tensor }, batch: number): void {
    for (const name of ['position', 'rows'] as const) {
      const tensor = tensors[name]
      if (tensor) this.integers(name, tensor, [batch])
    }
  }

  integers(name: string, tensor: Tensor, shape: readonly number[]): void {
    this.type(name, tensor, ['uint32'])
    this.output(name, tensor, shape)
  }
}

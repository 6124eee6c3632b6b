// Finds the tensors of a checkpoint by name and checks each for shape and type; a store brings them
// to a device. Matrices stay where they are, in the mapped file, when the device can read them there;
// vectors are small and become float32.

import { throwIfAborted, type Signal } from '../support/abort.js'
import { CorruptFileError, UnsupportedOptionError } from '../support/errors.js'
import { formatShape, type Tensor } from '../operations/tensor.js'
import type { TensorEntry } from './checkpoint.js'
import { FLOAT_TYPES } from './float-types.js'
import type { Weight } from './formats/format.js'
import { isQuantized, kindOf, quantizedKind } from './formats/formats.js'
import {
  plannedFormat,
  quantizedFormat,
  type WeightSource,
  type WeightWishes,
} from './planned-format.js'
import { type RowRange, rowsOfEntry } from './stacked-rows.js'
import type { WeightStore } from './store.js'

/** A weight and its optional bias (outputs). */
export interface Linear {
  weight: Weight
  bias: Tensor | undefined
}

/** The matrices of so many experts, one after the other. */
interface Experts {
  experts: number
}

export interface LoaderOptions extends WeightWishes {
  signal?: Signal | undefined
  /** Called after each tensor with the bytes of the checkpoint dealt with so far. */
  onProgress?: ((loaded: number, total: number) => void) | undefined
}

/** Loads the tensors of one checkpoint by name, each checked for shape and type, and notes which were asked for. */
export class WeightLoader {
  readonly #checkpoint: WeightSource
  readonly #options: LoaderOptions
  readonly #store: WeightStore
  readonly #used = new Set<string>()
  readonly #total: number
  #loaded = 0
  #quantized = 0
  #weightBytes = 0

  constructor(checkpoint: WeightSource, options: LoaderOptions, store: WeightStore) {
    this.#checkpoint = checkpoint
    this.#options = options
    this.#store = store
    const sizes = [...checkpoint.tensors.values()].map((entry) => entry.byteLength)
    this.#total = sizes.reduce((sum, size) => sum + size, 0)
  }

  /** Bytes of all weights loaded so far, as the device holds them. */
  get weightBytes(): number {
    return this.#weightBytes
  }

  has(name: string): boolean {
    return this.#checkpoint.tensors.has(name)
  }

  /** A float32 vector (length), with `range` part of a longer one. */
  async vector(name: string, length: number, range?: RowRange): Promise<Tensor> {
    const entry = this.#rows(name, length, range)
    this.#expectShape(entry, [[length]])
    return this.#floats(entry, [length])
  }

  /** A float32 vector, every element mapped on the way. */
  async mappedVector(name: string, length: number, map: (x: number) => number): Promise<Tensor> {
    const entry = this.#entry(name)
    this.#expectShape(entry, [[length]])
    return this.#floats(entry, [length], map)
  }

  /** Depthwise convolution taps, float32 (channels, width); files also write (C, 1, K) and (C, K, 1). */
  async convolution(name: string, channels: number, width: number): Promise<Tensor> {
    const entry = this.#entry(name)
    const shapes = [
      [channels, 1, width],
      [channels, width],
      [channels, width, 1],
    ]
    this.#expectShape(entry, shapes)
    return this.#floats(entry, [channels, width])
  }

  /**
   * The matrix of a module (outputs, inputs), quantised when the checkpoint says so. With `range` it is part of a matrix
   * with more rows; it stays in the file as others do.
   */
  async weight(
    path: string,
    outputs: number,
    inputs: number,
    range?: RowRange | Experts,
  ): Promise<Weight> {
    const weight = isQuantized(this.#checkpoint.tensors, path)
      ? await this.#quantizedMatrix(path, outputs, inputs, range)
      : await this.#floatMatrix(path, outputs, inputs, range)
    this.#weightBytes += weight.byteSpan
    return weight
  }

  /** The matrix and, when `bias`, the bias of a linear module; with `range` part of both. */
  async linear(
    path: string,
    outputs: number,
    inputs: number,
    bias: boolean,
    range?: RowRange,
  ): Promise<Linear> {
    return {
      weight: await this.weight(path, outputs, inputs, range),
      bias: bias ? await this.vector(`${path}.bias`, outputs, range) : undefined,
    }
  }

  /**
   * The matrices of `experts` experts, (experts, outputs, inputs) in the file, one after the other: (experts * outputs,
   * inputs), for `Weight.multiplyExperts`.
   */
  async experts(path: string, experts: number, outputs: number, inputs: number): Promise<Weight> {
    return this.weight(path, experts * outputs, inputs, { experts })
  }

  /** Marks a tensor as accounted for without loading it. */
  ignore(name: string): void {
    this.#used.add(name)
  }

  /** Throws when the checkpoint holds tensors that the model did not ask for. */
  checkAllUsed(): void {
    // One without elements changes nothing that is computed.
    const extra = [...this.#checkpoint.tensors.values()]
      .filter(({ name, byteLength }) => byteLength > 0 && !this.#used.has(name))
      .map(({ name }) => name)
    if (extra.length > 0) {
      throw new CorruptFileError(
        `${this.#checkpoint.weightsFile}: ${extra.length} tensors that this model does not have: ` +
          `${extra.slice(0, 5).join(', ')}${extra.length > 5 ? ', ...' : ''}`,
      )
    }
    const { quantize } = this.#options
    if (quantize && this.#quantized === 0) {
      throw new UnsupportedOptionError(
        `[loadModel] quantize: no matrix of ${this.#checkpoint.weightsFile} has ` +
          quantizedKind(quantize).inputsInWords(quantize),
      )
    }
  }

  /** Ends the loading: weights have their values then. */
  async finish(): Promise<void> {
    await this.#store.finish()
  }

  #entry(name: string, part = (whole: TensorEntry) => whole): TensorEntry {
    throwIfAborted(this.#options.signal)
    const whole = this.#checkpoint.tensors.get(name)
    if (!whole) {
      throw new CorruptFileError(`${this.#checkpoint.weightsFile}: tensor ${name} is missing`)
    }
    const entry = part(whole)
    this.#used.add(name)
    this.#loaded += entry.byteLength
    this.#options.onProgress?.(this.#loaded, this.#total)
    return entry
  }

  #expectShape(entry: TensorEntry, allowed: readonly (readonly number[])[]): void {
    const same = (shape: readonly number[]) =>
      shape.length === entry.shape.length && shape.every((d, i) => d === entry.shape[i])
    if (allowed.some(same)) return
    throw new CorruptFileError(
      `${entry.file}: tensor ${entry.name} must have shape ` +
        `${allowed.map(formatShape).join(' or ')} but has shape ${formatShape(entry.shape)}`,
    )
  }

  #expectType(entry: TensorEntry, allowed: readonly string[]): void {
    if (allowed.includes(entry.dtype)) return
    throw new CorruptFileError(
      `${entry.file}: tensor ${entry.name} must be ${allowed.join(', ')} but is ${entry.dtype}`,
    )
  }

  // With `range`, so many rows of it.
  #rows(name: string, rows: number, range: RowRange | Experts | undefined): TensorEntry {
    if (!range) return this.#entry(name)
    if ('experts' in range) {
      const shape = this.#checkpoint.tensors.get(name)?.shape
      const outputs = rows / range.experts
      if (shape && (shape.length !== 3 || shape[0] !== range.experts || shape[1] !== outputs)) {
        throw new CorruptFileError(
          `${this.#checkpoint.weightsFile}: tensor ${name} must have ${outputs} rows for each of ` +
            `${range.experts} experts but has shape ${formatShape(shape)}`,
        )
      }
      return this.#entry(name, (entry) => {
        if (!entry.strides) return { ...entry, shape: [rows, entry.shape[2]!] }
        throw new CorruptFileError(`${entry.file}: the elements of tensor ${name} lie apart`)
      })
    }
    const whole = this.#checkpoint.tensors.get(name)
    if (whole && whole.shape[0] !== range.of) {
      throw new CorruptFileError(
        `${whole.file}: tensor ${name} must have ${range.of} rows but has shape ${formatShape(whole.shape)}`,
      )
    }
    return this.#entry(name, (entry) => rowsOfEntry(entry, range.first, rows))
  }

  async #floatMatrix(
    path: string,
    rows: number,
    cols: number,
    range: RowRange | Experts | undefined,
  ): Promise<Weight> {
    const entry = this.#rows(`${path}.weight`, rows, range)
    this.#expectShape(entry, [[rows, cols]])
    this.#expectType(entry, [...FLOAT_TYPES, 'float64'])
    const format = plannedFormat(this.#checkpoint, path, this.#options)!
    if (quantizedFormat(cols, 'float32', this.#options)) this.#quantized += 1
    const kind = kindOf(format)
    if (!kind.fromFloats) {
      throw new UnsupportedOptionError(
        `[loadModel] quantize: floats are not converted to ${kind.nameOf(format)}`,
      )
    }
    return kind.fromFloats(entry, format, this.#store)
  }

  async #quantizedMatrix(
    path: string,
    rows: number,
    cols: number,
    range: RowRange | Experts | undefined,
  ): Promise<Weight> {
    const { weightsFile, quantizationOf } = this.#checkpoint
    const quantization = quantizationOf(path)
    if (!quantization) {
      throw new CorruptFileError(
        `${weightsFile}: ${path}.scales is there but the configuration does not quantise ${path}`,
      )
    }
    const kind = quantizedKind(quantization)
    if (this.#options.quantize) {
      throw new UnsupportedOptionError(
        `[loadModel] quantize: ${weightsFile} is quantised already (${kind.bitsInWords(quantization)})`,
      )
    }
    const files = {
      ...{ rows, cols, store: this.#store },
      fail: (problem: string): never => {
        throw new CorruptFileError(`${weightsFile}: ${path} ${problem}`)
      },
      part: (name: string) => this.#rows(`${path}.${name}`, rows, range),
      expectType: (entry: TensorEntry, types: readonly string[]) => this.#expectType(entry, types),
      expectShape: (entry: TensorEntry, shape: readonly number[]) =>
        this.#expectShape(entry, [shape]),
    }
    return kind.load(files, quantization)
  }

  // Of its own memory, to be had after finish().
  async #floats(
    entry: TensorEntry,
    shape: readonly number[],
    map?: (x: number) => number,
  ): Promise<Tensor> {
    this.#expectType(entry, [...FLOAT_TYPES, 'float64'])
    const vector = await this.#store.floats(entry, shape, map)
    this.#weightBytes += vector.byteSpan
    return vector
  }
}

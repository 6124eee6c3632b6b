// Finds the tensors of a checkpoint by name and checks each for shape and type; a store brings them
// to a device. Matrices stay where they are, in the mapped file, when the device can read them there;
// vectors are small and become float32.

import { throwIfAborted, type Signal } from '../support/abort.js'
import { CorruptFileError, UnsupportedOptionError } from '../support/errors.js'
import type { Checkpoint } from '../models/checkpoint.js'
import type { AffineMatrix } from '../operations/arguments.js'
import { formatShape, type Tensor } from '../operations/tensor.js'
import type { TensorEntry } from './checkpoint.js'
import type { WeightStore } from './store.js'
import {
  FLOAT_TYPES,
  floatTypeOf,
  plannedFormat,
  type WeightFormat,
  type WeightWishes,
} from './formats/formats.js'

/** A matrix (outputs, inputs) that multiplies activations or is looked up row by row. */
export type Weight = { kind: 'plain'; matrix: Tensor } | { kind: 'affine'; matrix: AffineMatrix }

/** A weight and its optional bias (outputs). */
export interface Linear {
  weight: Weight
  bias: Tensor | undefined
}

export interface LoaderOptions extends WeightWishes {
  signal?: Signal | undefined
  /** Called after each tensor with the bytes of the checkpoint dealt with so far. */
  onProgress?: ((loaded: number, total: number) => void) | undefined
}

/** Loads the tensors of one checkpoint by name, each checked for shape and type, and notes which were asked for. */
export class WeightLoader {
  readonly #checkpoint: Checkpoint
  readonly #options: LoaderOptions
  readonly #store: WeightStore
  readonly #used = new Set<string>()
  readonly #total: number
  #loaded = 0
  #quantized = 0
  #weightBytes = 0

  constructor(checkpoint: Checkpoint, options: LoaderOptions, store: WeightStore) {
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

  /** A float32 vector (length). */
  async vector(name: string, length: number): Promise<Tensor> {
    const entry = this.#entry(name)
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

  /** The matrix of a module (outputs, inputs), quantised when the checkpoint says so. */
  async weight(path: string, outputs: number, inputs: number): Promise<Weight> {
    if (this.has(`${path}.scales`)) return this.#affine(path, outputs, inputs)
    const entry = this.#entry(`${path}.weight`)
    this.#expectShape(entry, [[outputs, inputs]])
    this.#expectType(entry, [...FLOAT_TYPES, 'float64'])
    return this.#plain(entry, plannedFormat(this.#checkpoint, path, this.#options)!)
  }

  /** The matrix and, when `bias`, the bias of a linear module. */
  async linear(path: string, outputs: number, inputs: number, bias: boolean): Promise<Linear> {
    return {
      weight: await this.weight(path, outputs, inputs),
      bias: bias ? await this.vector(`${path}.bias`, outputs) : undefined,
    }
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
    if (this.#options.quantize && this.#quantized === 0) {
      throw new UnsupportedOptionError(
        `[loadModel] quantize: no matrix of ${this.#checkpoint.weightsFile} has inputs that ` +
          `groupSize ${this.#options.quantize.groupSize} divides`,
      )
    }
  }

  /** Ends the loading: weights have their values then. */
  async finish(): Promise<void> {
    await this.#store.finish()
  }

  #entry(name: string): TensorEntry {
    throwIfAborted(this.#options.signal)
    const entry = this.#checkpoint.tensors.get(name)
    if (!entry) {
      throw new CorruptFileError(`${this.#checkpoint.weightsFile}: tensor ${name} is missing`)
    }
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

  async #plain(entry: TensorEntry, format: WeightFormat): Promise<Weight> {
    if (format.kind === 'affine') {
      this.#quantized += 1
      return this.#affineWeight(await this.#store.quantize(entry, format))
    }
    const isStored = format.type === floatTypeOf(entry.dtype)
    const matrix = isStored
      ? await this.#store.asStored(entry)
      : await this.#store.cast(entry, format.type)
    this.#weightBytes += matrix.byteSpan
    return { kind: 'plain', matrix }
  }

  async #affine(path: string, rows: number, cols: number): Promise<Weight> {
    const { weightsFile, quantizationOf } = this.#checkpoint
    const quantization = quantizationOf(path)
    if (!quantization) {
      throw new CorruptFileError(
        `${weightsFile}: ${path}.scales is there but the configuration does not quantise ${path}`,
      )
    }
    if (this.#options.quantize) {
      throw new UnsupportedOptionError(
        `[loadModel] quantize: ${weightsFile} is quantised already (${quantization.bits} bits)`,
      )
    }
    const { bits, groupSize } = quantization
    if (cols % groupSize !== 0) {
      throw new CorruptFileError(
        `${weightsFile}: ${path} has ${cols} inputs, which group size ${groupSize} does not divide`,
      )
    }
    const words = this.#entry(`${path}.weight`)
    const scales = this.#entry(`${path}.scales`)
    const biases = this.#entry(`${path}.biases`)
    this.#expectType(words, ['uint32'])
    this.#expectType(scales, FLOAT_TYPES)
    this.#expectType(biases, [scales.dtype])
    this.#expectShape(words, [[rows, (cols * bits) / 32]])
    this.#expectShape(scales, [[rows, cols / groupSize]])
    this.#expectShape(biases, [scales.shape])
    return this.#affineWeight({
      words: await this.#store.asStored(words),
      scales: await this.#store.asStored(scales),
      biases: await this.#store.asStored(biases),
      bits,
      groupSize,
    })
  }

  #affineWeight(matrix: AffineMatrix): Weight {
    this.#weightBytes += matrix.words.byteSpan + 2 * matrix.scales.byteSpan
    return { kind: 'affine', matrix }
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

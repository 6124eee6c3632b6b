// Finds the tensors of a checkpoint by name and checks each for shape and type; a store brings them
// to a device. Matrices stay where they are, in the mapped file, when the device can read them there;
// vectors are small and become float32.

import { throwIfAborted, type Signal } from '../support/abort.js'
import { CorruptFileError, UnsupportedOptionError } from '../support/errors.js'
import { formatShape, type Tensor } from '../operations/tensor.js'
import { rowsOf, type TensorEntry } from './checkpoint.js'
import { FLOAT_TYPES } from './float-types.js'
import type { Weight } from './formats/format.js'
import { isQuantized, kindOf, quantizedKind } from './formats/formats.js'
import {
  matrixName,
  plannedFormat,
  quantizedFormat,
  type WeightSource,
  type WeightWishes,
} from './planned-format.js'
import type { WeightStore } from './store.js'

/** A weight, and what its products with x go through: scale * (x · weightᵀ) + bias, each (outputs). */
export interface Linear {
  weight: Weight
  scale?: Tensor | undefined
  bias: Tensor | undefined
}

/** Some of the rows of a matrix in a file. */
export interface RowRange {
  first: number
  count: number
  /** Rows of the whole matrix. */
  of: number
  /** The file has it as a matrix for each of so many experts. */
  experts?: number
}

/** A factor for all outputs of a matrix, or one for each run of them. */
export type Factor = number | readonly { rows: number; factor: number }[]

/** What a model multiplies the outputs of a matrix by, and its bias, which may be a different number. */
export interface Multiplier {
  weight: Factor
  bias: Factor
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
  /** Those that several layers share are loaded once. */
  readonly #weights = new Map<string, Weight>()
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

  /** A float32 vector (length), `offset` added to each element. */
  async vector(name: string, length: number, offset = 0): Promise<Tensor> {
    if (offset !== 0) return await this.mappedVector(name, length, (x) => x + offset)
    const entry = this.#entry(name)
    this.#expectShape(entry, [[length]])
    return this.#floats(entry, [length])
  }

  /** A float32 vector (times * length): one of so many elements, over and over. */
  async repeatedVector(name: string, length: number, times: number): Promise<Tensor> {
    const entry = this.#entry(name)
    this.#expectShape(entry, [[length]])
    const strides = [0, entry.strides?.[0] ?? 1]
    return this.#floats({ ...entry, shape: [times, length], strides }, [times * length])
  }

  /** A float32 vector, every element mapped on the way. */
  async mappedVector(name: string, length: number, map: (x: number) => number): Promise<Tensor> {
    const entry = this.#entry(name)
    this.#expectShape(entry, [[length]])
    return this.#floats(entry, [length], map)
  }

  /** A float32 vector (length) of zeros to which vectors of the file are added, each from `first` on. */
  async sumOfVectors(
    length: number,
    parts: readonly { name: string; first: number; length: number }[],
  ): Promise<Tensor> {
    const sum = new Float32Array(length)
    for (const part of parts) {
      const entry = this.#entry(part.name)
      this.#expectShape(entry, [[part.length]])
      this.#expectType(entry, [...FLOAT_TYPES, 'float64'])
      const numbers = await this.#store.numbers(entry)
      for (const [i, number] of numbers.entries()) sum[part.first + i]! += number
    }
    return this.constant(sum)
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

  /** The matrix of a module (outputs, inputs), or rows of it, quantised when the checkpoint says so. */
  async weight(path: string, outputs: number | RowRange, inputs: number): Promise<Weight> {
    const { first, count } = rangeOf(outputs)
    const key = `${path} ${first} ${count}`
    const known = this.#weights.get(key)
    if (known) return known
    const weight = isQuantized(this.#checkpoint.tensors, path)
      ? await this.#quantizedMatrix(path, outputs, inputs)
      : await this.#floatMatrix(path, outputs, inputs)
    this.#weights.set(key, weight)
    this.#weightBytes += weight.byteSpan
    return weight
  }

  /** The matrix and, when `bias`, the bias of a linear module; or rows of them. */
  async linear(
    path: string,
    outputs: number | RowRange,
    inputs: number,
    bias: boolean,
    multiplier: Multiplier = NO_MULTIPLIER,
  ): Promise<Linear> {
    const { count } = rangeOf(outputs)
    return {
      ...this.scaled(await this.weight(path, outputs, inputs), count, multiplier.weight),
      bias: bias ? await this.#bias(`${path}.bias`, outputs, multiplier.bias) : undefined,
    }
  }

  /** A weight that is there, such as an embedding that is the head as well. */
  scaled(weight: Weight, outputs: number, factor: Factor): Linear {
    const scale = isOne(factor) ? undefined : this.constant(factors(factor, outputs))
    return { weight, scale, bias: undefined }
  }

  async #bias(name: string, outputs: number | RowRange, factor: Factor): Promise<Tensor> {
    const range = rangeOf(outputs)
    const entry = this.#entry(name)
    this.#expectShape(entry, [[range.of]])
    const rows = rowsOf(entry, range)
    if (isOne(factor)) return this.#floats(rows, [range.count])
    const each = factors(factor, range.count)
    return this.#floats(rows, [range.count], (x, i) => x * each[i]!)
  }

  /** Numbers that come from the configuration, as a float32 vector. */
  constant(values: Float32Array): Tensor {
    const tensor = this.#store.constant(values)
    this.#weightBytes += tensor.byteSpan
    return tensor
  }

  /**
   * Matrices of experts, one after the other, for `Weight.multiplyExperts`: (experts * rows - first, inputs), from row
   * `first` of the first expert on. A file has them as (experts, rows, inputs), or one by one under a path that says `*`
   * for the number of each.
   */
  async experts(
    path: string,
    { experts, rows, first = 0 }: { experts: number; rows: number; first?: number },
    inputs: number,
  ): Promise<Weight> {
    const of = experts * rows
    const all = path.includes('*')
      ? await this.#stacked(path, { experts, rows }, inputs)
      : await this.weight(path, { first: 0, count: of, of, experts }, inputs)
    return first === 0 ? all : all.rowsFrom(first)
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

  #entry(name: string): TensorEntry {
    throwIfAborted(this.#options.signal)
    const entry = this.#checkpoint.tensors.get(name)
    if (!entry) {
      throw new CorruptFileError(`${this.#checkpoint.weightsFile}: tensor ${name} is missing`)
    }
    // Rows of one may be asked for more than once.
    if (!this.#used.has(name)) this.#loaded += entry.byteLength
    this.#used.add(name)
    this.#options.onProgress?.(this.#loaded, this.#total)
    return entry
  }

  // Matrices of experts as one.
  #flat(name: string, { of, experts }: RowRange): TensorEntry {
    const entry = this.#entry(name)
    if (experts === undefined) return entry
    const { shape, strides, file } = entry
    if (shape.length !== 3 || shape[0] !== experts || shape[1] !== of / experts) {
      throw new CorruptFileError(
        `${file}: tensor ${name} must have ${of / experts} rows for each of ${experts} experts ` +
          `but has shape ${formatShape(shape)}`,
      )
    }
    if (strides) throw new CorruptFileError(`${file}: the elements of tensor ${name} lie apart`)
    return { ...entry, shape: [of, shape[2]!] }
  }

  // A part of a matrix, of which the shape is still to be checked: a file may have another number of rows.
  #rows(name: string, range: RowRange): TensorEntry {
    const whole = this.#flat(name, range)
    if (range.count === range.of) return whole
    this.#expectShape(whole, [[range.of, ...whole.shape.slice(1)]])
    return rowsOf(whole, range)
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

  // Matrices that lie apart, as the rows of one.
  async #stacked(
    path: string,
    { experts, rows }: { experts: number; rows: number },
    cols: number,
  ): Promise<Weight> {
    const pieces: TensorEntry[] = []
    for (let expert = 0; expert < experts; expert++) {
      const piece = this.#entry(`${path.replace('*', String(expert))}.weight`)
      this.#expectShape(piece, [[rows, cols]])
      if (expert > 0) this.#expectType(piece, [pieces[0]!.dtype])
      pieces.push(piece)
    }
    const byteLength = pieces.reduce((sum, piece) => sum + piece.byteLength, 0)
    const { dtype, file } = pieces[0]!
    const shape = [experts * rows, cols]
    const entry = { name: `${path}.weight`, dtype, file, shape, byteOffset: 0, byteLength, pieces }
    const weight = await this.#fromFloats(path.replace('*', '0'), entry)
    this.#weightBytes += weight.byteSpan
    return weight
  }

  async #floatMatrix(path: string, outputs: number | RowRange, cols: number): Promise<Weight> {
    const range = rangeOf(outputs)
    const whole = this.#flat(matrixName(this.#checkpoint.tensors, path), range)
    this.#expectShape(whole, [[range.of, cols]])
    return this.#fromFloats(path, rowsOf(whole, range))
  }

  // The matrix of a module, of which `entry` is all or a part.
  async #fromFloats(path: string, entry: TensorEntry): Promise<Weight> {
    const cols = entry.shape.at(-1)!
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

  async #quantizedMatrix(path: string, outputs: number | RowRange, cols: number): Promise<Weight> {
    const range = rangeOf(outputs)
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
      ...{ rows: range.count, cols, store: this.#store },
      fail: (problem: string): never => {
        throw new CorruptFileError(`${weightsFile}: ${path} ${problem}`)
      },
      part: (name: string) => this.#rows(`${path}.${name}`, range),
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
    map?: (x: number, index: number) => number,
  ): Promise<Tensor> {
    this.#expectType(entry, [...FLOAT_TYPES, 'float64'])
    const vector = await this.#store.floats(entry, shape, map)
    this.#weightBytes += vector.byteSpan
    return vector
  }
}

const NO_MULTIPLIER: Multiplier = { weight: 1, bias: 1 }

const rangeOf = (outputs: number | RowRange): RowRange =>
  typeof outputs === 'number' ? { first: 0, count: outputs, of: outputs } : outputs

const isOne = (factor: Factor): boolean =>
  typeof factor === 'number' ? factor === 1 : factor.every((run) => run.factor === 1)

function factors(factor: Factor, count: number): Float32Array {
  if (typeof factor === 'number') return new Float32Array(count).fill(factor)
  const values = new Float32Array(count)
  let begin = 0
  for (const run of factor) {
    values.fill(run.factor, begin, begin + run.rows)
    begin += run.rows
  }
  if (begin !== count) throw new RangeError(`factors for ${begin} rows, expected ${count}`)
  return values
}

// Brings the tensors of a checkpoint to a device. Matrices stay where they are, in the mapped file,
// when the device can read them there; vectors are small and become float32.

import { type FileHandle, open } from 'node:fs/promises'
import type { Device } from '../device.js'
import { CorruptFileError, UnsupportedOptionError } from '../errors.js'
import type { Checkpoint } from '../models/checkpoint.js'
import type { AffineMatrix } from '../recorder.js'
import { bytesPerElement, type DType, formatShape, Memory, Tensor } from '../tensor.js'
import type { TensorEntry } from './checkpoint.js'
import { bytesToFloat32, rowMajor } from './convert.js'
import {
  type AffineFormat,
  FLOAT_TYPES,
  plannedFormat,
  type WeightFormat,
  type WeightWishes,
} from './weight-format.js'

/** A matrix (outputs, inputs) that multiplies activations or is looked up row by row. */
export type Weight = { kind: 'plain'; matrix: Tensor } | { kind: 'affine'; matrix: AffineMatrix }

/** A weight and its optional bias (outputs). */
export interface Linear {
  weight: Weight
  bias: Tensor | undefined
}

export interface LoaderOptions extends WeightWishes {
  signal?: AbortSignal | undefined
  /** Called after each tensor with the bytes of the checkpoint dealt with so far. */
  onProgress?: ((loaded: number, total: number) => void) | undefined
}

/** Loads the tensors of one checkpoint by name, each checked for shape and type, and notes which were asked for. */
export class WeightLoader {
  readonly #device: Device
  readonly #checkpoint: Checkpoint
  readonly #options: LoaderOptions
  readonly #files = new Map<string, FileHandle>()
  readonly #mapped = new Map<string, Memory>()
  readonly #used = new Set<string>()
  /** Vectors in mapped files, and the float32 tensors that finish() turns them into. */
  readonly #casts: [mapped: Tensor, vector: Tensor][] = []
  readonly #total: number
  #loaded = 0
  #quantized = 0
  #weightBytes = 0
  /** Everything to free with the model. */
  readonly owned: Memory[] = []

  constructor(device: Device, checkpoint: Checkpoint, options: LoaderOptions) {
    this.#device = device
    this.#checkpoint = checkpoint
    this.#options = options
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
    return this.#floatTensor(entry, [length])
  }

  /** A float32 vector, every element mapped on the way. */
  async mappedVector(name: string, length: number, map: (x: number) => number): Promise<Tensor> {
    const entry = this.#entry(name)
    this.#expectShape(entry, [[length]])
    return this.#upload([length], (await this.#floats(entry)).map(map))
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
    return this.#floatTensor(entry, [channels, width])
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
    const extra = [...this.#checkpoint.tensors.keys()].filter((name) => !this.#used.has(name))
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

  /**
   * Fills the vectors that wait for it: all at once, because a read for each takes longer than the
   * rest of the loading.
   */
  async finish(): Promise<void> {
    if (this.#casts.length === 0) return
    await this.#run((cl) => {
      for (const [mapped, vector] of this.#casts) cl.cast(mapped, vector)
    })
  }

  /** Closes files. */
  async close(): Promise<void> {
    await Promise.all([...this.#files.values()].map((file) => file.close()))
  }

  #entry(name: string): TensorEntry {
    this.#options.signal?.throwIfAborted()
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
    const mapped =
      entry.dtype === 'float64'
        ? await this.#copy(entry, entry.shape)
        : await this.#mapOrCopy(entry, entry.dtype as DType)
    if (format.kind === 'affine') {
      return { kind: 'affine', matrix: await this.#quantize(mapped, format) }
    }
    const matrix = format.type === mapped.dtype ? mapped : await this.#cast(mapped, format.type)
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
    const matrix = {
      words: await this.#mapOrCopy(words, 'uint32'),
      scales: await this.#mapOrCopy(scales, scales.dtype as DType),
      biases: await this.#mapOrCopy(biases, biases.dtype as DType),
      bits,
      groupSize,
    }
    this.#weightBytes += matrix.words.byteSpan + 2 * matrix.scales.byteSpan
    return { kind: 'affine', matrix }
  }

  async #quantize(matrix: Tensor, { bits, groupSize, scaleType }: AffineFormat) {
    const [rows, cols] = matrix.shape as [number, number]
    const quantized: AffineMatrix = {
      words: this.#allocate('uint32', [rows, (cols * bits) / 32]),
      scales: this.#allocate(scaleType, [rows, cols / groupSize]),
      biases: this.#allocate(scaleType, [rows, cols / groupSize]),
      bits,
      groupSize,
    }
    await this.#run((cl) => cl.affineQuantize(matrix, quantized))
    this.#release(matrix)
    this.#quantized += 1
    this.#weightBytes += quantized.words.byteSpan + 2 * quantized.scales.byteSpan
    return quantized
  }

  async #cast(matrix: Tensor, dtype: DType): Promise<Tensor> {
    const result = this.#allocate(dtype, matrix.shape)
    await this.#run((cl) => cl.cast(matrix, result))
    this.#release(matrix)
    return result
  }

  async #run(record: Parameters<Device['record']>[0]): Promise<void> {
    using list = this.#device.record(record)
    await list.run({ signal: this.#options.signal })
  }

  // A type that the device computes with, in one piece, at an address that is a multiple of the
  // element's size (safetensors promises 8 bytes, in practice anything).
  #isMappable(entry: TensorEntry): boolean {
    return (
      [...FLOAT_TYPES, 'uint32'].includes(entry.dtype) &&
      !entry.strides &&
      entry.byteOffset % bytesPerElement(entry.dtype as DType) === 0
    )
  }

  #map(entry: TensorEntry, dtype: DType, shape: readonly number[]): Tensor {
    let memory = this.#mapped.get(entry.file)
    if (!memory) {
      memory = Memory.mapFile(entry.file)
      this.#mapped.set(entry.file, memory)
      this.owned.push(memory)
    }
    return new Tensor(memory, dtype, shape, entry.byteOffset)
  }

  async #mapOrCopy(entry: TensorEntry, dtype: DType): Promise<Tensor> {
    if (this.#isMappable(entry)) return this.#map(entry, dtype, entry.shape)
    const bytes = rowMajor(entry, await this.#read(entry))
    const tensor = this.#allocate(dtype, entry.shape)
    tensor.write(bytesPerElement(dtype) === 2 ? new Uint16Array(bytes) : dataOf(dtype, bytes))
    return tensor
  }

  // As float32, whatever the file has.
  async #copy(entry: TensorEntry, shape: readonly number[]): Promise<Tensor> {
    const tensor = this.#allocate('float32', shape)
    tensor.write(await this.#floats(entry))
    return tensor
  }

  // Of its own memory, to be had after finish().
  async #floatTensor(entry: TensorEntry, shape: readonly number[]): Promise<Tensor> {
    this.#expectType(entry, [...FLOAT_TYPES, 'float64'])
    if (entry.dtype === 'float64' || !this.#isMappable(entry)) {
      return this.#upload(shape, await this.#floats(entry))
    }
    const vector = this.#allocate('float32', shape)
    this.#casts.push([this.#map(entry, entry.dtype as DType, shape), vector])
    this.#weightBytes += vector.byteSpan
    return vector
  }

  async #floats(entry: TensorEntry): Promise<Float32Array> {
    this.#expectType(entry, [...FLOAT_TYPES, 'float64'])
    return bytesToFloat32(entry.dtype, rowMajor(entry, await this.#read(entry)))
  }

  async #read(entry: TensorEntry): Promise<ArrayBuffer> {
    let file = this.#files.get(entry.file)
    if (!file) {
      file = await open(entry.file)
      this.#files.set(entry.file, file)
    }
    const bytes = new Uint8Array(entry.byteLength)
    // One read returns at most 2 GiB.
    for (let done = 0; done < bytes.length; ) {
      const rest = Math.min(bytes.length - done, 2 ** 30)
      const { bytesRead } = await file.read(bytes, done, rest, entry.byteOffset + done)
      if (bytesRead === 0) {
        throw new CorruptFileError(`${entry.file}: ended inside tensor ${entry.name}`)
      }
      done += bytesRead
    }
    return bytes.buffer
  }

  #upload(shape: readonly number[], data: Float32Array): Tensor {
    const tensor = this.#allocate('float32', shape)
    tensor.write(data)
    this.#weightBytes += tensor.byteSpan
    return tensor
  }

  #allocate(dtype: DType, shape: readonly number[]): Tensor {
    const tensor = this.#device.tensor(dtype, shape)
    this.owned.push(tensor.memory)
    return tensor
  }

  // Frees a copy that was only a step on the way. A mapped file stays for the other tensors in it.
  #release(tensor: Tensor): void {
    if (tensor.memory.isMappedFile) return
    this.owned.splice(this.owned.indexOf(tensor.memory), 1)
    tensor.dispose()
  }
}

function dataOf(dtype: DType, bytes: ArrayBuffer) {
  return dtype === 'uint32' ? new Uint32Array(bytes) : new Float32Array(bytes)
}

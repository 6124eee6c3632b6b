// What a loader does with tensors that it has checked: brings them to a device. lib/memory has a
// store that only counts.

import type { Signal } from '../support/abort.js'
import { type FileHandle, open } from 'node:fs/promises'
import type { Device } from '../operations/device.js'
import { CorruptFileError } from '../support/errors.js'
import type { Recorder } from '../operations/recorder.js'
import {
  bytesPerElement,
  type DType,
  MAPPING_ALIGNMENT,
  Memory,
  Tensor,
} from '../operations/tensor.js'
import type { TensorEntry } from './checkpoint.js'
import { bytesToFloat32, rowMajor } from './convert.js'
import { FLOAT_TYPES } from './float-types.js'

/** A tensor that is to be made. */
export interface TensorSpec {
  dtype: DType
  shape: readonly number[]
}

/** Records what makes a float matrix of a file into other tensors. */
export type RecordConversion<Part extends string> = (
  cl: Recorder,
  source: Tensor,
  results: Record<Part, Tensor>,
) => void

/** Where tensors of checked shapes and types go. */
export interface WeightStore {
  /** Everything to free with the model. */
  readonly owned: readonly Memory[]
  /** A tensor as the file has it; float64 becomes float32. */
  asStored(entry: TensorEntry): Promise<Tensor>
  /** What a float matrix is converted into. */
  convert<Part extends string>(
    entry: TensorEntry,
    results: Readonly<Record<Part, TensorSpec>>,
    record: RecordConversion<Part>,
  ): Promise<Record<Part, Tensor>>
  /** Floats of any type as a float32 tensor, every element mapped on the way. To be had after `finish`. */
  floats(
    entry: TensorEntry,
    shape: readonly number[],
    map?: (x: number, index: number) => number,
  ): Promise<Tensor>
  /** Floats of any type as numbers of JavaScript, to make a constant of. */
  numbers(entry: TensorEntry): Promise<Float32Array>
  /** Numbers that come from the configuration, as a vector. */
  constant(values: Float32Array): Tensor
  /** Does what was put off. */
  finish(): Promise<void>
  /** Closes files. */
  close(): Promise<void>
}

/**
 * Whether a device can read the tensor where it lies: of a type that it computes with, in one piece, at
 * an address that is a multiple of the element's size (safetensors promises 8 bytes, in practice anything).
 */
export function isMappable(entry: TensorEntry): boolean {
  return (
    [...FLOAT_TYPES, 'uint32', 'uint8'].includes(entry.dtype) &&
    !entry.strides &&
    !entry.pieces &&
    entry.byteOffset % bytesPerElement(entry.dtype as DType) === 0
  )
}

/** The element type that a tensor of a file has in memory. */
export function storedType(entry: TensorEntry): DType {
  return entry.dtype === 'float64' ? 'float32' : (entry.dtype as DType)
}

/** The most bytes that one tensor in the same file has, of those that can be mapped. */
export function largestPart(tensors: ReadonlyMap<string, TensorEntry>, file: string): number {
  let largest = 0
  for (const entry of tensors.values()) {
    if (entry.file === file && isMappable(entry)) largest = Math.max(largest, entry.byteLength)
  }
  return largest
}

/**
 * Brings tensors to a device. What stays as it is stays in the file, which is mapped whole; what is
 * converted is mapped alone, and no longer than it takes, so that a large file whose weights are
 * quantised on the way never has to fit.
 */
export class DeviceStore implements WeightStore {
  readonly owned: Memory[] = []
  readonly #device: Device
  readonly #tensors: ReadonlyMap<string, TensorEntry>
  readonly #signal: Signal | undefined
  readonly #files = new Map<string, FileHandle>()
  readonly #mapped = new Map<string, Memory>()
  /** Vectors in files, and the float32 tensors that `finish` turns them into. */
  readonly #casts: [entry: TensorEntry, vector: Tensor][] = []

  constructor(
    device: Device,
    tensors: ReadonlyMap<string, TensorEntry>,
    signal: Signal | undefined,
  ) {
    this.#device = device
    this.#tensors = tensors
    this.#signal = signal
  }

  async asStored(entry: TensorEntry): Promise<Tensor> {
    if (!isMappable(entry)) return this.#keep(await this.#copy(entry))
    let memory = this.#mapped.get(entry.file)
    if (!memory) {
      memory = Memory.mapFile(entry.file, { largestPart: largestPart(this.#tensors, entry.file) })
      this.#mapped.set(entry.file, memory)
      this.owned.push(memory)
    }
    return new Tensor(memory, entry.dtype as DType, entry.shape, entry.byteOffset)
  }

  async convert<Part extends string>(
    entry: TensorEntry,
    specs: Readonly<Record<Part, TensorSpec>>,
    record: RecordConversion<Part>,
  ): Promise<Record<Part, Tensor>> {
    const results = tensorsOf(specs, ({ dtype, shape }) =>
      this.#keep(this.#device.tensor(dtype, shape)),
    )
    const source = await this.#borrow(entry)
    try {
      await this.#run((cl) => record(cl, source, results))
    } finally {
      source.dispose()
    }
    return results
  }

  async floats(
    entry: TensorEntry,
    shape: readonly number[],
    map?: (x: number, index: number) => number,
  ): Promise<Tensor> {
    const vector = this.#keep(this.#device.tensor('float32', shape))
    if (!map && isMappable(entry)) {
      this.#casts.push([entry, vector])
      return vector
    }
    const numbers = await this.numbers(entry)
    vector.write(map ? numbers.map(map) : numbers)
    return vector
  }

  async numbers(entry: TensorEntry): Promise<Float32Array> {
    return bytesToFloat32(entry.dtype, rowMajor(entry, await this.#read(entry)))
  }

  constant(values: Float32Array): Tensor {
    return this.#keep(this.#device.tensor('float32', [values.length], values))
  }

  /** Fills the vectors all at once, because a read for each takes longer than the rest of the loading. */
  async finish(): Promise<void> {
    if (this.#casts.length === 0) return
    const alone: Memory[] = []
    try {
      const sources = this.#casts.map(([entry, { shape }]) => {
        const whole = this.#mapped.get(entry.file)
        const dtype = entry.dtype as DType
        if (whole) return new Tensor(whole, dtype, shape, entry.byteOffset)
        const part = mapAlone(entry, shape)
        alone.push(part.memory)
        return part
      })
      await this.#run((cl) => {
        for (const [i, [, vector]] of this.#casts.entries()) cl.cast(sources[i]!, vector)
      })
    } finally {
      for (const memory of alone) memory.dispose()
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#files.values()].map((file) => file.close()))
  }

  // The tensor until it is disposed of.
  async #borrow(entry: TensorEntry): Promise<Tensor> {
    return isMappable(entry) ? mapAlone(entry, entry.shape) : this.#copy(entry)
  }

  // One piece after the other, so that no more than one is here twice.
  async #copy(entry: TensorEntry): Promise<Tensor> {
    const tensor = this.#device.tensor(storedType(entry), entry.shape)
    let row = 0
    for (const piece of entry.pieces ?? [entry]) {
      await this.#copyInto(entry.pieces ? tensor.rowsFrom(row) : tensor, piece)
      row += piece.shape[0] ?? 0
    }
    return tensor
  }

  async #copyInto(tensor: Tensor, entry: TensorEntry): Promise<void> {
    const bytes = rowMajor(entry, await this.#read(entry))
    const { dtype } = tensor
    if (dtype === 'uint32') tensor.write(new Uint32Array(bytes))
    else if (dtype === 'uint8') tensor.write(new Uint8Array(bytes))
    else if (bytesPerElement(dtype) === 2) tensor.write(new Uint16Array(bytes))
    else tensor.write(bytesToFloat32(entry.dtype, bytes))
  }

  #keep(tensor: Tensor): Tensor {
    this.owned.push(tensor.memory)
    return tensor
  }

  async #run(record: Parameters<Device['record']>[0]): Promise<void> {
    using list = this.#device.record(record)
    await list.run({ signal: this.#signal })
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
}

/** The mapping of one tensor alone: where it begins in the file, and bytes to the tensor's end. */
export function extentAlone({ byteOffset, byteLength }: TensorEntry) {
  const begin = Math.floor(byteOffset / MAPPING_ALIGNMENT) * MAPPING_ALIGNMENT
  return { begin, bytes: byteOffset - begin + byteLength, largestPart: byteLength }
}

function mapAlone(entry: TensorEntry, shape: readonly number[]): Tensor {
  const extent = extentAlone(entry)
  const memory = Memory.mapFile(entry.file, extent)
  return new Tensor(memory, entry.dtype as DType, shape, entry.byteOffset - extent.begin)
}

/** A tensor for each of these. */
export function tensorsOf<Part extends string>(
  specs: Readonly<Record<Part, TensorSpec>>,
  make: (spec: TensorSpec) => Tensor,
): Record<Part, Tensor> {
  const entries = Object.entries<TensorSpec>(specs).map(([part, spec]) => [part, make(spec)])
  return Object.fromEntries(entries) as Record<Part, Tensor>
}

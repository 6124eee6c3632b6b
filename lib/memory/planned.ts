// A device on which nothing is allocated: the code of a model runs on it as on a real one, and what
// it asks for is counted.

import { statSync } from 'node:fs'
import { addon } from '../operations/addon.js'
import { Device } from '../operations/device.js'
import { InsufficientMemoryError } from '../support/errors.js'
import {
  bytesPerElement,
  checkShape,
  type DType,
  elementCount,
  formatShape,
  Memory,
  Tensor,
} from '../operations/tensor.js'
import type { TensorEntry } from '../weights/checkpoint.js'
import {
  extentAlone,
  isMappable,
  largestPart,
  storedType,
  type TensorSpec,
  tensorsOf,
  type WeightStore,
} from '../weights/store.js'

/** Stands for a device, which must live as long. Lists are recorded but cannot be run. */
export class PlannedDevice extends Device {
  /** Bytes that the tensors made so far need on the device, in whole pages. */
  bytes = 0
  readonly #largestBuffer: number

  constructor(device: Device) {
    super(device.name, device.handle, device.tuningSource)
    this.#largestBuffer = device.memory?.largestBuffer ?? Number.POSITIVE_INFINITY
  }

  override tensor(dtype: DType, shape: readonly number[]): Tensor {
    checkShape('tensor', shape)
    const bytes = elementCount(shape) * bytesPerElement(dtype)
    this.checkSize(`a tensor of shape ${formatShape(shape)}`, bytes)
    const memory = Memory.plan(bytes)
    this.bytes += this.footprint(memory)
    return new Tensor(memory, dtype, shape)
  }

  /** Bytes that the device needs for a memory. */
  footprint(memory: Memory): number {
    return addon().memoryFootprint(this.handle, memory.handle)
  }

  /** Throws when an operation cannot use so much in one piece. */
  checkSize(what: string, bytes: number): void {
    const most = this.#largestBuffer
    if (bytes <= most) return
    throw new InsufficientMemoryError(
      `[loadModel] ${what} has ${bytes} bytes but the largest buffer of ${this.gpu} has ${most}: ` +
        "take a checkpoint of a smaller type or of fewer bits, or device 'cpu'",
      { neededBytes: bytes, availableBytes: most },
    )
  }
}

/** Counts what a `DeviceStore` would bring to the device. */
export class PlannedStore implements WeightStore {
  readonly owned: Memory[] = []
  /** Of the files that weights stay in. */
  mappedBytes = 0
  /**
   * The most that is on the device at any time while loading. A GPU has a buffer for a weight from its first
   * use on: what the host writes, and the files that are mapped, come with the first run of the model.
   */
  mostBytes = 0
  readonly #device: PlannedDevice
  readonly #tensors: ReadonlyMap<string, TensorEntry>
  readonly #mapped = new Map<string, Memory>()
  readonly #vectors: { entry: TensorEntry; bytes: number }[] = []
  /** Results of conversions so far. */
  #convertedBytes = 0

  constructor(device: PlannedDevice, tensors: ReadonlyMap<string, TensorEntry>) {
    this.#device = device
    this.#tensors = tensors
  }

  async asStored(entry: TensorEntry): Promise<Tensor> {
    this.#checkSize(entry)
    if (!isMappable(entry)) return this.#tensor(storedType(entry), entry.shape)
    let memory = this.#mapped.get(entry.file)
    if (!memory) {
      memory = Memory.plan(statSync(entry.file).size, {
        isMappedFile: true,
        largestPart: largestPart(this.#tensors, entry.file),
      })
      this.#mapped.set(entry.file, memory)
      this.owned.push(memory)
      this.mappedBytes += this.#device.footprint(memory)
    }
    return new Tensor(memory, entry.dtype as DType, entry.shape, entry.byteOffset)
  }

  async convert<Part extends string>(
    entry: TensorEntry,
    specs: Readonly<Record<Part, TensorSpec>>,
  ): Promise<Record<Part, Tensor>> {
    const results = tensorsOf(specs, ({ dtype, shape }) => this.#tensor(dtype, shape))
    this.#convert(entry, Object.values<Tensor>(results))
    return results
  }

  async floats(
    entry: TensorEntry,
    shape: readonly number[],
    map?: (x: number, index: number) => number,
  ): Promise<Tensor> {
    const vector = this.#tensor('float32', shape)
    if (!map && isMappable(entry)) {
      this.#vectors.push({ entry, bytes: this.#device.footprint(vector.memory) })
    }
    return vector
  }

  async numbers(entry: TensorEntry): Promise<Float32Array> {
    return new Float32Array(elementCount(entry.shape))
  }

  constant(values: Float32Array): Tensor {
    return this.#tensor('float32', [values.length])
  }

  /** All vectors are converted at once. */
  async finish(): Promise<void> {
    let bytes = this.#convertedBytes
    for (const file of new Set(this.#vectors.map(({ entry }) => entry.file))) {
      const mapped = this.#mapped.get(file)
      // The CPU reads it page by page.
      if (mapped && this.#device.name !== 'cpu') bytes += this.#device.footprint(mapped)
    }
    for (const vector of this.#vectors) {
      bytes += vector.bytes
      if (!this.#mapped.has(vector.entry.file)) bytes += this.#bytesAlone(vector.entry)
    }
    this.mostBytes = Math.max(this.mostBytes, bytes)
  }

  async close(): Promise<void> {}

  #tensor(dtype: DType, shape: readonly number[]): Tensor {
    const tensor = this.#device.tensor(dtype, shape)
    this.owned.push(tensor.memory)
    return tensor
  }

  #convert(entry: TensorEntry, results: readonly Tensor[]): void {
    this.#checkSize(entry)
    for (const { memory } of results) this.#convertedBytes += this.#device.footprint(memory)
    const source = isMappable(entry) ? this.#bytesAlone(entry) : this.#bytesOfCopy(entry)
    this.mostBytes = Math.max(this.mostBytes, this.#convertedBytes + source)
  }

  // The CPU reads mapped files page by page, and the system can drop each.
  #bytesAlone(entry: TensorEntry): number {
    if (this.#device.name === 'cpu') return 0
    const { bytes, largestPart } = extentAlone(entry)
    return this.#footprint(Memory.plan(bytes, { isMappedFile: true, largestPart }))
  }

  #bytesOfCopy(entry: TensorEntry): number {
    const elements = elementCount(entry.shape)
    return this.#footprint(Memory.plan(elements * bytesPerElement(storedType(entry))))
  }

  #footprint(memory: Memory): number {
    try {
      return this.#device.footprint(memory)
    } finally {
      memory.dispose()
    }
  }

  #checkSize({ name, byteLength }: TensorEntry): void {
    this.#device.checkSize(`tensor ${name}`, byteLength)
  }
}

// Buffers of a device, seen as arrays with an element type and a shape.

import { addon } from './addon.js'
import { DisposedError } from '../support/errors.js'
import { isInArchive, onDisk } from '../support/location.js'
import { describe } from '../support/option-checks.js'
import { isTypedArray } from '../support/realms.js'

/** Element types that a device computes with. `uint32` holds token ids and packed weights, `uint8` scales of some. */
export type DType = 'float32' | 'float16' | 'bfloat16' | 'uint32' | 'uint8'

/** What a tensor's bytes are in JavaScript: float16 and bfloat16 are their raw 16 bits. */
export type TensorData = Float32Array | Uint16Array | Uint32Array | Uint8Array

/** As native numbers them (metal/types.h: DataType). */
export const DTYPE_NUMBERS: Record<DType, number> = {
  float32: 0,
  float16: 1,
  bfloat16: 2,
  uint32: 3,
  uint8: 4,
}

/** Bytes of one element. */
export function bytesPerElement(dtype: DType): number {
  if (dtype === 'uint8') return 1
  return dtype === 'float32' || dtype === 'uint32' ? 4 : 2
}

/** The array that holds the elements of a type in JavaScript. */
export function typedArrayOf(
  dtype: DType,
):
  | Float32ArrayConstructor
  | Uint16ArrayConstructor
  | Uint32ArrayConstructor
  | Uint8ArrayConstructor {
  if (dtype === 'float32') return Float32Array
  if (dtype === 'uint8') return Uint8Array
  return dtype === 'uint32' ? Uint32Array : Uint16Array
}

/** Product of the dimensions. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1)
}

/** Throws unless the dimensions are positive whole numbers whose product is exact. */
export function checkShape(operation: string, shape: readonly number[]): void {
  if (!Array.isArray(shape)) {
    throw new TypeError(
      `[${operation}] shape must be a list of dimensions but is ${describe(shape)}`,
    )
  }
  const whole = shape.every((dimension) => Number.isSafeInteger(dimension) && dimension > 0)
  if (whole && Number.isSafeInteger(elementCount(shape))) return
  throw new RangeError(
    `[${operation}] shape must be of positive whole numbers but is ${formatShape(shape)}`,
  )
}

/** "(2, 64)": a shape in an error message. */
export function formatShape(shape: readonly number[]): string {
  return `(${shape.join(', ')})`
}

/** Parts of files are mapped from multiples of this on: pages have 16 KiB on a Mac, elsewhere 4 to 64. */
export const MAPPING_ALIGNMENT = process.platform === 'darwin' ? 16384 : 65536

// Frees memory that was never disposed, when nothing refers to it any more.
const forgotten = new FinalizationRegistry<number>((handle) => addon().disposeMemory(handle))

/** One block of native memory: allocated, or a mapped file. Tensors are views of it. */
export class Memory {
  #handle: number
  readonly byteLength: number
  readonly isMappedFile: boolean

  private constructor(handle: number, isMappedFile: boolean) {
    this.#handle = handle
    this.byteLength = addon().memorySize(handle)
    this.isMappedFile = isMappedFile
    forgotten.register(this, handle, this)
  }

  /** `whole`: all of it will be written at once, which then takes less time. */
  static allocate(byteLength: number, { whole = false } = {}): Memory {
    return new Memory(addon().allocate(byteLength, whole), false)
  }

  /**
   * A file, read-only, or `bytes` of it from `begin` on, which is a multiple of `MAPPING_ALIGNMENT`.
   * No operation may use more than `largestPart` of them in one piece.
   */
  static mapFile(path: string, { begin = 0, bytes = 0, largestPart = 0 } = {}): Memory {
    const real = onDisk(path)
    if (real === path && isInArchive(path)) {
      throw new Error(
        `[loadModel] ${path} lies in an archive of Electron, from which the system maps no file: unpack it with asarUnpack of electron-builder, or asar.unpack of Electron Forge (docs/bundling.md)`,
      )
    }
    return new Memory(addon().mapFile(real, begin, bytes, largestPart), true)
  }

  /** A size without bytes: lists that use it can be recorded but not run. */
  static plan(byteLength: number, { isMappedFile = false, largestPart = 0 } = {}): Memory {
    return new Memory(addon().planMemory(byteLength, isMappedFile, largestPart), isMappedFile)
  }

  /** Takes over memory that native made. */
  static ofHandle(handle: number): Memory {
    return new Memory(handle, false)
  }

  /** The native handle. Throws `DisposedError` after `dispose()`. */
  get handle(): number {
    if (this.#handle === 0) throw new DisposedError('the buffer of this tensor was disposed')
    return this.#handle
  }

  /** A GPU need not keep it resident: its next use makes it so again. Does nothing while runs use it. */
  letGo(): void {
    if (this.#handle !== 0) addon().letGoOfMemory(this.#handle)
  }

  /** Frees the memory once no command list uses it. Calling it again does nothing. */
  dispose(): void {
    if (this.#handle === 0) return
    forgotten.unregister(this)
    addon().disposeMemory(this.#handle)
    this.#handle = 0
  }
}

/**
 * An array in a device buffer: element type, shape, and rows (the last dimension) that lie
 * `rowStride` elements apart. Views share the bytes of the tensor that they were made from.
 *
 * @example
 * const x = device.tensor('float32', [2, 3], new Float32Array([1, 2, 3, 4, 5, 6]))
 * const right = x.columns(1, 3)   // shape [2, 2], rowStride 3
 */
export class Tensor {
  readonly memory: Memory
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly byteOffset: number
  readonly rowStride: number

  /** @internal Use `device.tensor` or a method that makes a view. */
  constructor(
    memory: Memory,
    dtype: DType,
    shape: readonly number[],
    byteOffset = 0,
    rowStride = shape.at(-1) ?? 1,
  ) {
    this.memory = memory
    this.dtype = dtype
    this.shape = shape
    this.byteOffset = byteOffset
    this.rowStride = rowStride
  }

  /** Elements of the last dimension. */
  get cols(): number {
    return this.shape.at(-1) ?? 1
  }

  /** Product of all dimensions but the last. */
  get rows(): number {
    return elementCount(this.shape.slice(0, -1))
  }

  get elements(): number {
    return elementCount(this.shape)
  }

  get isContiguous(): boolean {
    return this.rowStride === this.cols || this.rows <= 1
  }

  /** Bytes from the first element to the end of the last one. */
  get byteSpan(): number {
    if (this.elements === 0) return 0
    return ((this.rows - 1) * this.rowStride + this.cols) * bytesPerElement(this.dtype)
  }

  /** Columns `start` up to but not including `end`, as a view. */
  columns(start: number, end: number): Tensor {
    const whole = Number.isSafeInteger(start) && Number.isSafeInteger(end)
    if (!(whole && start >= 0 && start < end && end <= this.cols)) {
      throw new RangeError(
        `[columns] ${start} to ${end} is not a range of columns of shape ${formatShape(this.shape)}`,
      )
    }
    return this.#view([...this.shape.slice(0, -1), end - start], start, this.rowStride)
  }

  /** For shape [batch, length, cols]: the row at `index` of each sequence, as a view [batch, cols]. */
  select(index: number): Tensor {
    const [batch, length, cols] = this.shape
    const whole = Number.isSafeInteger(index)
    if (this.shape.length !== 3 || !(whole && index >= 0 && index < length!)) {
      throw new RangeError(`[select] no row ${index} in shape ${formatShape(this.shape)}`)
    }
    return this.#view([batch!, cols!], index * this.rowStride, length! * this.rowStride)
  }

  /** Element `index` of the first dimension, as a view [1, ...]. The tensor must be contiguous. */
  at(index: number): Tensor {
    const [count = 0, ...rest] = this.shape
    if (!(Number.isSafeInteger(index) && index >= 0 && index < count) || !this.isContiguous) {
      throw new RangeError(
        `[at] no element ${index} in shape ${formatShape(this.shape)}` +
          (this.isContiguous ? '' : ' with rows apart'),
      )
    }
    const elements = elementCount(rest)
    return this.#view([1, ...rest], index * elements, rest.at(-1) ?? 1)
  }

  /** For shape [rows, cols]: the rows from `first` on, as a view. */
  rowsFrom(first: number): Tensor {
    const [rows, cols] = this.shape
    if (this.shape.length !== 2 || !(Number.isSafeInteger(first) && first >= 0 && first < rows!)) {
      throw new RangeError(`[rowsFrom] no row ${first} in shape ${formatShape(this.shape)}`)
    }
    return this.#view([rows! - first, cols!], first * this.rowStride, this.rowStride)
  }

  /** The first elements in another shape, as a view. The tensor must be contiguous and large enough. */
  view(shape: readonly number[]): Tensor {
    checkShape('view', shape)
    if (!this.isContiguous || elementCount(shape) > this.elements) {
      throw new RangeError(
        `[view] shape ${formatShape(shape)} does not fit in shape ${formatShape(this.shape)}` +
          (this.isContiguous ? '' : ' with rows apart'),
      )
    }
    return this.#view(shape, 0, shape.at(-1) ?? 1)
  }

  #view(shape: readonly number[], offset: number, rowStride: number): Tensor {
    const byteOffset = this.byteOffset + offset * bytesPerElement(this.dtype)
    return new Tensor(this.memory, this.dtype, shape, byteOffset, rowStride)
  }

  /** Reads all elements. Throws while a run that writes this buffer is in flight, or for a view with rows apart. */
  read(): TensorData {
    if (!this.isContiguous) throw new RangeError('[read] the rows of this view lie apart')
    const data = new (typedArrayOf(this.dtype))(this.elements)
    this.readInto(data)
    return data
  }

  /** Reads the first elements into `target`, without allocating. */
  readInto(target: TensorData): void {
    addon().readMemory(this.memory.handle, this.byteOffset, asBytes(target, this, 'read'))
  }

  /** Writes the first elements. Throws while a run that uses this buffer is in flight. */
  write(data: TensorData): void {
    addon().writeMemory(this.memory.handle, this.byteOffset, asBytes(data, this, 'write'))
  }

  /** Frees the buffer, and with it all views of it, once no command list uses it. */
  dispose(): void {
    this.memory.dispose()
  }
}

function asBytes(data: TensorData, tensor: Tensor, operation: string): Uint8Array {
  const wanted = typedArrayOf(tensor.dtype)
  if (!isTypedArray<TensorData>(data, wanted)) {
    throw new TypeError(
      `[${operation}] ${tensor.dtype} takes a ${wanted.name} but got ${describe(data)}`,
    )
  }
  if (!tensor.isContiguous || data.length > tensor.elements) {
    throw new RangeError(
      `[${operation}] ${data.length} elements do not fit in shape ${formatShape(tensor.shape)}`,
    )
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}

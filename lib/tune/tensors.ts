// The tensors of what is measured. Their numbers need only be such that a model could have them, so
// they are a short random block again and again: making a matrix costs a copy.

import { addon } from '../operations/addon.js'
import type { Device } from '../operations/device.js'
import {
  bytesPerElement,
  type DType,
  elementCount,
  type Tensor,
  type TensorData,
} from '../operations/tensor.js'
import { floatsAs } from '../weights/convert.js'
import type { Random, Weight } from '../weights/formats/format.js'
import { kindOf, type WeightFormat } from '../weights/formats/formats.js'

const BLOCK_ELEMENTS = 1 << 16

/** Makes tensors and frees them together. `blank`: nothing is written, for lists that are never run. */
export class Tensors {
  /** Of all tensors made. */
  bytes = 0
  readonly #device: Device
  readonly #blank: boolean
  readonly #made: Tensor[] = []

  constructor(device: Device, { blank = false } = {}) {
    this.#device = device
    this.#blank = blank
  }

  /** Numbers from `low` to `high`, float32. */
  numbers(shape: readonly number[], low = -1, high = 1): Tensor {
    const [middle, reach] = [(low + high) / 2, (high - low) / 2]
    const values = this.#draw(Float32Array, Number.POSITIVE_INFINITY, (random) => {
      return middle + reach * random.number()
    })
    return this.#make('float32', shape, values)
  }

  integers(values: readonly number[], shape: readonly number[] = [values.length]): Tensor {
    const tensor = this.#make('uint32', shape)
    tensor.write(Uint32Array.from(values))
    return tensor
  }

  /** What an operation writes. */
  result(shape: readonly number[]): Tensor {
    return this.#make('float32', shape)
  }

  /** A weight whose products with x are about as large as x. */
  weight(format: WeightFormat, rows: number, cols: number): Weight {
    const source = {
      roundsToHalf: false,
      draw: this.#draw.bind(this),
      tensor: (dtype: DType, shape: readonly number[], values: TensorData) =>
        this.#make(dtype, shape, values),
    }
    return kindOf(format).sample(format, source, rows, cols)
  }

  [Symbol.dispose](): void {
    for (const tensor of this.#made) tensor.dispose()
  }

  #draw<T extends TensorData>(
    array: new (length: number) => T,
    count: number,
    next: (random: Random) => number,
  ): T {
    const values = new array(this.#blank ? 0 : Math.min(count, BLOCK_ELEMENTS))
    for (let i = 0; i < values.length; i++) values[i] = next(RANDOM)
    return values
  }

  /** Values are written again and again, if there are any. */
  #make(dtype: DType, shape: readonly number[], values?: TensorData): Tensor {
    const tensor = this.#device.tensor(dtype, shape)
    this.#made.push(tensor)
    const total = elementCount(shape) * bytesPerElement(dtype)
    this.bytes += total
    if (!values || values.length === 0) return tensor
    const data = values instanceof Float32Array ? floatsAs(dtype, values) : values
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    for (let at = 0; at < total; at += bytes.length) {
      addon().writeMemory(tensor.memory.handle, at, bytes.subarray(0, total - at))
    }
    return tensor
  }
}

const RANDOM: Random = {
  number: () => 2 * Math.random() - 1,
  bits: () => Math.random() * 2 ** 32,
}

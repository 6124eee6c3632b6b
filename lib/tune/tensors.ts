// The tensors of what is measured. Their numbers need only be such that a model could have them, so
// they are a short random block again and again: making a matrix costs a copy.

import { addon } from '../operations/addon.js'
import type { Device } from '../operations/device.js'
import type { AffineMatrix } from '../operations/arguments.js'
import { bytesPerElement, type DType, elementCount, type Tensor } from '../operations/tensor.js'
import { floatToHalf } from '../weights/convert.js'

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

  /** Numbers from `low` to `high`. */
  numbers(shape: readonly number[], low = -1, high = 1, dtype: DType = 'float32'): Tensor {
    return this.#make(dtype, shape, () => {
      const values = Float32Array.from(
        { length: BLOCK_ELEMENTS },
        () => low + (high - low) * Math.random(),
      )
      return dtype === 'float16' ? Uint16Array.from(values, floatToHalf) : values
    })
  }

  integers(values: readonly number[]): Tensor {
    const tensor = this.#make('uint32', [values.length])
    tensor.write(Uint32Array.from(values))
    return tensor
  }

  /** What an operation writes. */
  result(shape: readonly number[]): Tensor {
    return this.#make('float32', shape)
  }

  /** A float16 weight whose products with x are about as large as x. */
  matrix(rows: number, cols: number): Tensor {
    const scale = 1 / Math.sqrt(cols)
    return this.numbers([rows, cols], -scale, scale, 'float16')
  }

  /** The same, quantised in groups of 64 with float16 scales. */
  affine(bits: 4 | 8, rows: number, cols: number): AffineMatrix {
    const groupSize = 64
    const groups = [rows, cols / groupSize]
    const half = 2 ** (bits - 1)
    const scale = 1 / (half * Math.sqrt(cols))
    const words = this.#make('uint32', [rows, (cols * bits) / 32], () =>
      Uint32Array.from({ length: BLOCK_ELEMENTS }, () => Math.random() * 2 ** 32),
    )
    return {
      words,
      scales: this.numbers(groups, 0.9 * scale, 1.1 * scale, 'float16'),
      biases: this.numbers(groups, -half * scale, -half * scale, 'float16'),
      bits,
      groupSize,
    }
  }

  [Symbol.dispose](): void {
    for (const tensor of this.#made) tensor.dispose()
  }

  #make(
    dtype: DType,
    shape: readonly number[],
    block?: () => Uint16Array | Uint32Array | Float32Array,
  ) {
    const tensor = this.#device.tensor(dtype, shape)
    this.#made.push(tensor)
    const total = elementCount(shape) * bytesPerElement(dtype)
    this.bytes += total
    if (!block || this.#blank) return tensor
    const bytes = new Uint8Array(block().buffer)
    for (let at = 0; at < total; at += bytes.length) {
      addon().writeMemory(tensor.memory.handle, at, bytes.subarray(0, total - at))
    }
    return tensor
  }
}

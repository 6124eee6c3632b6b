// What a case is computed from: the same random numbers for the device under test and for the
// reference, which may hold activations in another element type.

import type { ActivationType, Device } from '../operations/device.js'
import type { QuantizedMatrix } from '../operations/arguments.js'
import { type DType, elementCount, type Tensor, type TensorData } from '../operations/tensor.js'
import { floatsAs, floatToHalf, halvesToFloats } from '../weights/convert.js'
import type { FloatType } from '../weights/float-types.js'
import type { SampleSource, Weight } from '../weights/formats/format.js'
import { kindOf, type WeightFormat } from '../weights/formats/formats.js'
import { plain } from '../weights/formats/plain.js'
import { QuantizedWeight } from '../weights/formats/quantized-weight.js'

/** Where the rows of a batch have their state. */
export interface Places {
  slots: number
  /** Slot of each row: uint32 (batch). */
  rows: Tensor
}

/** Numbers that both sides share: made by whoever asks first, by the order of asking. */
export class SharedNumbers {
  readonly #made: unknown[] = []

  at<T>(index: number, make: () => T): T {
    this.#made[index] ??= make()
    return this.#made[index] as T
  }
}

/**
 * Makes the tensors of one case on one device. Two of them that share numbers and are asked in the
 * same order hold the same values, rounded to what the device under test can hold.
 */
export class Inputs {
  readonly device: Device
  /** In which this side holds activations. */
  readonly activationType: ActivationType
  /** Bytes that the operation reads and writes at least: each tensor once, what it updates twice. */
  bytes = 0
  readonly #shared: SharedNumbers
  readonly #roundTo: ActivationType
  readonly #tensors: Tensor[] = []
  /** The part of a state that is in the slots of the rows. */
  readonly #used = new Map<Tensor, number>()
  #next = 0

  /** `roundTo`: in which the device under test holds activations. */
  constructor(
    device: Device,
    shared: SharedNumbers,
    activationType: ActivationType,
    roundTo: ActivationType,
  ) {
    this.device = device
    this.activationType = activationType
    this.#shared = shared
    this.#roundTo = roundTo
  }

  /** Numbers from -scale to scale. */
  activations(shape: readonly number[], scale = 1): Tensor {
    const values = this.#share((random) => {
      const numbers = filled(new Float32Array(elementCount(shape)), () => scale * random())
      if (this.#roundTo === 'float32') return numbers
      return halvesToFloats(Uint16Array.from(numbers, floatToHalf))
    })
    return this.#upload(this.activationType, shape, values)
  }

  /** Numbers from -scale to scale plus `offset`, float32 on every device. */
  floats(shape: readonly number[], scale = 1, offset = 0): Tensor {
    const values = this.#share((random) =>
      filled(new Float32Array(elementCount(shape)), () => offset + scale * random()),
    )
    return this.#upload('float32', shape, values)
  }

  /**
   * Rows for a product with a norm before it. Where the device holds activations in float16, it may round
   * the normed rows to that: then these are numbers of up to 3 times a power of two, whose mean square is
   * a power of four, so that with a weight of `normWeight` there is nothing to round.
   */
  rowsToNorm(dtype: ActivationType, shape: readonly number[]): Tensor {
    if (this.#roundTo === 'float32') return this.activations(shape)
    const cols = shape.at(-1)!
    const values = this.#share((_, bits) => {
      const numbers = new Float32Array(elementCount(shape))
      for (let i = 0, turn = 0; i < numbers.length; i++) {
        const [row, col] = [Math.floor(i / cols), i % cols]
        const drawn = bits()
        if (col % 8 === 0) turn = drawn >>> 8
        // Eight have a mean square of four, as has each of what is left of a row.
        const magnitude = col < cols - (cols % 8) ? EIGHT[(col + turn) % 8]! : 2
        numbers[i] = magnitude * (drawn & 1 ? 1 : -1) * 2 ** (row % 3)
      }
      return numbers
    })
    return this.#upload(dtype, shape, values)
  }

  /** Activations that change no bit but the exponent and the sign of what they are multiplied with: ±1/2, ±1 and ±2. */
  powersOfTwo(shape: readonly number[]): Tensor {
    const values = this.#share((_, bits) =>
      filled(new Float32Array(elementCount(shape)), () => {
        const drawn = bits() >>> 8
        return (drawn & 1 ? 1 : -1) * 2 ** (((drawn >>> 1) % 3) - 1)
      }),
    )
    return this.#upload(this.activationType, shape, values)
  }

  /** Numbers from -1 to 1 that are of this type on every device. */
  typed(dtype: ActivationType, shape: readonly number[]): Tensor {
    const values = this.#share((random) =>
      filled(new Float32Array(elementCount(shape)), () => random()),
    )
    return this.#upload(dtype, shape, values)
  }

  /** The weight of a norm: eighths from 1/2 to 3/2. */
  normWeight(cols: number): Tensor {
    const values = this.#share((random) =>
      filled(new Float32Array(cols), () => 1 + Math.round(4 * random()) / 8),
    )
    return this.#upload('float32', [cols], values)
  }

  /** Sums of squares of rows of so many columns, which are not those of x; means as of `rowsToNorm`. */
  squares(rows: number, cols: number): Tensor {
    if (this.#roundTo === 'float32') return this.floats([rows, 1], cols / 8, cols / 3)
    const values = this.#share((_, bits) =>
      filled(new Float32Array(rows), () => cols * 4 ** ((bits() >>> 8) % 3)),
    )
    return this.#upload('float32', [rows, 1], values)
  }

  /**
   * Slots for the rows of a batch: one more than rows, which have them from the last to the second, so that
   * an operation that goes by the number of the row finds what belongs to another.
   */
  places(batch: number): Places {
    const rows = Array.from({ length: batch }, (_, b) => batch - b)
    return { slots: batch + 1, rows: this.integers(rows) }
  }

  /** As `floats`, for what the operation updates in place: (slots, …). */
  state(places: Places, shape: readonly number[], scale = 1): Tensor {
    return this.#inPlaces(this.floats([places.slots, ...shape], scale), places, 2)
  }

  integers(values: readonly number[], shape: readonly number[] = [values.length]): Tensor {
    return this.#upload('uint32', shape, Uint32Array.from(values))
  }

  /** Whole numbers below `limit`. */
  randomIntegers(shape: readonly number[], limit: number): Tensor {
    const values = this.#share((random) =>
      filled(new Uint32Array(elementCount(shape)), () =>
        Math.min(limit - 1, Math.floor(((random() + 1) / 2) * limit)),
      ),
    )
    return this.#upload('uint32', shape, values)
  }

  /** A weight in any format. */
  weight(format: WeightFormat, rows: number, cols: number): Weight {
    return kindOf(format).sample(format, this.#samples, rows, cols)
  }

  /** The matrix of a weight in floats. */
  matrix(type: FloatType, rows: number, cols: number): Tensor {
    return plain.sample({ kind: 'plain', type }, this.#samples, rows, cols).matrix
  }

  /** The matrix of a weight in a quantised format. */
  quantized(format: WeightFormat, rows: number, cols: number): QuantizedMatrix {
    const weight = this.weight(format, rows, cols)
    if (weight instanceof QuantizedWeight) return weight.matrix
    throw new Error(`${kindOf(format).nameOf(format)} is not quantised`)
  }

  /** A result, float32 unless said otherwise; NaN before it is written. */
  result(shape: readonly number[], dtype: DType = 'float32'): Tensor {
    const blank = new Float32Array(elementCount(shape)).fill(Number.NaN)
    return this.#upload(dtype, shape, dtype === 'uint32' ? new Uint32Array(blank.length) : blank)
  }

  /** A result in which the device holds activations. */
  activationResult(shape: readonly number[]): Tensor {
    return this.result(shape, this.activationType)
  }

  /** Rings of activations that the operation updates: (slots, …). */
  rings(places: Places, shape: readonly number[]): Tensor {
    return this.#inPlaces(this.activations([places.slots, ...shape]), places, 2)
  }

  /** Rings of activations that the operation reads, or a few rows of which it writes: (slots, …). */
  windows(places: Places, shape: readonly number[]): Tensor {
    return this.#inPlaces(this.activations([places.slots, ...shape]), places, 1)
  }

  /** Bytes of one of these tensors that an operation gets to: of a state those in the slots of the rows. */
  bytesOf(tensor: Tensor): number {
    return (this.#used.get(tensor) ?? 1) * tensor.byteSpan
  }

  /** Counts the slots of the rows so many times, and the others not at all. */
  #inPlaces(tensor: Tensor, { slots, rows }: Places, times: number): Tensor {
    this.#used.set(tensor, rows.elements / slots)
    this.bytes += times * this.bytesOf(tensor) - tensor.byteSpan
    return tensor
  }

  dispose(): void {
    for (const tensor of this.#tensors) tensor.dispose()
  }

  #share<T>(make: (random: () => number, bits: () => number) => T): T {
    const index = this.#next++
    return this.#shared.at(index, () => {
      const bits = randomBits(index + 1)
      return make(() => bits() / 2 ** 31 - 1, bits)
    })
  }

  get #samples(): SampleSource {
    return {
      roundsToHalf: this.#roundTo !== 'float32',
      draw: (array, count, next) =>
        this.#share((number, bits) => filled(new array(count), () => next({ number, bits }))),
      tensor: (dtype, shape, values) => this.#upload(dtype, shape, values),
    }
  }

  #upload(dtype: DType, shape: readonly number[], values: TensorData): Tensor {
    const data = values instanceof Float32Array ? floatsAs(dtype, values) : values
    const tensor = this.device.tensor(dtype, shape, data)
    this.bytes += tensor.byteSpan
    this.#tensors.push(tensor)
    return tensor
  }
}

// Eight numbers whose mean square is 4.
const EIGHT = [1, 3, 1, 1, 3, 1, 1, 3]

// Numbers that are made before they repeat: a prime, so that no two rows of a matrix are alike.
const PERIOD = 99_991

// Many times as fast as `from` with a function, and there are up to 10^8 numbers to make.
function filled<T extends TensorData>(array: T, next: () => number): T {
  const made = Math.min(array.length, PERIOD)
  for (let i = 0; i < made; i++) array[i] = next()
  for (let done = made; done < array.length; done *= 2) array.copyWithin(done, 0, done)
  return array
}

// xorshift (Marsaglia, 2003): 32 random bits, quickly, the same on every machine.
function randomBits(seed: number): () => number {
  let x = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1
  return () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return x >>> 0
  }
}

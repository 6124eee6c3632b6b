// Weights as floats: float32, float16 or bfloat16.

import type { EmbeddingOptions, ExpertsOptions, LinearOptions } from '../../operations/arguments.js'
import type { Recorder } from '../../operations/recorder.js'
import { bytesPerElement, type Tensor } from '../../operations/tensor.js'
import type { TensorEntry } from '../checkpoint.js'
import { numbersOf } from '../convert.js'
import { FLOAT_TYPES, type FloatType, floatTypeOf } from '../float-types.js'
import type { WeightStore } from '../store.js'
import type { FormatKind, Random, ReadRow, SampleSource, Weight } from './format.js'

export interface PlainFormat {
  kind: 'plain'
  type: FloatType
}

export class PlainWeight implements Weight {
  readonly matrix: Tensor

  constructor(matrix: Tensor) {
    this.matrix = matrix
  }

  get byteSpan(): number {
    return this.matrix.byteSpan
  }

  multiply(cl: Recorder, x: Tensor, out: Tensor, options: LinearOptions): void {
    cl.matmul(x, this.matrix, out, options)
  }

  multiplyExperts(
    cl: Recorder,
    x: Tensor,
    chosen: Tensor,
    out: Tensor,
    options: ExpertsOptions,
  ): void {
    cl.expertsMatmul(x, this.matrix, chosen, out, options)
  }

  rowsFrom(first: number): PlainWeight {
    return new PlainWeight(this.matrix.rowsFrom(first))
  }

  lookUp(cl: Recorder, tokens: Tensor, out: Tensor, options?: EmbeddingOptions): void {
    cl.embedding(tokens, this.matrix, out, options)
  }

  readRows(): ReadRow {
    const numbers = numbersOf(this.matrix)
    return (row, target) => {
      const first = row * target.length
      for (let col = 0; col < target.length; col++) target[col] = numbers[first + col]!
    }
  }
}

export const plain = {
  kind: 'plain',
  all: FLOAT_TYPES.map((type) => ({ kind: 'plain', type })),
  usual: [{ kind: 'plain', type: 'float16' }],
  parts: ['weight'],
  product: 'matmul',
  nameOf: ({ type }) => type,
  labelOf: ({ type }) => type,
  inputMultiple: () => 1,
  bytesOf: ({ type }, rows, cols) => rows * cols * bytesPerElement(type),
  async fromFloats(entry: TensorEntry, { type }: PlainFormat, store: WeightStore) {
    if (type === floatTypeOf(entry.dtype)) return new PlainWeight(await store.asStored(entry))
    const { weight } = await store.convert(
      entry,
      { weight: { dtype: type, shape: entry.shape } },
      (cl, source, results) => cl.cast(source, results.weight),
    )
    return new PlainWeight(weight)
  },
  sample({ type }: PlainFormat, source: SampleSource, rows: number, cols: number) {
    return new PlainWeight(source.tensor(type, [rows, cols], sampleBits(type, source, rows, cols)))
  },
} satisfies FormatKind<PlainFormat>

// Numbers of either sign, from scale / 64 to scale, where scale is 1 / sqrt(cols). They are made as bits, which
// takes no rounding; so scale is a power of two.
function sampleBits(type: FloatType, source: SampleSource, rows: number, cols: number) {
  const exponent = -Math.round(Math.log2(cols) / 2)
  const count = rows * cols
  if (type === 'float32') {
    const words = source.draw(Uint32Array, count, (random) => floatBits(random, exponent, 8, 23))
    return new Float32Array(words.buffer)
  }
  const [exponentBits, fractionBits] = type === 'float16' ? [5, 10] : [8, 7]
  return source.draw(Uint16Array, count, (random) =>
    floatBits(random, exponent, exponentBits, fractionBits),
  )
}

// A float of `exponentBits` and `fractionBits` from random bits: sign and fraction as they fall, one of six
// exponents up to `exponent`.
function floatBits(
  { bits }: Random,
  exponent: number,
  exponentBits: number,
  fractionBits: number,
): number {
  const random = bits()
  const bias = 2 ** (exponentBits - 1) - 1
  const below = ((random >>> 24) % 6) + 1
  const fraction = random & (2 ** fractionBits - 1)
  const magnitude = Math.max(1, exponent + bias - below) * 2 ** fractionBits + fraction
  return magnitude + (random >>> 31) * 2 ** (exponentBits + fractionBits)
}

// The affine quantised format of MLX: w = scale * q + bias, where q is a few bits wide and each group of columns has a
// scale and a bias. In a file `.weight` holds the words that the values are packed into, `.scales` and `.biases` the rest.

import {
  AFFINE_BITS,
  AFFINE_GROUP_SIZES,
  type AffineBits,
  type AffineGroupSize,
  type AffineMatrix,
} from '../../operations/arguments.js'
import { bytesPerElement } from '../../operations/tensor.js'
import type { FileDtype, TensorEntry } from '../checkpoint.js'
import { FLOAT_TYPES, type FloatType } from '../float-types.js'
import type { WeightStore } from '../store.js'
import type { MatrixFiles, QuantizedKind, SampleSource, StatedQuantization } from './format.js'
import { type HostReading, quantizedShapes, QuantizedWeight } from './quantized-weight.js'

/** As a configuration states it, or as a caller asks for it. */
export interface AffineQuantization {
  bits: AffineBits
  groupSize: AffineGroupSize
}

export interface AffineFormat extends AffineQuantization {
  kind: 'affine'
  /** Element type of scales and biases. */
  scaleType: FloatType
}

/** The group size where none is given. */
export const DEFAULT_GROUP_SIZE = 64

const READING: HostReading = { numberOf: (q) => q, scaleOf: (scale) => scale }

const weight = (matrix: AffineMatrix) => new QuantizedWeight(matrix, READING)

const labelOf = ({ bits, groupSize }: AffineFormat) => `${bits}-bit g${groupSize}`

export const affine = {
  kind: 'affine',
  all: AFFINE_BITS.flatMap((bits) =>
    AFFINE_GROUP_SIZES.flatMap((groupSize) =>
      FLOAT_TYPES.map((scaleType) => ({ kind: 'affine' as const, bits, groupSize, scaleType })),
    ),
  ),
  usual: ([8, 4] as const).map((bits) => ({
    ...{ kind: 'affine', bits, groupSize: DEFAULT_GROUP_SIZE, scaleType: 'float16' },
  })),
  parts: ['weight', 'scales', 'biases'],
  product: 'quantized_matmul',
  mode: 'affine',
  defaults: { bits: 4, group_size: DEFAULT_GROUP_SIZE },
  nameOf: (format) => `${labelOf(format)} ${format.scaleType}`,
  labelOf,
  bitsNameOf: ({ bits }) => `${bits}-bit`,
  bitsInWords: ({ bits }) => `${bits} bits`,
  inputsInWords: ({ groupSize }) => `inputs that groupSize ${groupSize} divides`,
  shortNameOf: ({ bits, groupSize }) => `q${bits} g${groupSize}`,
  describe: ({ bits, groupSize }) => `${bits} bits, groups of ${groupSize}`,
  inputMultiple: ({ groupSize }) => groupSize,
  bytesOf({ bits, groupSize, scaleType }, rows, cols) {
    const groups = (rows * cols) / groupSize
    return (rows * cols * bits) / 8 + 2 * groups * bytesPerElement(scaleType)
  },
  read: (object: StatedQuantization): AffineQuantization => ({
    bits: object.only('bits', AFFINE_BITS),
    // In the order in which an error lists them: the default first.
    groupSize: object.only('group_size', [
      ...new Set([DEFAULT_GROUP_SIZE, ...AFFINE_GROUP_SIZES] as const),
    ]),
  }),
  formatOf(stated: AffineQuantization, scales: FileDtype): AffineFormat | undefined {
    const scaleType = FLOAT_TYPES.find((type) => type === scales)
    return scaleType && { kind: 'affine', ...stated, scaleType }
  },
  async load({ rows, cols, store, ...files }: MatrixFiles, stated: AffineQuantization) {
    const { groupSize } = stated
    if (cols % groupSize !== 0) {
      files.fail(`has ${cols} inputs, which group size ${groupSize} does not divide`)
    }
    const words = files.part('weight')
    const scales = files.part('scales')
    const biases = files.part('biases')
    files.expectType(words, ['uint32'])
    files.expectType(scales, FLOAT_TYPES)
    files.expectType(biases, [scales.dtype])
    const shapes = quantizedShapes(stated, rows, cols)
    files.expectShape(words, shapes.words)
    files.expectShape(scales, shapes.groups)
    files.expectShape(biases, shapes.groups)
    return weight({
      words: await store.asStored(words),
      scales: await store.asStored(scales),
      biases: await store.asStored(biases),
      ...stated,
    })
  },
  async fromFloats(entry: TensorEntry, format: AffineFormat, store: WeightStore) {
    const { bits, groupSize, scaleType } = format
    const [rows, cols] = entry.shape as [number, number]
    const shapes = quantizedShapes(format, rows, cols)
    const parts = await store.convert(
      entry,
      {
        words: { dtype: 'uint32', shape: shapes.words },
        scales: { dtype: scaleType, shape: shapes.groups },
        biases: { dtype: scaleType, shape: shapes.groups },
      },
      (cl, source, results) => cl.affineQuantize(source, { ...results, bits, groupSize }),
    )
    return weight({ ...parts, bits, groupSize })
  },
  // Values from about -scale to scale, where scale is 1 / sqrt(cols).
  sample(format: AffineFormat, source: SampleSource, rows: number, cols: number) {
    const { bits, groupSize, scaleType } = format
    const shapes = quantizedShapes(format, rows, cols)
    const half = 2 ** (bits - 1)
    const scale = 1 / (half * Math.sqrt(cols))
    const words = source.draw(Uint32Array, (rows * cols * bits) / 32, (random) => random.bits())
    const scales = source.draw(Float32Array, (rows * cols) / groupSize, (random) => {
      if (!source.roundsToHalf) return (1 + random.number() / 4) * scale
      const quarters = 4 + Math.floor(2 * (random.number() + 1)) // of a number from 1 to 7/4
      return (quarters / 4) * 2 ** -Math.round(Math.log2(half * Math.sqrt(cols)))
    })
    return weight({
      words: source.tensor('uint32', shapes.words, words),
      scales: source.tensor(scaleType, shapes.groups, scales),
      biases: source.tensor(
        scaleType,
        shapes.groups,
        scales.map((each) => -half * each),
      ),
      bits,
      groupSize,
    })
  },
} satisfies QuantizedKind<AffineFormat, AffineQuantization>

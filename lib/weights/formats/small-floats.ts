// Quantised formats whose values are floats of four bits (e2m1): mxfp4 of the Open Compute Project, where 32 columns
// share a power of two (e8m0), and nvfp4, where 16 share a float of eight bits (e4m3). There are no biases. In MLX's
// files scales are uint8.
// (OCP Microscaling Formats (MX) v1.0, section 5; mlx: quantize)

import type { QuantizedMatrix } from '../../operations/arguments.js'
import type { FileDtype } from '../checkpoint.js'
import type { MatrixFiles, QuantizedKind, SampleSource } from './format.js'
import { type HostReading, quantizedShapes, QuantizedWeight } from './quantized-weight.js'

export type SmallFloatMode = 'mxfp4' | 'nvfp4'

/** As a configuration states it. */
export interface SmallFloatQuantization<M extends SmallFloatMode> {
  mode: M
  bits: 4
  groupSize: number
}

export interface SmallFloatFormat<M extends SmallFloatMode> {
  kind: M
}

const MAGNITUDES = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
const numberOf = (code: number) => (code & 8 ? -1 : 1) * MAGNITUDES[code & 7]!

/** A format whose scales are bytes: `scaleOf` reads one. `sampleScale`: one for samples whose values are about `size`. */
function smallFloats<M extends SmallFloatMode>(
  mode: M,
  groupSize: number,
  scaleOf: (code: number) => number,
  sampleScale: (size: number, random: number) => number,
) {
  const reading: HostReading = { numberOf, scaleOf }
  const stated: SmallFloatQuantization<M> = { mode, bits: 4, groupSize }
  const weight = (parts: Pick<QuantizedMatrix, 'words' | 'scales'>) =>
    new QuantizedWeight({ ...parts, ...stated }, reading)
  return {
    kind: mode,
    all: [{ kind: mode }],
    usual: [],
    parts: ['weight', 'scales'],
    product: 'quantized_matmul',
    mode,
    defaults: { bits: 4, group_size: groupSize },
    nameOf: () => mode,
    labelOf: () => mode,
    bitsNameOf: () => mode,
    bitsInWords: () => mode,
    inputsInWords: () => `inputs that ${groupSize} divides`,
    shortNameOf: () => mode,
    describe: () => `${mode}: floats of 4 bits, groups of ${groupSize}`,
    inputMultiple: () => groupSize,
    bytesOf: (_, rows, cols) => (rows * cols) / 2 + (rows * cols) / groupSize,
    read(object) {
      object.only('bits', [4])
      object.only('group_size', [groupSize])
      return stated
    },
    formatOf: (_, scales: FileDtype) => (scales === 'uint8' ? { kind: mode } : undefined),
    async load({ rows, cols, store, ...files }: MatrixFiles) {
      if (cols % groupSize !== 0) {
        files.fail(`has ${cols} inputs, which group size ${groupSize} does not divide`)
      }
      const words = files.part('weight')
      const scales = files.part('scales')
      files.expectType(words, ['uint32'])
      files.expectType(scales, ['uint8'])
      const shapes = quantizedShapes(stated, rows, cols)
      files.expectShape(words, shapes.words)
      files.expectShape(scales, shapes.groups)
      return weight({ words: await store.asStored(words), scales: await store.asStored(scales) })
    },
    // Values have a mean square of about 9.
    sample(_, source: SampleSource, rows: number, cols: number) {
      const shapes = quantizedShapes(stated, rows, cols)
      const size = 1 / (3 * Math.sqrt(cols))
      const words = source.draw(Uint32Array, (rows * cols) / 8, (random) => random.bits())
      const scales = source.draw(Uint8Array, (rows * cols) / groupSize, (random) =>
        sampleScale(size, random.bits()),
      )
      return weight({
        words: source.tensor('uint32', shapes.words, words),
        scales: source.tensor('uint8', shapes.groups, scales),
      })
    },
  } satisfies QuantizedKind<SmallFloatFormat<M>, SmallFloatQuantization<M>>
}

// 255 stands for NaN, but is 2^128 in MLX.
const e8m0 = (code: number) => 2 ** (code - 127)

// All ones is NaN.
function e4m3(code: number): number {
  const [exponent, fraction] = [(code >> 3) & 15, code & 7]
  if (exponent === 15 && fraction === 7) return Number.NaN
  const significand = exponent === 0 ? fraction : 8 + fraction
  return (code & 128 ? -1 : 1) * significand * 2 ** (Math.max(exponent, 1) - 10)
}

export const mxfp4 = smallFloats(
  'mxfp4',
  32,
  e8m0,
  (size, random) => 127 + Math.round(Math.log2(size)) - (random & 1),
)

export const nvfp4 = smallFloats('nvfp4', 16, e4m3, (size, random) => {
  const exponent = Math.max(0, 7 + Math.round(Math.log2(size)))
  return ((random & 1) << 7) + (exponent << 3) + ((random >>> 1) & 7)
})

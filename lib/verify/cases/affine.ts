// Operations on quantised matrices other than products.

import { affine } from '../../weights/formats/affine.js'
import { formatName } from '../../weights/formats/formats.js'
import { type Case, writing } from './case.js'

// Rows, and groups of a row. Threads share the last.
const SHAPES = [
  [5, 3],
  [64, 32],
] as const

/** Looking rows up, and turning floats into the format and back. */
export function* affineCases(): Generator<Case> {
  const activationType = 'float32'
  for (const format of affine.all.filter(({ scaleType }) => scaleType === 'float16')) {
    const { bits, groupSize } = format
    const dtype = formatName(format)
    for (const [rows, groups] of SHAPES) {
      const cols = groups * groupSize
      const given = { dtype, activationType, shape: `${rows} x ${cols}` } as const
      yield {
        ...given,
        operation: 'affine_embedding',
        build(inputs) {
          const table = inputs.affine(format, 300, cols)
          const tokens = inputs.randomIntegers([rows], 300)
          const out = inputs.result([rows, cols])
          return writing(out, (cl) => cl.affineEmbedding(tokens, table, out))
        },
      }
      yield {
        ...given,
        operation: 'affine_dequantize',
        build(inputs) {
          const matrix = inputs.affine(format, rows, cols)
          const out = inputs.result([rows, cols])
          return writing(out, (cl) => cl.affineDequantize(matrix, out))
        },
      }
      yield {
        ...given,
        operation: 'affine_quantize',
        build(inputs) {
          const weight = inputs.matrix('float32', rows, cols)
          const scales = [rows, groups]
          const out = {
            words: inputs.result([rows, (cols * bits) / 32], 'uint32'),
            scales: inputs.result(scales, 'float16'),
            biases: inputs.result(scales, 'float16'),
            bits,
            groupSize,
          }
          return {
            record: (cl) => cl.affineQuantize(weight, out),
            outputs: [out.words, out.scales, out.biases],
          }
        },
      }
    }
  }
}

// Operations on quantised matrices other than products.

import type { AffineFormat } from '../../weights/formats/affine.js'
import { ALL_FORMATS, formatName, kindOf } from '../../weights/formats/formats.js'
import { type Case, writing } from './case.js'

// Rows, and groups of a row. Threads share the last.
const SHAPES = [
  [5, 3],
  [64, 32],
] as const

const isTypical = ({ scaleType }: AffineFormat) => scaleType === 'float16'

/** Looking rows up, and turning floats into the format and back. */
export function* quantizedCases(): Generator<Case> {
  const activationType = 'float32'
  const formats = ALL_FORMATS.filter(
    (format) => format.kind !== 'plain' && (format.kind !== 'affine' || isTypical(format)),
  )
  for (const format of formats) {
    const dtype = formatName(format)
    for (const [rows, groups] of SHAPES) {
      const cols = groups * kindOf(format).inputMultiple(format)
      const given = { dtype, activationType, shape: `${rows} x ${cols}` } as const
      yield {
        ...given,
        operation: 'quantized_embedding',
        build(inputs) {
          const table = inputs.quantized(format, 300, cols)
          const tokens = inputs.randomIntegers([rows], 300)
          const out = inputs.result([rows, cols])
          return writing(out, (cl) => cl.quantizedEmbedding(tokens, table, out))
        },
      }
      yield {
        ...given,
        operation: 'dequantize',
        build(inputs) {
          const matrix = inputs.quantized(format, rows, cols)
          const out = inputs.result([rows, cols])
          return writing(out, (cl) => cl.dequantize(matrix, out))
        },
      }
      if (format.kind !== 'affine') continue
      const { bits, groupSize } = format
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

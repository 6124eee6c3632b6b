// A quantised matrix on a device, of any format. In a file `.weight` holds the words that the values are packed into,
// `.scales` and, where there are any, `.biases` the rest.

import type {
  EmbeddingOptions,
  ExpertsOptions,
  LinearOptions,
  QuantizedMatrix,
} from '../../operations/arguments.js'
import type { Recorder } from '../../operations/recorder.js'
import type { Tensor } from '../../operations/tensor.js'
import { numbersOf } from '../convert.js'
import type { ReadRow, Weight } from './format.js'

/** How the bits of a format are read on the host. */
export interface HostReading {
  /** The number that the bits of a value stand for, before it is scaled. */
  numberOf(bits: number): number
  /** The same of a scale. */
  scaleOf(stored: number): number
}

export class QuantizedWeight<Matrix extends QuantizedMatrix = QuantizedMatrix> implements Weight {
  readonly matrix: Matrix
  readonly #reading: HostReading

  constructor(matrix: Matrix, reading: HostReading) {
    this.matrix = matrix
    this.#reading = reading
  }

  get byteSpan(): number {
    const { words, scales, biases } = this.matrix
    return words.byteSpan + scales.byteSpan + (biases?.byteSpan ?? 0)
  }

  multiply(cl: Recorder, x: Tensor, out: Tensor, options: LinearOptions): void {
    cl.quantizedMatmul(x, this.matrix, out, options)
  }

  multiplyExperts(
    cl: Recorder,
    x: Tensor,
    chosen: Tensor,
    out: Tensor,
    options: ExpertsOptions,
  ): void {
    cl.quantizedExpertsMatmul(x, this.matrix, chosen, out, options)
  }

  rowsFrom(first: number): QuantizedWeight<Matrix> {
    const { words, scales, biases, ...format } = this.matrix
    const tensors = {
      words: words.rowsFrom(first),
      scales: scales.rowsFrom(first),
      ...(biases && { biases: biases.rowsFrom(first) }),
    }
    return new QuantizedWeight({ ...format, ...tensors } as Matrix, this.#reading)
  }

  lookUp(cl: Recorder, tokens: Tensor, out: Tensor, options?: EmbeddingOptions): void {
    cl.quantizedEmbedding(tokens, this.matrix, out, options)
  }

  dequantize(cl: Recorder, out: Tensor): void {
    cl.dequantize(this.matrix, out)
  }

  // A value has its lowest bits first, and may begin in one word and end in the next.
  readRows(): ReadRow {
    const { words, scales, biases, bits, groupSize } = this.matrix
    const { numberOf, scaleOf } = this.#reading
    const packed = numbersOf(words)
    const scale = numbersOf(scales)
    const bias = biases && numbersOf(biases)
    const values = Array.from({ length: 2 ** bits }, (_, q) => numberOf(q))
    return (row, target) => {
      let bit = row * target.length * bits
      for (let first = 0; first < target.length; first += groupSize) {
        const group = (row * target.length + first) / groupSize
        const [groupScale, groupBias] = [scaleOf(scale[group]!), bias?.[group] ?? 0]
        for (let col = first; col < first + groupSize; col++, bit += bits) {
          const word = Math.floor(bit / 32)
          const shift = bit - 32 * word
          let q = packed[word]! >>> shift
          if (shift + bits > 32) q |= packed[word + 1]! << (32 - shift)
          target[col] = groupScale * values[q & (values.length - 1)]! + groupBias
        }
      }
    }
  }
}

/** The shapes of the tensors of a matrix (rows, cols). */
export function quantizedShapes(
  { bits, groupSize }: { bits: number; groupSize: number },
  rows: number,
  cols: number,
) {
  return { words: [rows, (cols * bits) / 32], groups: [rows, cols / groupSize] } as const
}

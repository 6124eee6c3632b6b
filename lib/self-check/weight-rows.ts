// The rows of a weight as numbers of the host: a second reading of each format, which shares nothing
// with the code of any device.

import type { AffineMatrix } from '../operations/arguments.js'
import { numbersOf } from '../verify/inputs.js'
import type { Weight } from '../weights/loader.js'

/** Puts row `row` into `target`, which has as many elements as the weight has columns. */
export type ReadRow = (row: number, target: Float64Array) => void

/**
 * Reads the whole weight, and then hands out its rows.
 *
 * @example
 * const read = weightRows(weight)
 * read(3, row)
 */
export function weightRows(weight: Weight): ReadRow {
  return weight.kind === 'plain' ? plainRows(numbersOf(weight.matrix)) : affineRows(weight.matrix)
}

function plainRows(numbers: Float32Array | Uint32Array): ReadRow {
  return (row, target) => {
    const first = row * target.length
    for (let col = 0; col < target.length; col++) target[col] = numbers[first + col]!
  }
}

// scale * q + bias, where q is `bits` wide, lowest bits first, and may begin in one word and end in the
// next.
function affineRows({ words, scales, biases, bits, groupSize }: AffineMatrix): ReadRow {
  const packed = numbersOf(words)
  const [scale, bias] = [numbersOf(scales), numbersOf(biases)]
  const mask = 2 ** bits - 1
  return (row, target) => {
    let bit = row * target.length * bits
    for (let first = 0; first < target.length; first += groupSize) {
      const group = (row * target.length + first) / groupSize
      const [groupScale, groupBias] = [scale[group]!, bias[group]!]
      for (let col = first; col < first + groupSize; col++, bit += bits) {
        const word = Math.floor(bit / 32)
        const shift = bit - 32 * word
        let q = packed[word]! >>> shift
        if (shift + bits > 32) q |= packed[word + 1]! << (32 - shift)
        target[col] = groupScale * (q & mask) + groupBias
      }
    }
  }
}

// How many parameters a checkpoint holds.

import { isQuantized } from './formats/formats.js'
import type { WeightSource } from './planned-format.js'

/** Packed words hold several parameters each; their scales and biases are not parameters. */
export function parameterCount({
  tensors,
  quantizationOf,
}: Pick<WeightSource, 'tensors' | 'quantizationOf'>): number {
  let count = 0
  for (const [name, { shape }] of tensors) {
    const elements = shape.reduce((product, d) => product * d, 1)
    const module = name.slice(0, name.lastIndexOf('.'))
    if (!isQuantized(tensors, module) || name.endsWith('.bias')) count += elements
    else if (name.endsWith('.weight'))
      count += (elements * 32) / (quantizationOf(module)?.bits ?? 32)
  }
  return count
}

// How many parameters a checkpoint holds.

import type { Checkpoint } from '../models/checkpoint.js'

/** Packed words hold several parameters each; their scales and biases are not parameters. */
export function parameterCount({
  tensors,
  quantizationOf,
}: Pick<Checkpoint, 'tensors' | 'quantizationOf'>): number {
  let count = 0
  for (const [name, { shape }] of tensors) {
    const elements = shape.reduce((product, d) => product * d, 1)
    const module = name.slice(0, name.lastIndexOf('.'))
    const isQuantized = tensors.has(`${module}.scales`)
    if (!isQuantized || name.endsWith('.bias')) count += elements
    else if (name.endsWith('.weight'))
      count += (elements * 32) / (quantizationOf(module)?.bits ?? 32)
  }
  return count
}

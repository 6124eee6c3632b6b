// Rows of a tensor that stacks several matrices, such as gate and up of an MLP in one.

import { bitsPerElement, type TensorEntry } from './checkpoint.js'

/** Rows from `first` on, of a tensor that has `of` of them. */
export interface RowRange {
  first: number
  of: number
}

/** `count` rows of the first dimension from `first` on, where they lie. They must be there. */
export function rowsOfEntry(entry: TensorEntry, first: number, count: number): TensorEntry {
  const shape = [count, ...entry.shape.slice(1)]
  const size = bitsPerElement(entry.dtype) / 8
  const elementsOf = (dimensions: readonly number[]) => dimensions.reduce((a, b) => a * b, 1)
  const stride = entry.strides?.[0] ?? elementsOf(shape.slice(1))
  const elements = entry.strides
    ? shape.reduce((last, dimension, axis) => last + (dimension - 1) * entry.strides![axis]!, 1)
    : elementsOf(shape)
  return {
    ...entry,
    shape,
    byteOffset: entry.byteOffset + first * stride * size,
    byteLength: elements * size,
  }
}

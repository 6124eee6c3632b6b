// Reads tensors of a checkpoint as a GGUF file has them: other rows, another order of columns, multiplied or mapped on
// the way.

import type { FileHandle } from 'node:fs/promises'
import type { TensorEntry } from '../../../lib/weights/checkpoint.js'
import { halfToFloat } from '../../../lib/weights/convert.js'
import type { Factor } from '../../../lib/weights/loader.js'

/** Rows of a matrix that follow one another. */
export interface RowRun {
  first: number
  count: number
}

export interface Change {
  /** The rows that are written, in order; by default all. A vector's elements are rows of one column. */
  rows?: readonly RowRun[]
  /** The columns that are written, in order; by default all. */
  columns?: Uint32Array
  /** Of each of the rows that are written. */
  factor?: Factor
  map?: (x: number) => number
}

// Elements of a piece, about.
const PIECE_ELEMENTS = 2 ** 20

/** The rows and columns of a tensor with any axes before the last; a vector is one column. */
export function matrixShape({ shape }: Pick<TensorEntry, 'shape'>): { rows: number; cols: number } {
  if (shape.length === 1) return { rows: shape[0]!, cols: 1 }
  const cols = shape.at(-1)!
  return { rows: shape.reduce((product, d) => product * d, 1) / cols, cols }
}

/** The elements in order, in pieces of a multiple of 32 rows, but for the last of a run. */
export async function* readTensor(
  file: FileHandle,
  entry: TensorEntry,
  { rows, columns, factor = 1, map }: Change = {},
): AsyncGenerator<Float32Array> {
  const { rows: all, cols } = matrixShape(entry)
  const factors = factorOf(factor)
  const most = 32 * Math.max(1, Math.floor(PIECE_ELEMENTS / (32 * cols)))
  let row = 0
  for (const run of rows ?? [{ first: 0, count: all }]) {
    for (let done = 0; done < run.count; done += most) {
      const count = Math.min(most, run.count - done)
      let values = await readFloats(file, entry, (run.first + done) * cols, count * cols)
      if (columns) values = pickColumns(values, columns, cols)
      for (let i = 0; i < count; i++, row++) {
        const by = factors(row)
        if (by === 1) continue
        for (let j = i * cols; j < (i + 1) * cols; j++) values[j]! *= by
      }
      yield map ? values.map(map) : values
    }
  }
}

/** The factor of each row. */
function factorOf(factor: Factor): (row: number) => number {
  if (typeof factor === 'number') return () => factor
  const ends: { end: number; factor: number }[] = []
  let end = 0
  for (const run of factor) {
    end += run.rows
    ends.push({ end, factor: run.factor })
  }
  return (row) => ends.find((run) => row < run.end)!.factor
}

function pickColumns(values: Float32Array, columns: Uint32Array, cols: number): Float32Array {
  const picked = new Float32Array(values.length)
  for (let first = 0; first < values.length; first += cols) {
    for (let j = 0; j < cols; j++) picked[first + j] = values[first + columns[j]!]!
  }
  return picked
}

let halves: Float32Array | undefined

async function readFloats(
  file: FileHandle,
  { dtype, byteOffset, name }: TensorEntry,
  first: number,
  count: number,
): Promise<Float32Array> {
  if (dtype !== 'float32' && dtype !== 'float16') {
    throw new Error(`${name}: must be float32 or float16 but is ${dtype}`)
  }
  const size = dtype === 'float32' ? 4 : 2
  const bytes = new Uint8Array(size * count)
  const { bytesRead } = await file.read(bytes, 0, bytes.length, byteOffset + size * first)
  if (bytesRead !== bytes.length) throw new Error(`${name}: the file ended inside`)
  if (dtype === 'float32') return new Float32Array(bytes.buffer)
  // Looked up: computing each of a billion would take minutes.
  halves ??= Float32Array.from({ length: 2 ** 16 }, (_, half) => halfToFloat(half))
  const table = halves
  return Float32Array.from(new Uint16Array(bytes.buffer), (half) => table[half]!)
}

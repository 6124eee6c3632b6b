// Whether what an operation computes for a row depends on the rows beside it: to the bit.

import type { Device } from '../../lib/operations/device.js'
import type { Recorder } from '../../lib/operations/recorder.js'
import { type DType, elementCount, type Tensor } from '../../lib/operations/tensor.js'
import { rounded, runOnce, seededNormals, upload } from './arrays.js'

/** Around the blocks of eight rows that products are computed in. */
const COUNTS = [1, 2, 3, 7, 8, 9, 16, 17, 33]
const MOST = Math.max(...COUNTS)

/** Gives a tensor (rows, ...shape) of the rows that are asked for, each with its own numbers. */
export type TakeRows = (
  shape: readonly number[],
  options?: {
    dtype?: DType
    scale?: number
    /** Instead of random numbers: those of row `id`, all the same. */
    numberOf?: (id: number) => number
    place?: typeof placeTogether
  },
) => Tensor

const placeTogether = (
  device: Device,
  dtype: DType,
  shape: readonly number[],
  values: ArrayLike<number>,
) => upload(device, dtype, shape, values)

/** Records an operation on some rows and returns its results, (rows, …). */
export type RecordRows = (cl: Recorder, take: TakeRows, rows: number) => readonly Tensor[]

/** Takes rows with these ids. Tensors are told apart by the order in which they are asked for. */
function taker(device: Device, ids: readonly number[]): TakeRows {
  let seed = 0
  return (shape, { dtype = 'float32', scale = 1, numberOf, place = placeTogether } = {}) => {
    seed += 1
    const width = elementCount(shape)
    const values = ids.flatMap((id) =>
      numberOf
        ? new Array<number>(width).fill(numberOf(id))
        : rounded(seededNormals(1000 * seed + id)(width, scale), dtype),
    )
    return place(device, dtype, [ids.length, ...shape], values)
  }
}

/** The bytes of each row, as text. */
function rowBits(tensor: Tensor): string[] {
  const { buffer, byteOffset, byteLength } = tensor.read()
  const bytes = Buffer.from(buffer, byteOffset, byteLength)
  const rows = tensor.shape[0]!
  const length = byteLength / rows
  return Array.from({ length: rows }, (_, r) => bytes.toString('hex', r * length, (r + 1) * length))
}

/**
 * Computes every row alone, then rows in every count and at changing places. Returns where bits differ, and how
 * many rows were compared.
 */
export async function rowsThatDiffer(
  device: Device,
  record: RecordRows,
): Promise<{ differing: { rows: number; row: number; result: number }[]; compared: number }> {
  const groups = [
    ...Array.from({ length: MOST }, (_, id) => [id]),
    // 5 and the number of rows have no common divisor: no row comes twice.
    ...COUNTS.slice(1).map((count) =>
      Array.from({ length: count }, (_, r) => (5 * r + count) % MOST),
    ),
  ]
  const results: (readonly Tensor[])[] = []
  await runOnce(device, (cl) => {
    for (const ids of groups) results.push(record(cl, taker(device, ids), ids.length))
  })
  const bits = results.map((tensors) => tensors.map(rowBits))
  const differing: { rows: number; row: number; result: number }[] = []
  let compared = 0
  for (const [group, ids] of groups.entries()) {
    for (const [result, rows] of bits[group]!.entries()) {
      for (const [row, own] of rows.entries()) {
        compared += 1
        if (own === bits[ids[row]!]![result]![0]) continue
        differing.push({ rows: ids.length, row, result })
      }
    }
  }
  return { differing, compared }
}

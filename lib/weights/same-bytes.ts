// Whether two tensors of a checkpoint hold the same.

import type { TensorEntry } from './checkpoint.js'
import { FileReader } from './file-reader.js'

const PIECE = 4 * 2 ** 20

/**
 * Whether two tensors are the same, byte for byte, laid out alike. Reads no more than it takes to find a
 * difference, and nothing where both are one place in a file.
 */
export async function haveSameBytes(a: TensorEntry, b: TensorEntry): Promise<boolean> {
  const layout = ({ dtype, shape, strides }: TensorEntry) =>
    JSON.stringify([dtype, shape, strides ?? null])
  if (layout(a) !== layout(b) || a.byteLength !== b.byteLength) return false
  if (a.file === b.file && a.byteOffset === b.byteOffset) return true
  return FileReader.use(a.file, (fileA) =>
    FileReader.use(b.file, async (fileB) => {
      for (let done = 0; done < a.byteLength; done += PIECE) {
        const length = Math.min(PIECE, a.byteLength - done)
        const pieceA = await fileA.read(a.byteOffset + done, length, `tensor ${a.name}`)
        const pieceB = await fileB.read(b.byteOffset + done, length, `tensor ${b.name}`)
        if (!pieceA.equals(pieceB)) return false
      }
      return true
    }),
  )
}

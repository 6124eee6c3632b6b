// Writing a file so that nobody ever sees half of it.

import { randomUUID } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'

/**
 * Writes a file beside `path` and gives it that name once it is complete: whoever has the old file open
 * or mapped keeps it as it was, and a failure leaves it in place, of the power too. Throws what `write`
 * throws, and the errors of `fs`.
 *
 * @example
 * await replaceFile('out.bin', async (file) => {
 *   for (const piece of pieces) await file.writeFile(piece)
 * })
 */
export async function replaceFile(
  path: string,
  write: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const partial = `${path}.${randomUUID()}.partial`
  try {
    const file = await open(partial, 'wx')
    try {
      await write(file)
      // A system may write down the new name before the bytes that belong to it.
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(partial, path)
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
}

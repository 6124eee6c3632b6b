// Writing a file so that nobody ever sees half of it.

import { randomUUID } from 'node:crypto'
import { type FileHandle, open, realpath, rename, rm, stat } from 'node:fs/promises'
import { isMissing } from '../support/small-file.js'

/**
 * Writes a file beside `path` and gives it that name once it is complete: whoever has the old file open
 * or mapped keeps it as it was, and a failure leaves it in place, of the power too. Throws what `write`
 * throws, and the errors of `fs`. A link stays, and leads to the new file. What is there and no regular file, such as a folder
 * or a device, is refused.
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
  const target = await targetOf(path)
  const partial = `${target}.${randomUUID()}.partial`
  try {
    const file = await open(partial, 'wx')
    try {
      await write(file)
      // A system may write down the new name before the bytes that belong to it.
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(partial, target)
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
}

// Where the file lies, or shall lie.
async function targetOf(path: string): Promise<string> {
  try {
    const target = await realpath(path)
    if ((await stat(target)).isFile()) return target
  } catch (error) {
    if (isMissing(error)) return path
    throw error
  }
  throw new Error(`${path}: cannot be replaced: not a regular file`)
}

// --session FILE: where there is no file yet, one will be written.

import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isMissing } from '../support/small-file.js'

/**
 * What `load` resolves to; undefined where there is no file yet.
 *
 * @throws what `load` throws for other reasons, and Error where no file can be written: said before any text is
 *   generated, not after it.
 */
export async function loadIfThere<T>(file: string, load: () => Promise<T>): Promise<T | undefined> {
  try {
    return await load()
  } catch (error) {
    const { cause } = error as Error
    if (cause === undefined || !isMissing(cause)) throw error
    const folder = dirname(file)
    await access(folder, constants.W_OK).catch((error: Error) => {
      throw new Error(`--session ${file}: no file can be written in ${folder}: ${error.message}`)
    })
    return undefined
  }
}

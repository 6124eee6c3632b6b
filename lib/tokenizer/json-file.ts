// Reads the JSON files of a tokenizer. They come from the network and are trusted in nothing.

import { open, stat } from 'node:fs/promises'
import { CorruptFileError } from '../support/errors.js'
import { isMissing } from '../support/small-file.js'
import { mistakenFor } from '../weights/file-reader.js'
import { parseConfigJson } from '../support/json.js'
import { messageOf } from '../support/realms.js'

/** The largest tokenizer file read, in bytes. The largest published ones are about 35 MB. */
const maximumFileBytes = 256 * 1024 * 1024

/** The values of a file, with its path for messages. */
export interface JsonFile {
  readonly file: string
  readonly values: Readonly<Record<string, unknown>>
}

/** A value in an error message, short whatever it is. */
export function describe(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object') return 'an object'
  const shown = JSON.stringify(value) ?? typeof value
  return shown.length > 60 ? `${shown.slice(0, 57)}...` : shown
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** JSON, in which Python may have written `Infinity` (of a `model_max_length`, say), or an editor a byte order mark. */
function parsePythonJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    try {
      return parseConfigJson(text, file)
    } catch {
      throw error
    }
  }
}

/**
 * Reads a JSON object from `file`; `undefined` if there is no such file.
 *
 * @throws CorruptFileError if it is not a file, too large, or not a JSON object.
 * @example const config = await readJsonObject('tokenizer_config.json')
 */
export async function readJsonObject(file: string): Promise<Record<string, unknown> | undefined> {
  let size: number
  try {
    const status = await stat(file)
    // Checked before it is opened, for opening a pipe would wait for a writer.
    if (!status.isFile()) {
      throw new CorruptFileError(
        `${file}: must be a file but is ${status.isDirectory() ? 'a folder' : 'a device or pipe'}`,
      )
    }
    size = status.size
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
  if (size > maximumFileBytes) {
    throw new CorruptFileError(`${file}: must be at most ${maximumFileBytes} bytes but has ${size}`)
  }
  const handle = await open(file, 'r')
  let text: string
  try {
    text = await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
  let json: unknown
  try {
    json = parsePythonJson(text, file)
  } catch (error) {
    const reason = messageOf(error)
    const mistake = mistakenFor(Buffer.from(text.slice(0, 64)), file)
    throw new CorruptFileError(`${file}: must be JSON but is not: ${reason}${mistake}`, {
      cause: error,
    })
  }
  if (!isObject(json)) {
    throw new CorruptFileError(`${file}: the file must be a JSON object but is ${describe(json)}`)
  }
  return json
}

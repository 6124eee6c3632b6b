// Small files of ours in the user's cache: read without trust, replaced as a whole.

import { closeSync, constants, fstatSync, mkdirSync, openSync, readSync } from 'node:fs'
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { CorruptFileError } from './errors.js'
import { describe } from './option-checks.js'
import type { JsonObject } from './json.js'

let written = 0

/**
 * The text of a file; undefined when there is none.
 *
 * @throws CorruptFileError, led by the path, for what cannot be read, is no file or has more bytes than
 *   `largest`.
 */
export function readSmallFile(path: string, largest: number): string | undefined {
  let file: number
  try {
    // Without waiting for a writer, should it be a pipe.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw new CorruptFileError(`${path}: cannot be read: ${(error as Error).message}`)
  }
  try {
    if (!fstatSync(file).isFile()) throw new CorruptFileError(`${path}: is not a file`)
    const bytes = Buffer.alloc(largest + 1)
    const length = readSync(file, bytes, 0, bytes.length, 0)
    if (length > largest) throw new CorruptFileError(`${path}: is larger than ${largest} bytes`)
    return bytes.toString('utf8', 0, length)
  } finally {
    closeSync(file)
  }
}

/**
 * Replaces a file as a whole, with its folder if there is none: whoever reads it, or interrupts this,
 * has the old one or the new one. Throws the errors of `fs`.
 */
export function writeSmallFile(path: string, text: string): void {
  // Other processes and other workers may write at the same time.
  const beside = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}.${written++}.new`
  mkdirSync(dirname(path), { recursive: true })
  try {
    writeFileSync(beside, text, { flag: 'wx' })
    renameSync(beside, path)
  } catch (error) {
    rmSync(beside, { force: true })
    throw error
  }
}

/** Whether an error of `fs` says that there is no such file. */
export function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')
}

/** A text of a JSON file that must match; otherwise throws `CorruptFileError`. */
export function textOf(json: JsonObject, key: string, path: string, pattern: RegExp): string {
  const value = json[key]
  if (typeof value === 'string' && pattern.test(value)) return value
  throw new CorruptFileError(
    `${path}: "${key}" must be a text of its form but is ${describe(value)}`,
  )
}

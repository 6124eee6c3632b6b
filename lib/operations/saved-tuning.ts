// The winners that `tune` keeps for this machine: a small JSON in the user's cache. What stands in it
// is not trusted, and it counts only for the GPU, the system and the version that it was measured with.

import { rmSync } from 'node:fs'
import { platform, release } from 'node:os'
import { resolve } from 'node:path'
import { cacheFolder, ownCacheFile } from '../machine/cache-folder.js'
import { CorruptFileError } from '../support/errors.js'
import type { OnNotice } from '../support/notices.js'
import { describe } from '../support/option-checks.js'
import { isMissing, readSmallFile, textOf, writeSmallFile } from '../support/small-file.js'
import { checkTuning, type Tuning, tunables } from './tuning.js'
import { VERSION } from '../support/version.js'
import { parseJsonObject } from '../support/json.js'

export interface SavedTuning {
  /** As its driver names it. */
  gpu: string
  /** Operating system and its main version: with it comes another compiler of kernels. */
  system: string
  /** Of this package. */
  version: string
  /** When, in ISO 8601. */
  measured: string
  /** A value for everything that is tuned. */
  tuning: Tuning
}

const FORMAT = 'ssm-metal tuning 1'
const LARGEST = 64 * 1024 // bytes; ours are a few hundred

/**
 * Where the winners are kept: XDG_CACHE_HOME or ~/.cache, then ssm-metal/tuning.json. Throws where there is
 * no such folder.
 */
export function savedTuningPath(): string {
  return resolve(ownCacheFile('tuning.json'))
}

/** Operating system and its main version. */
export function systemName(): string {
  return `${platform()} ${release().split('.')[0]}`
}

/**
 * What was saved for this system and this version; undefined when nothing was, or for others.
 *
 * @throws CorruptFileError if there is something else, led by its path.
 */
export function readSavedTuning(): SavedTuning | undefined {
  if (cacheFolder() === undefined) return undefined
  const path = savedTuningPath()
  const text = readSmallFile(path, LARGEST)
  if (text === undefined) return undefined
  const rules = { nonFinite: false, duplicateKeys: false, maxDepth: 4 }
  const json = parseJsonObject(text, path, rules)
  if (json.format !== FORMAT) {
    throw new CorruptFileError(
      `${path}: "format" must be ${JSON.stringify(FORMAT)} but is ${describe(json.format)}`,
    )
  }
  const [gpu, system, version] = ['gpu', 'system', 'version'].map((key) =>
    textOf(json, key, path, /^[^\p{C}]{1,200}$/u),
  ) as [string, string, string]
  const measured = textOf(json, 'measured', path, /^\d{4}-\d\d-\d\dT[\d:.]{8,12}Z$/)
  // What another version tuned need not exist in this one.
  if (system !== systemName() || version !== VERSION) return undefined
  let tuning: Tuning
  try {
    tuning = checkTuning('tuning', json.tuning)
  } catch (error) {
    throw new CorruptFileError(`${path}: ${(error as Error).message}`)
  }
  const missing = tunables().find(({ name }) => !Object.hasOwn(tuning, name))
  if (missing) throw new CorruptFileError(`${path}: "tuning" has no ${missing.name}`)
  return { gpu, system, version, measured, tuning }
}

/** The same, but a file that is damaged counts for nothing: a notice says so, and nobody is kept from computing. */
export function usableSavedTuning(onNotice?: OnNotice): SavedTuning | undefined {
  try {
    return readSavedTuning()
  } catch (error) {
    if (!(error instanceof CorruptFileError)) throw error
    onNotice?.({
      code: 'TUNING_IGNORED',
      message: `ignoring the saved tuning: ${error.message} (\`ssm-metal tune --reset\` removes it)`,
    })
    return undefined
  }
}

/** Replaces the file as a whole: whoever reads it, or interrupts this, has the old one or the new one. */
export function writeSavedTuning(saved: SavedTuning): void {
  const json = { format: FORMAT, ...saved }
  writeSmallFile(savedTuningPath(), `${JSON.stringify(json, undefined, 2)}\n`)
}

/** Whether there was one. */
export function removeSavedTuning(): boolean {
  const path = savedTuningPath()
  try {
    rmSync(path)
    return true
  } catch (error) {
    if (isMissing(error)) return false
    throw error
  }
}

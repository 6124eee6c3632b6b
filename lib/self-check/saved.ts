// What checks found on this machine: a small JSON in the user's cache. What stands in it is not trusted;
// a file that is damaged, of another version or unreadable counts for nothing, and one that cannot be
// written only means that the checks run again.

import { readFileSync, statSync } from 'node:fs'
import { cpus, platform, release, version as systemVersion } from 'node:os'
import { resolve } from 'node:path'
import { addonFile } from '../operations/addon.js'
import { cacheFolder, ownCacheFile } from '../machine/cache-folder.js'
import type { Device } from '../operations/device.js'
import { CorruptFileError } from '../support/errors.js'
import type { OperationName } from '../operations/recorder.js'
import { operationTable } from '../operations/table.js'
import { readSmallFile, textOf, writeSmallFile } from '../support/small-file.js'
import type { Outcome } from '../verify/verify.js'
import { VERSION } from '../support/version.js'
import { isJsonObject, type JsonObject, type JsonValue, parseJsonObject } from '../support/json.js'

/** What a check found, and when. */
export interface SavedOutcome extends Outcome {
  /** In ISO 8601. */
  checked: string
}

/** A check in this very process that has begun. When its process is gone, it was the end of it. */
export interface UnderWay {
  id: string
  process: number
  /** How often in a row a process ended in it, this one included. */
  attempts: number
}

/** All that is known of one device. */
export interface DeviceRecord {
  outcomes: Map<string, SavedOutcome>
  underWay: UnderWay | undefined
}

const FORMAT = 'ssm-metal checks 1'
const LARGEST = 256 * 1024 // bytes; a model has about ten checks of 200 bytes
/** Devices that are remembered: those written last. A new system or version makes a new one. */
const MOST_DEVICES = 16
const MOST_CHECKS = 200

const TEXT = /^[^\p{C}]{1,1000}$/u
const TIME = /^\d{4}-\d\d-\d\dT[\d:.]{8,12}Z$/

/**
 * Where it is kept: XDG_CACHE_HOME or ~/.cache, then ssm-metal/checks.json. Throws where there is no such
 * folder.
 */
export function savedChecksPath(): string {
  return resolve(ownCacheFile('checks.json'))
}

/**
 * What decides over a device's results, as one text: the hardware, the system's build, this package's
 * version and what its kernels are tuned to.
 */
export function deviceKey(device: Device): string {
  const hardware = device.gpu ?? `${cpus()[0]?.model.trim() ?? 'unknown'}, ${device.cpuLevel}`
  const tuning = Object.entries(device.tuning ?? {}).map(([name, value]) => `${name}=${value}`)
  const parts = [device.name, hardware, systemBuild(), `${VERSION}${localBuild()}`, ...tuning]
  return parts
    .join('; ')
    .replace(/[\p{C}]/gu, ' ')
    .slice(0, 1000)
}

// A prebuilt binary is that of its version. What was compiled here may be built again.
function localBuild(): string {
  const { path, name } = addonFile()
  if (name.startsWith('prebuilds')) return ''
  const { size, mtimeMs } = statSync(path)
  return `, built here (${size}, ${Math.round(mtimeMs)})`
}

let build: string | undefined

/** The build of the operating system: with it comes another driver and another compiler of kernels. */
function systemBuild(): string {
  build ??= `${platform()} ${release()} ${macBuild() ?? systemVersion()}`
  return build
}

function macBuild(): string | undefined {
  if (platform() !== 'darwin') return undefined
  try {
    return buildOf(readFileSync('/System/Library/CoreServices/SystemVersion.plist', 'utf8'))
  } catch {
    return undefined // the kernel's version, then
  }
}

/** The build of a macOS, such as 24F74, from its SystemVersion.plist. */
export function buildOf(plist: string): string | undefined {
  return /<key>ProductBuildVersion<\/key>\s*<string>([^<]{1,40})<\/string>/.exec(plist)?.[1]
}

/** What is known of a device. */
export function readDeviceRecord(key: string): DeviceRecord {
  return readAll().get(key) ?? { outcomes: new Map(), underWay: undefined }
}

/**
 * Adds to what is known of a device. Another process may do so at the same time: the file stays whole,
 * and what one of them found may have to be found again.
 */
export function writeDeviceRecord(
  key: string,
  outcomes: Iterable<readonly [id: string, outcome: SavedOutcome]>,
  underWay?: UnderWay,
): void {
  const all = readAll()
  const merged = new Map([...(all.get(key)?.outcomes ?? []), ...outcomes])
  all.delete(key)
  all.set(key, { outcomes: merged, underWay })
  const devices = [...all].slice(-MOST_DEVICES).map(([key, record]) => ({
    key,
    ...(record.underWay && { underWay: record.underWay }),
    checks: [...record.outcomes].slice(-MOST_CHECKS).map(([id, outcome]) => ({ id, ...outcome })),
  }))
  try {
    const json = { format: FORMAT, devices }
    writeSmallFile(savedChecksPath(), `${JSON.stringify(json, undefined, 2)}\n`)
  } catch {
    // Nobody is kept from computing.
  }
}

function readAll(): Map<string, DeviceRecord> {
  if (cacheFolder() === undefined) return new Map()
  const path = savedChecksPath()
  try {
    const text = readSmallFile(path, LARGEST)
    if (text === undefined) return new Map()
    const rules = { nonFinite: false, duplicateKeys: false, maxDepth: 6 }
    const json = parseJsonObject(text, path, rules)
    if (json.format !== FORMAT) return new Map()
    return new Map(objectsOf(json.devices, path).map((device) => recordOf(device, path)))
  } catch (error) {
    if (error instanceof CorruptFileError) return new Map()
    throw error
  }
}

function recordOf(json: JsonObject, path: string): [string, DeviceRecord] {
  const checks = objectsOf(json.checks, path).map((check): [string, SavedOutcome] => [
    textOf(check, 'id', path, TEXT),
    outcomeOf(check, path),
  ])
  const record = { outcomes: new Map(checks), underWay: underWayOf(json.underWay, path) }
  return [textOf(json, 'key', path, TEXT), record]
}

function outcomeOf(json: JsonObject, path: string): SavedOutcome {
  const operation = textOf(json, 'operation', path, TEXT)
  if (!operationTable().has(operation) || typeof json.passed !== 'boolean') {
    throw new CorruptFileError(`${path}: a check has no operation or no result`)
  }
  return {
    operation: operation as OperationName,
    dtype: textOf(json, 'dtype', path, TEXT),
    shape: textOf(json, 'shape', path, TEXT),
    passed: json.passed,
    // JSON has no NaN.
    error: typeof json.error === 'number' ? json.error : Number.NaN,
    limit: typeof json.limit === 'number' ? json.limit : Number.NaN,
    ...(json.failure !== undefined && { failure: textOf(json, 'failure', path, /^[^\0]+$/) }),
    checked: textOf(json, 'checked', path, TIME),
  }
}

function underWayOf(json: JsonValue | undefined, path: string): UnderWay | undefined {
  if (json === undefined) return undefined
  if (!isJsonObject(json)) throw new CorruptFileError(`${path}: "underWay" must be an object`)
  const [process, attempts] = [json.process, json.attempts].map((value) => {
    if (Number.isSafeInteger(value) && (value as number) > 0) return value as number
    throw new CorruptFileError(`${path}: "underWay" must have whole numbers`)
  }) as [number, number]
  return { id: textOf(json, 'id', path, TEXT), process, attempts }
}

function objectsOf(json: JsonValue | undefined, path: string): JsonObject[] {
  if (Array.isArray(json) && json.every(isJsonObject)) return json
  throw new CorruptFileError(`${path}: expected a list of objects`)
}

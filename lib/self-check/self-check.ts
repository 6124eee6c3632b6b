// Before a device computes for a model, it is checked for what this model uses: once on a machine, as
// long as hardware, system, version and tuning are the same.
//
// The Metal device is checked in a process of its own where one can be started, because a driver, or we,
// may crash. The CPU device is checked too: its fast levels are chosen by the processor, built by a cross
// compiler, and what a device that fails falls back to. That takes a few milliseconds in this process,
// where a level that the processor does not have has never been chosen.

import {
  createDevice,
  type Device,
  type DeviceName,
  type DeviceOptions,
  referenceDevice,
} from '../device.js'
import { SelfCheckError, UnsupportedOptionError } from '../errors.js'
import type { OnNotice } from '../notices.js'
import type { Outcome } from '../verify/verify.js'
import { canStartChild, CHILD_LIMITS, type ChildLimits, checkInChild } from './child.js'
import { type CheckSizeName, checksOf } from './checks.js'
import type { Needs } from './needs.js'
import { type CheckRequest, runChecks } from './run.js'
import {
  deviceKey,
  readDeviceRecord,
  type SavedOutcome,
  savedChecksPath,
  type UnderWay,
  writeDeviceRecord,
} from './saved.js'

export interface SelfCheckOptions {
  signal?: AbortSignal | undefined
  onNotice?: OnNotice | undefined
}

/** What of a check is not the caller's to choose. Tests do. */
export interface CheckSettings {
  /** Defaults to `full` for Metal and `short` for the CPU. */
  size?: CheckSizeName
  limits?: ChildLimits
  /** Defaults to `canStartChild()`. */
  inChild?: boolean
}

/** A check that did not pass counts so long: what failed may have been a machine out of memory. */
const FAILURE_HOURS = 24
/** Processes that may end in the same check before it is given up. */
const MOST_ATTEMPTS = 2

/**
 * A device that has passed its checks for a model: of `auto` Metal if it did, else the CPU; of the CPU's
 * instruction sets the best one if it did, else the plain loops. A notice says which was not used and why.
 *
 * @throws SelfCheckError when Metal was asked for by name and a check did not pass, what `createDevice`
 *   throws, and `signal.reason`.
 */
export async function createCheckedDevice(
  name: DeviceName | undefined,
  options: DeviceOptions,
  needsOn: (device: Device) => Needs,
  { signal, onNotice }: SelfCheckOptions = {},
): Promise<Device> {
  const device = createDevice(name, options)
  let failure: Outcome | undefined
  try {
    failure = await failedCheck(device, needsOn(device), signal)
  } catch (error) {
    device.dispose()
    throw error
  }
  if (!failure) return device
  device.dispose()
  const again = `${VARIABLE}=always checks it again`
  if (device.name === 'cpu') {
    const message = `the ${device.cpuLevel} code of the CPU device is not used, because its self-check failed: ${describeFailure(failure)}; the plain loops compute instead, slowly (${again})`
    onNotice?.({ code: 'SELF_CHECK_FAILED', message })
    return referenceDevice()
  }
  const reason = `the GPU (${device.gpu}) failed its self-check: ${describeFailure(failure)}`
  if (name === 'metal') {
    throw new SelfCheckError(
      `[loadModel] device 'metal' cannot be used: ${reason}. Use 'cpu', or 'auto', which takes the CPU here; ${again}, ${VARIABLE}=off skips it`,
      failure,
    )
  }
  const message = `computing on the CPU, because ${reason} (${again})`
  onNotice?.({ code: 'SELF_CHECK_FAILED', message })
  return createCheckedDevice('cpu', options, needsOn, { signal, onNotice })
}

/** What is known of a device on this machine. */
export interface SelfCheckSummary {
  result: 'passed' | 'failed' | 'not checked'
  /** Checks that count. */
  checks: number
  /** When the last one ran, in ISO 8601. */
  checked?: string
  /** The operation that failed, and how. */
  failure?: string
}

/** What earlier checks found of a device, whatever the model. Checks nothing. */
export function selfCheckSummary(device: Device): SelfCheckSummary {
  const outcomes = [...outcomesOf(deviceKey(device)).values()].filter(
    (outcome) => outcome.passed || counts(outcome),
  )
  if (outcomes.length === 0) return { result: 'not checked', checks: 0 }
  const checked = outcomes
    .map(({ checked }) => checked)
    .sort()
    .at(-1)!
  const failure = outcomes.find(({ passed }) => !passed)
  const facts = { checks: outcomes.length, checked }
  if (!failure) return { result: 'passed', ...facts }
  return { result: 'failed', ...facts, failure: describeFailure(failure) }
}

/** The operation, what it computed with, and how far off it is. */
export function describeFailure(outcome: Outcome): string {
  const { operation, dtype, shape, error, limit, failure } = outcome
  return `[${operation}] ${dtype}, ${shape}: ${failure ?? figures(error, limit)}`
}

function figures(error: number, limit: number): string {
  if (!Number.isFinite(error)) return 'a result is not a finite number'
  const off = `a result is off by ${error.toPrecision(2)}`
  return limit === 0 ? `${off}, where none may be` : `${off}, more than ${limit.toPrecision(2)}`
}

/** The environment variable that decides whether devices are checked. */
export const VARIABLE = 'SSM_METAL_SELF_CHECK'
// `short` and `tiny` are for tests on emulated devices.
const MODES = ['off', 'always', 'short', 'tiny'] as const

function mode(): (typeof MODES)[number] | undefined {
  const value = process.env[VARIABLE]
  if (value === undefined || value === '') return undefined
  const found = MODES.find((mode) => mode === value)
  if (found) return found
  throw new UnsupportedOptionError(
    `[loadModel] the environment variable ${VARIABLE} must be off or always but is ${JSON.stringify(value)}`,
  )
}

/** The first check of a device that did not pass; undefined when all did or none is needed. */
async function failedCheck(
  device: Device,
  needs: Needs,
  signal: AbortSignal | undefined,
): Promise<Outcome | undefined> {
  const wanted = mode()
  // The plain loops are what everything is held against.
  if (wanted === 'off' || device.cpuLevel === 'reference') return undefined
  const size = wanted === 'short' || wanted === 'tiny' ? wanted : undefined
  return checkDevice(device, needs, { again: wanted === 'always', signal }, size ? { size } : {})
}

/** What this process knows, should the cache not be writable: by cache and device, then by check. */
const known = new Map<string, Map<string, SavedOutcome>>()
const knownKey = (key: string) => `${savedChecksPath()} ${key}`
let turn: Promise<unknown> = Promise.resolve()

/**
 * The first check of a device that does not pass, from what is known or by checking; undefined when all
 * do. Rejects with `signal.reason`.
 *
 * @internal
 */
export async function checkDevice(
  device: Device,
  needs: Needs,
  { again = false, signal }: { again?: boolean; signal?: AbortSignal | undefined } = {},
  settings: CheckSettings = {},
): Promise<Outcome | undefined> {
  const size = settings.size ?? (device.name === 'metal' ? 'full' : 'short')
  const key = deviceKey(device)
  const ids = checksOf(needs, size).map(({ id }) => id)
  const decided = () => (again ? undefined : decide(key, ids))
  const before = decided()
  if (before) return before.failure
  // One at a time: two models that are loaded together need the same checks.
  const mine = turn.then(async () => {
    signal?.throwIfAborted()
    const meanwhile = decided()
    if (meanwhile) return meanwhile.failure
    const missing = again ? ids : ids.filter((id) => !outcomesOf(key).get(id)?.passed)
    return check(device, key, { needs, size, ids: missing }, settings, signal)
  })
  turn = mine.catch(() => {})
  return mine
}

/** What is known: of this process, and of all others on this machine. */
function outcomesOf(key: string): Map<string, SavedOutcome> {
  return new Map([...readDeviceRecord(key).outcomes, ...(known.get(knownKey(key)) ?? [])])
}

/** What is known decides when one check has failed, or all have passed. */
function decide(key: string, ids: readonly string[]): { failure?: Outcome } | undefined {
  const outcomes = outcomesOf(key)
  const relevant = ids.flatMap((id) => outcomes.get(id) ?? [])
  const failure = relevant.find((outcome) => !outcome.passed && counts(outcome))
  if (failure) return { failure }
  return relevant.length === ids.length && relevant.every(({ passed }) => passed) ? {} : undefined
}

function counts({ checked }: SavedOutcome): boolean {
  const age = Date.now() - Date.parse(checked)
  return age >= 0 && age < FAILURE_HOURS * 3_600_000
}

async function check(
  device: Device,
  key: string,
  request: CheckRequest,
  settings: CheckSettings,
  signal: AbortSignal | undefined,
): Promise<Outcome | undefined> {
  let failure: Outcome | undefined
  const found = new Map<string, SavedOutcome>()
  const ended = (id: string, outcome: Outcome) => {
    if (!outcome.passed) failure = outcome
    found.set(id, { ...outcome, checked: new Date().toISOString() })
  }
  try {
    if (device.name === 'metal' && (settings.inChild ?? canStartChild())) {
      const end = await checkInChild(
        { ...request, tuning: device.tuning ?? {} },
        { ended },
        settings.limits ?? CHILD_LIMITS,
        signal,
      )
      if (end.kind === 'failed') {
        const id = end.id ?? request.ids[0]!
        ended(id, failureOf(request, id, end.failure))
      }
      if (end.kind !== 'not started') return failure
    }
    await checkHere(device, key, request, ended, signal)
    return failure
  } finally {
    remember(key, found)
  }
}

function remember(key: string, found: ReadonlyMap<string, SavedOutcome>): void {
  known.set(knownKey(key), new Map([...(known.get(knownKey(key)) ?? []), ...found]))
  writeDeviceRecord(key, found)
}

/** In this process. What crashes now crashes the application, but not every time that it is started. */
async function checkHere(
  device: Device,
  key: string,
  request: CheckRequest,
  ended: (id: string, outcome: Outcome) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (device.name === 'cpu') return runChecks(device, request, { ended }, signal)
  const last = readDeviceRecord(key).underWay
  const isFatal = last && request.ids.includes(last.id) && !isAlive(last.process)
  const fatal = isFatal ? last : undefined
  if (fatal && fatal.attempts >= MOST_ATTEMPTS) {
    const failure = `${fatal.attempts} processes ended while they checked it`
    return ended(fatal.id, failureOf(request, fatal.id, failure))
  }
  const begins = (id: string) => {
    const attempts = fatal?.id === id ? fatal.attempts + 1 : 1
    const underWay: UnderWay = { id, process: process.pid, attempts }
    writeDeviceRecord(key, [], underWay)
  }
  return runChecks(device, request, { begins, ended }, signal)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Of a check that gave no outcome. */
function failureOf({ needs, size }: CheckRequest, id: string, failure: string): Outcome {
  const { operation, dtype, shape } = checksOf(needs, size).find((check) => check.id === id)!
  return { operation, dtype, shape, passed: false, error: Number.NaN, limit: Number.NaN, failure }
}

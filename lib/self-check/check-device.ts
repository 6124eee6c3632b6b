// Checks a device for a model, unless what is known decides: in another process where one can be
// started, else in this one.

import type { Signal } from '../support/abort.js'
import type { Device } from '../operations/device.js'
import type { Outcome } from '../verify/verify.js'
import { canStartChild, CHILD_LIMITS, type ChildLimits, checkInChild } from './child.js'
import { type CheckSizeName, checksOf } from './checks.js'
import { decide, outcomesOf, remember } from './known.js'
import type { Needs } from './needs.js'
import { type CheckRequest, runChecks } from './run.js'
import {
  deviceKey,
  readDeviceRecord,
  type SavedOutcome,
  type UnderWay,
  writeDeviceRecord,
} from './saved.js'
import { takeTurns } from './turns.js'
import { isAlive } from '../support/processes.js'

export interface CheckOptions {
  /** Ignores what is known. Defaults to false. */
  again?: boolean
  signal?: Signal | undefined
  /** Called as checks begin and end. Not called when what is known decides. */
  onProgress?: ((done: number, total: number) => void) | undefined
}

/** What of a check is not the caller's to choose. Tests do. */
export interface CheckSettings {
  /** Defaults to `full` for Metal and `short` for the CPU. */
  size?: CheckSizeName
  limits?: ChildLimits
  /** Defaults to `canStartChild()`. */
  inChild?: boolean
}

/** Processes that may end in the same check before it is given up. */
const MOST_ATTEMPTS = 2

const inTurn = takeTurns()

/**
 * The first check of a device that does not pass, from what is known or by checking; undefined when all
 * do. Rejects with `signal.reason`.
 *
 * @internal
 */
export async function checkDevice(
  device: Device,
  needs: Needs,
  { again = false, signal, onProgress }: CheckOptions = {},
  settings: CheckSettings = {},
): Promise<Outcome | undefined> {
  const size = settings.size ?? (device.name === 'metal' ? 'full' : 'short')
  const key = deviceKey(device)
  const ids = checksOf(needs, size).map(({ id }) => id)
  const decided = () => (again ? undefined : decide(key, ids))
  const before = decided()
  if (before) return before.failure
  // One at a time: two models that are loaded together need the same checks.
  return inTurn(async () => {
    const meanwhile = decided()
    if (meanwhile) return meanwhile.failure
    const missing = again ? ids : ids.filter((id) => !outcomesOf(key).get(id)?.passed)
    onProgress?.(0, missing.length)
    return check(device, key, { needs, size, ids: missing }, settings, { signal, onProgress })
  }, signal)
}

async function check(
  device: Device,
  key: string,
  request: CheckRequest,
  settings: CheckSettings,
  { signal, onProgress }: CheckOptions,
): Promise<Outcome | undefined> {
  let failure: Outcome | undefined
  const found = new Map<string, SavedOutcome>()
  const ended = (id: string, outcome: Outcome) => {
    if (!outcome.passed) failure = outcome
    found.set(id, { ...outcome, checked: new Date().toISOString() })
    onProgress?.(found.size, request.ids.length)
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

/** In this process. What crashes now crashes the application, but not every time that it is started. */
async function checkHere(
  device: Device,
  key: string,
  request: CheckRequest,
  ended: (id: string, outcome: Outcome) => void,
  signal: Signal | undefined,
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

/** Of a check that gave no outcome. */
function failureOf({ needs, size }: CheckRequest, id: string, failure: string): Outcome {
  const { operation, dtype, shape } = checksOf(needs, size).find((check) => check.id === id)!
  return { operation, dtype, shape, passed: false, error: Number.NaN, limit: Number.NaN, failure }
}

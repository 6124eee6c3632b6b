// What is known of devices: what this process found, and what all others on this machine did.

import { addon } from '../operations/addon.js'
import { cacheFolder } from '../machine/cache-folder.js'
import { createDevice } from '../operations/create-device.js'
import type { Device } from '../operations/device.js'
import type { Outcome } from '../verify/verify.js'
import { describeFailure } from './describe.js'
import { deviceKey, readDeviceRecord, type SavedOutcome, writeDeviceRecord } from './saved.js'

/** A check that did not pass counts so long: what failed may have been a machine out of memory. */
const FAILURE_HOURS = 24
/** What this process knows, should the cache not be writable: by cache and device, then by check. */
const known = new Map<string, Map<string, SavedOutcome>>()
const knownKey = (key: string) => `${cacheFolder()} ${key}`

/** By the check's id. */
export function outcomesOf(key: string): Map<string, SavedOutcome> {
  return new Map([...readDeviceRecord(key).outcomes, ...(known.get(knownKey(key)) ?? [])])
}

/** What is known decides when one check has failed, or all have passed. */
export function decide(key: string, ids: readonly string[]): { failure?: Outcome } | undefined {
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

/** Adds what was found, here and in the cache. */
export function remember(key: string, found: ReadonlyMap<string, SavedOutcome>): void {
  known.set(knownKey(key), new Map([...(known.get(knownKey(key)) ?? []), ...found]))
  writeDeviceRecord(key, found)
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

/** The same of every device of this build. */
export function selfCheckSummaries(): Record<string, SelfCheckSummary> {
  const entries = addon()
    .deviceNames()
    .map((name) => {
      using device = createDevice(name)
      return [name, selfCheckSummary(device)]
    })
  return Object.fromEntries(entries)
}

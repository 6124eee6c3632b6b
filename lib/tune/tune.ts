// `ssm-metal tune`: which values of the table of native/metal/tuning.h are fastest on this GPU.

import { type Signal, throwIfAborted } from '../support/abort.js'
import { accessSync, constants, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { addon } from '../operations/addon.js'
import { median } from '../bench/statistics.js'
import { createDevice } from '../operations/create-device.js'
import type { Device, TuningSource } from '../operations/device.js'
import type { DeviceName } from '../operations/device-options.js'
import {
  CorruptFileError,
  DeviceNotAvailableError,
  UnsupportedOptionError,
} from '../support/errors.js'
import { describeMachine, type Machine } from '../machine/machine.js'
import type { OperationName } from '../operations/recorder.js'
import { checkOptions, describe } from '../support/option-checks.js'
import { optionNames, optionValues } from '../support/option-table.js'
import { type Tunable, type Tuning, tunables } from '../operations/tuning.js'
import { TUNE, type TuneOptions } from '../options/tune.js'
import { VERSION } from '../support/version.js'
import { measuredOperations, publishedCases, type TuneCase } from './cases.js'
import { type CaseTimes, type Decision, decide } from './decide.js'
import { dispatchesOf, type MeasureSettings, measure } from './measure.js'
import {
  readSavedTuning,
  savedTuningPath,
  systemName,
  writeSavedTuning,
} from '../operations/saved-tuning.js'
import { isError } from '../support/realms.js'

/** One operation at one shape, under the candidates of one tunable. */
export interface TunedCase {
  tunable: string
  operation: OperationName
  dtype: string
  shape: string
  /** The value before, and its median time of one operation. */
  present: number
  microseconds: number
  /** The candidate that was fastest here, and its time over that of the present value. */
  best: number
  ratio: number
}

/** What came of one tunable. */
export interface TunedValue {
  name: string
  meaning: string
  before: number
  /** `best` if it was faster by more than the noise, else `before`. */
  after: number
  /** The fastest candidate over all cases, and its time over that of `before`. */
  best: number
  ratio: number
  /** How far two measurements of `before` lay apart. */
  noise: number
  /** Cases for which the candidates differ. */
  cases: number
  /** Candidates that this GPU cannot run, and why. */
  failures: { value: number; message: string }[]
}

export interface TuneReport {
  startedAt: string
  seconds: number
  machine: Machine
  gpu: string
  rounds: number
  /** Where the values before come from. */
  source: TuningSource
  tunables: TunedValue[]
  cases: TunedCase[]
  /** A value for everything that is tuned, measured or not. */
  tuning: Tuning
  /** Where it is saved; undefined for a dry run. */
  savedTo: string | undefined
}

const THOROUGH: MeasureSettings = { rounds: 7, milliseconds: 20, coldBytes: 2 ** 28 }
const QUICK: MeasureSettings = { rounds: 5, milliseconds: 10, coldBytes: 2 ** 28 }

/**
 * Measures the candidates of everything that is tuned on this machine's GPU, as `ssm-metal tune` does,
 * and saves the winners: devices that are created from then on use them. A candidate wins when it is
 * faster than the present value by more than two measurements of the present value lie apart. Throws
 * `DeviceNotAvailableError` where there is no GPU, and `CorruptFileError` when the file to write is
 * damaged or not of ours.
 *
 * @example
 * const { tunables } = await tune({ quick: true })
 * for (const { name, before, after } of tunables) console.log(name, before, after)
 */
export async function tune(options: TuneOptions = {}): Promise<TuneReport> {
  checkOptions('tune', options, optionNames(TUNE))
  const { device, quick, dryRun } = optionValues('tune', TUNE, options)
  const { operations, signal, onProgress } = options
  if (operations !== undefined) checkOperations(operations)
  const cases = publishedCases(quick).filter(
    ({ operation }) => operations?.includes(operation) ?? true,
  )
  return tuneCases(cases, quick ? QUICK : THOROUGH, { device, dryRun, signal, onProgress })
}

/** The same, on given cases. */
export async function tuneCases(
  cases: readonly TuneCase[],
  settings: MeasureSettings,
  {
    device: name = TUNE.device.default,
    dryRun = TUNE.dryRun.default,
    signal,
    onProgress,
  }: Pick<TuneOptions, 'device' | 'dryRun' | 'signal' | 'onProgress'> = {},
): Promise<TuneReport> {
  checkThereIsGpu(name)
  checkFile(dryRun)
  const startedAt = new Date()
  const start = performance.now()
  using present = createDevice(name)
  const gpu = present.gpu!
  let tuning = present.tuning!
  const values: TunedValue[] = []
  const measured: TunedCase[] = []
  const count = new CaseCount(present, cases)
  if (count.total === 0) {
    throw new UnsupportedOptionError('[tune] nothing that is tuned changes any of these operations')
  }
  for (const tunable of tunables()) {
    const result = await tuneOne(tunable, tuning, cases, settings, signal, (label) =>
      onProgress?.({ tunable: tunable.name, label, ...count.next(tunable) }),
    )
    count.end(tunable)
    if (!result) continue
    values.push(result.value)
    measured.push(...result.cases)
    tuning = { ...tuning, [tunable.name]: result.value.after }
  }
  throwIfAborted(signal)
  const measuredAt = startedAt.toISOString()
  if (!dryRun) {
    const key = { gpu, system: systemName(), version: VERSION }
    writeSavedTuning({ ...key, measured: measuredAt, tuning })
  }
  return {
    startedAt: measuredAt,
    seconds: (performance.now() - start) / 1000,
    machine: describeMachine(),
    gpu,
    rounds: settings.rounds,
    source: present.tuningSource!,
    tunables: values,
    cases: measured,
    tuning,
    savedTo: dryRun ? undefined : savedTuningPath(),
  }
}

/** Measures the candidates of one tunable; undefined when they change nothing for any case. */
async function tuneOne(
  { name, meaning, candidates }: Tunable,
  tuning: Tuning,
  cases: readonly TuneCase[],
  settings: MeasureSettings,
  signal: Signal | undefined,
  announce: (label: string) => void,
): Promise<{ value: TunedValue; cases: TunedCase[] } | undefined> {
  const before = tuning[name]!
  const others = candidates.filter((value) => value !== before)
  const devices = [before, ...others].map((value) =>
    createDevice('metal', { tuning: { ...tuning, [name]: value } }),
  )
  try {
    const all: { given: TuneCase; times: CaseTimes }[] = []
    const failures = new Map<number, string>()
    for (const given of cases) {
      throwIfAborted(signal)
      const distinct = distinctDevices(devices, given)
      if (distinct.length === 1) continue
      announce(`${given.operation} ${given.shape}`)
      const [present, again, ...rest] = await measure(
        [devices[0]!, ...distinct.map(({ device }) => device)],
        given,
        settings,
        signal,
      )
      const times = new Map<number, number[]>()
      for (const [i, { indices }] of distinct.slice(1).entries()) {
        for (const index of indices) {
          const value = others[index - 1]!
          const result = rest[i]!
          if (isError(result)) failures.set(value, result.message)
          else times.set(value, result)
        }
      }
      if (isError(present)) throw present
      if (isError(again)) throw again
      all.push({ given, times: { present: present!, again: again!, candidates: times } })
    }
    return outcome({ name, meaning, before }, all, failures)
  } finally {
    for (const device of devices) device.dispose()
  }
}

/** Devices that dispatch a case in different ways, the first one first, with the indices of all that are alike. */
function distinctDevices(devices: readonly Device[], given: TuneCase) {
  const distinct = new Map<string, { device: Device; indices: number[] }>()
  for (const [i, dispatches] of dispatchesOf(devices, given).entries()) {
    const known = distinct.get(dispatches)
    if (known) known.indices.push(i)
    else distinct.set(dispatches, { device: devices[i]!, indices: [i] })
  }
  return [...distinct.values()]
}

function outcome(
  { name, meaning, before }: { name: string; meaning: string; before: number },
  all: readonly { given: TuneCase; times: CaseTimes }[],
  failed: ReadonlyMap<number, string>,
): { value: TunedValue; cases: TunedCase[] } | undefined {
  const failures = [...failed].map(([value, message]) => ({ value, message }))
  // What fails anywhere cannot win.
  const usable = all.map(({ given, times }) => {
    const candidates = [...times.candidates].filter(([value]) => !failed.has(value))
    return { given, times: { ...times, candidates: new Map(candidates) } }
  })
  const decision = decide(usable.map(({ times }) => times))
  if (!decision && failures.length === 0) return undefined
  const kept: Decision = decision ?? { best: before, ratio: 1, noise: 0, wins: false }
  const { best, ratio, noise, wins } = kept
  const after = wins ? best : before
  return {
    value: { name, meaning, before, after, best, ratio, noise, cases: all.length, failures },
    cases: usable.flatMap(({ given, times }): TunedCase[] => {
      const own = decide([times])
      if (!own) return []
      const { operation, dtype, shape } = given
      const microseconds = 1000 * median(times.present)
      const row = { tunable: name, operation, dtype, shape, present: before, microseconds }
      return [{ ...row, best: own.best, ratio: own.ratio }]
    }),
  }
}

/** How many cases there are to measure, by what each tunable changes before anything has won. */
class CaseCount {
  readonly #expected = new Map<string, number>()
  readonly #done = new Map<string, number>()

  constructor(present: Device, cases: readonly TuneCase[]) {
    for (const { name, candidates } of tunables()) {
      const devices = [present, ...candidates.map((value) => changed(present, name, value))]
      try {
        const affected = cases.filter((given) => distinctDevices(devices, given).length > 1)
        this.#expected.set(name, affected.length)
      } finally {
        for (const device of devices.slice(1)) device.dispose()
      }
    }
  }

  /** Before a case is measured. */
  next({ name }: Tunable): { done: number; total: number } {
    const mine = this.#done.get(name) ?? 0
    const done = sum(this.#done)
    this.#done.set(name, mine + 1)
    this.#expected.set(name, Math.max(mine + 1, this.#expected.get(name) ?? 0))
    return { done, total: this.total }
  }

  get total(): number {
    return sum(this.#expected)
  }

  end({ name }: Tunable): void {
    this.#expected.set(name, this.#done.get(name) ?? 0)
  }
}

function sum(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((all, count) => all + count, 0)
}

function changed(present: Device, name: string, value: number): Device {
  return createDevice('metal', { tuning: { ...present.tuning, [name]: value } })
}

function checkOperations(operations: unknown): void {
  if (!Array.isArray(operations) || operations.length === 0) {
    throw new TypeError(`[tune] operations must be a list of names but is ${describe(operations)}`)
  }
  const measured = measuredOperations()
  for (const name of operations) {
    if (measured.includes(name)) continue
    throw new UnsupportedOptionError(
      `[tune] operations must be of ${measured.join(', ')} but one is ${describe(name)}`,
    )
  }
}

function checkThereIsGpu(name: DeviceName): void {
  if (name === 'auto' && !addon().deviceNames().includes('metal')) {
    throw new DeviceNotAvailableError(
      '[tune] there is nothing to tune: this machine computes on the CPU, and only the kernels of a GPU have values to choose',
    )
  }
}

/** Better now than after minutes of measuring. */
function checkFile(dryRun: boolean): void {
  try {
    readSavedTuning()
  } catch (error) {
    if (!(error instanceof CorruptFileError)) throw error
    throw new CorruptFileError(`[tune] ${error.message}: \`ssm-metal tune --reset\` removes it`)
  }
  if (dryRun) return
  const folder = dirname(savedTuningPath())
  mkdirSync(folder, { recursive: true })
  accessSync(folder, constants.W_OK)
}

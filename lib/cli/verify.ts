// ssm-metal verify: what the first person on a new kind of machine runs.

import { addonFile } from '../operations/addon.js'
import { homeFolder } from '../machine/cache-folder.js'
import { createDevice, referenceDevice } from '../operations/create-device.js'
import type { OperationName } from '../operations/recorder.js'
import type { Device } from '../operations/device.js'
import type { DeviceName } from '../operations/device-options.js'
import { describeMachine } from '../machine/machine.js'
import { machineDetails } from '../machine/machine-details.js'
import { formatReport, type ReportFacts } from '../verify/report.js'
import { allCases, verifiedOperations, type Verification, verify } from '../verify/verify.js'
import { showNotice } from './notice.js'
import { defineCommand, UsageError } from './command.js'
import { formatDuration } from '../support/format.js'
import { interruptible } from './interrupt.js'
import { modelOptions } from './options.js'
import { exitCodes } from './program.js'
import { ProgressLine } from './progress.js'

export const verifyCommand = defineCommand({
  name: 'verify',
  summary: 'hold every operation of a device against the reference',
  usage: '[--device DEVICE] [options]',
  options: {
    device: { ...modelOptions.device, description: 'the device to verify' },
    threads: { ...modelOptions.threads, description: 'threads of the CPU device' },
    operation: {
      type: 'string',
      multiple: true,
      // All cases are made for it: only where it is needed.
      get choices() {
        return verifiedOperations()
      },
      placeholder: 'NAME',
      description: 'verify only this operation',
    },
    quick: { type: 'boolean', description: 'leave out the shapes of published models' },
    failures: { type: 'boolean', description: 'print only what is outside its limit' },
    report: {
      type: 'boolean',
      description: 'print one block to paste into an issue: machine, versions, results',
    },
    json: { type: 'boolean', description: 'print one JSON object a line instead of a table' },
  },
  example: 'ssm-metal verify --device metal',
  async run({ options }) {
    if (options.report && (options.json || options.failures)) {
      throw new UsageError(
        '--report prints the failures in one block: leave out --json and --failures',
      )
    }
    return interruptible((signal) =>
      options.report ? verifyForReport(options, signal) : verifyAsTable(options, signal),
    )
  },
})

interface Options {
  readonly device: string
  readonly threads: number | undefined
  readonly operation: readonly string[]
  readonly quick: boolean
  readonly failures: boolean
  readonly json: boolean
}

/** Verifies a device as the options say, with a progress line; hands out each verification. */
async function* verifications(device: Device, options: Options, signal: AbortSignal) {
  using reference = referenceDevice()
  const operations =
    options.operation.length > 0 ? (options.operation as OperationName[]) : undefined
  const line = new ProgressLine()
  const total = [...allCases(device.activationTypes)].length
  let done = 0
  try {
    const smallOnly = options.quick
    for await (const each of verify(device, reference, { operations, smallOnly, signal })) {
      line.clear()
      yield each
      done += 1
      if (!operations && !options.quick) {
        line.update({ phase: 'verify', loaded: done, total, unit: 'cases' })
      }
    }
  } finally {
    line.clear()
  }
}

async function verifyAsTable(options: Options, signal: AbortSignal): Promise<number> {
  using device = createDevice(options.device as DeviceName, {
    threads: options.threads,
    onNotice: showNotice,
  })
  let done = 0
  let failed = 0
  if (!options.json) process.stdout.write(`${row(COLUMNS)}\n`)
  for await (const verification of verifications(device, options, signal)) {
    done += 1
    if (!verification.passed) failed += 1
    if (!verification.passed || !options.failures) {
      process.stdout.write(
        `${options.json ? JSON.stringify(verification) : row(cellsOf(verification))}\n`,
      )
    }
  }
  if (!options.json) {
    const what = `${device.name} device against the plain loops of the CPU device`
    process.stdout.write(`\n${what}: ${done - failed} of ${done} within their limits\n`)
  }
  return failed === 0 && done > 0 ? exitCodes.success : exitCodes.failure
}

/** One block for an issue, also where there is no device to verify. */
async function verifyForReport(options: Options, signal: AbortSignal): Promise<number> {
  const start = performance.now()
  const facts: ReportFacts = {
    machine: describeMachine(),
    details: machineDetails(),
    addon: 'the addon did not load',
    verifications: [],
    milliseconds: 0,
    options: [
      options.quick && '--quick',
      ...options.operation.map((name) => `--operation ${name}`),
      options.threads !== undefined && `--threads ${options.threads}`,
    ]
      .filter(Boolean)
      .join(' '),
  }
  const all: Verification[] = []
  try {
    facts.addon = addonFile().name
    using device = createDevice(options.device as DeviceName, {
      threads: options.threads,
      onNotice: showNotice,
    })
    facts.device = {
      name: device.name,
      threads: device.threads,
      cpuLevel: device.cpuLevel,
      gpu: device.gpu,
      tuning: device.tuningSource,
    }
    for await (const verification of verifications(device, options, signal)) all.push(verification)
  } catch (error) {
    signal.throwIfAborted()
    // The name of a folder may be that of its owner.
    const home = homeFolder() ?? '/'
    const { message } = error as Error
    facts.failure = home === '/' ? message : message.replaceAll(home, '~')
  }
  process.stdout.write(
    formatReport({ ...facts, verifications: all, milliseconds: performance.now() - start }),
  )
  const passed = facts.failure === undefined && all.every((each) => each.passed)
  return passed && all.length > 0 ? exitCodes.success : exitCodes.failure
}

const COLUMNS = ['operation', 'dtype', 'shape', 'error', 'limit', 'time', 'GB/s', '']
const WIDTHS = [17, 29, 42, 8, 8, 8, 6, 6]

const row = (cells: readonly string[]) =>
  cells
    .map((cell, i) => (i < 3 || i === 7 ? cell.padEnd(WIDTHS[i]!) : cell.padStart(WIDTHS[i]!)))
    .join(' ')
    .trimEnd()

function cellsOf(given: Verification): string[] {
  const { operation, dtype, shape, error, limit, milliseconds, gigabytesPerSecond } = given
  if (given.failure !== undefined) return [operation, dtype, `${shape}  FAILED: ${given.failure}`]
  return [
    operation,
    dtype,
    shape,
    error === 0 ? '0' : error.toExponential(1),
    limit === 0 ? '0' : limit.toExponential(1),
    formatDuration(milliseconds),
    gigabytesPerSecond.toFixed(gigabytesPerSecond < 10 ? 2 : 0),
    given.passed ? '' : 'FAILED',
  ]
}

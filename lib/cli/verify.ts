// ssm-metal verify: what the first person on a new kind of machine runs.

import { createDevice, type DeviceName, referenceDevice } from '../device.js'
import { OPERATIONS, type OperationName } from '../operations.js'
import { allCases, type Verification, verify } from '../verify/verify.js'
import { defineCommand } from './command.js'
import { formatDuration } from '../format.js'
import { interruptible } from './interrupt.js'
import { exitCodes } from './program.js'
import { ProgressLine } from './progress.js'

export const verifyCommand = defineCommand({
  name: 'verify',
  summary: 'hold every operation of a device against the reference',
  usage: '[--device DEVICE] [options]',
  options: {
    device: {
      type: 'string',
      choices: ['auto', 'cpu', 'metal'],
      default: 'auto',
      placeholder: 'DEVICE',
      description: 'the device to verify',
    },
    threads: {
      type: 'integer',
      minimum: 1,
      maximum: 1024,
      description: 'threads of the CPU device',
    },
    operation: {
      type: 'string',
      multiple: true,
      choices: Object.keys(OPERATIONS),
      placeholder: 'NAME',
      description: 'verify only this operation',
    },
    quick: { type: 'boolean', description: 'leave out the shapes of published models' },
    failures: { type: 'boolean', description: 'print only what is outside its limit' },
    json: { type: 'boolean', description: 'print one JSON object a line instead of a table' },
  },
  example: 'ssm-metal verify --device metal',
  async run({ options }) {
    return interruptible(async (signal) => {
      using device = createDevice(options.device as DeviceName, { threads: options.threads })
      using reference = referenceDevice()
      const operations = options.operation.length > 0 ? options.operation : undefined
      const line = new ProgressLine()
      const total = [...allCases(device.activationTypes)].length
      let done = 0
      let failed = 0
      if (!options.json) process.stdout.write(`${row(COLUMNS)}\n`)
      for await (const verification of verify(device, reference, {
        operations: operations as OperationName[] | undefined,
        smallOnly: options.quick,
        signal,
      })) {
        done += 1
        if (!verification.passed) failed += 1
        line.clear()
        if (!verification.passed || !options.failures) {
          process.stdout.write(
            `${options.json ? JSON.stringify(verification) : row(cellsOf(verification))}\n`,
          )
        }
        if (!operations && !options.quick) {
          line.update({ phase: 'verify', loaded: done, total, unit: 'cases' })
        }
      }
      line.clear()
      if (!options.json) {
        const what = `${device.name} device against the plain loops of the CPU device`
        process.stdout.write(`\n${what}: ${done - failed} of ${done} within their limits\n`)
      }
      return failed === 0 && done > 0 ? exitCodes.success : exitCodes.failure
    })
  },
})

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

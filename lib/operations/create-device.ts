// Making a device: which one the options of `createDevice` choose, and the tuning that was saved.

import { availableThreads } from '../machine/threads.js'
import {
  DeviceNotAvailableError,
  ThreadLimitError,
  UnsupportedOptionError,
} from '../support/errors.js'
import { checkOptions } from '../support/option-checks.js'
import { listedChoices, optionNames, optionValues } from '../support/option-table.js'
import { addon } from './addon.js'
import { Device, type TuningSource } from './device.js'
import { DEVICE, DEVICE_NAME, type DeviceName, type DeviceOptions } from './device-options.js'
import { usableSavedTuning } from './saved-tuning.js'
import { checkTuning, type Tuning } from './tuning.js'

/**
 * Creates a device. Throws `DeviceNotAvailableError` when it does not exist here, `UnsupportedOptionError`
 * for an unknown name or option, or a tuning where there is no GPU, and `ThreadLimitError` when the system
 * starts no more threads.
 *
 * @example
 * using device = createDevice('cpu', { threads: 2 })
 * using other = createDevice('metal', { tuning: { vector_outputs: 2 } })
 */
export function createDevice(name: DeviceName = 'auto', options: DeviceOptions = {}): Device {
  checkOptions('createDevice', options, optionNames(DEVICE))
  const { threads, gpuTimeout, batchInvariant } = optionValues('createDevice', DEVICE, options)
  if (options.gpuTimeout !== undefined && name === 'cpu') {
    throw new UnsupportedOptionError(
      "[createDevice] gpuTimeout is for GPUs: leave it out with device 'cpu'",
    )
  }
  checkBatchInvariant(batchInvariant, name)
  if (threads !== undefined && name === 'metal') {
    throw new UnsupportedOptionError(
      "[createDevice] threads is for the CPU: leave it out with device 'metal'",
    )
  }
  if (!DEVICE_NAME.choices.includes(name)) {
    throw new UnsupportedOptionError(
      `[createDevice] device must be ${listedChoices(DEVICE_NAME.choices)} but is ${JSON.stringify(name)}`,
    )
  }
  const names = addon().deviceNames()
  const chosen = name === 'auto' ? names[0]! : name
  if (!names.includes(chosen)) {
    const lack =
      process.platform === 'darwin' && process.arch === 'arm64'
        ? 'this one gives no GPU of Apple family 7 or later (a virtual machine may hide it)'
        : `is not part of this build for ${process.platform}-${process.arch}`
    throw new DeviceNotAvailableError(
      `[createDevice] device 'metal' needs a Mac with Apple silicon and ${lack}: use 'cpu', or 'auto', which takes the CPU here`,
    )
  }
  const invariance = chosen === 'metal' ? invarianceTuning(batchInvariant) : {}
  if (options.tuning !== undefined) {
    const tuning = { ...checkTuning('createDevice', options.tuning), ...invariance }
    if (chosen === 'cpu') {
      throw new UnsupportedOptionError(
        "[createDevice] tuning is for GPUs, but the device here is the CPU: leave it out, or use 'metal' on a Mac with Apple silicon",
      )
    }
    return open(chosen, undefined, tuning, 'options', gpuTimeout)
  }
  const device = open(chosen, threads, invariance, 'table', gpuTimeout)
  if (!device.tuning) return device
  const saved = usableSavedTuning(options.onNotice)
  if (!saved || saved.gpu !== device.gpu) return device
  device.dispose()
  return open(chosen, undefined, { ...saved.tuning, ...invariance }, 'saved', gpuTimeout)
}

function checkBatchInvariant(wanted: boolean | undefined, name: DeviceName): void {
  if (wanted !== false || name !== 'cpu') return
  throw new UnsupportedOptionError(
    "[createDevice] batchInvariant cannot be false on the CPU, where a sequence never depends on those beside it: leave it out with device 'cpu'",
  )
}

/** What the option changes of a GPU's tuning. */
function invarianceTuning(wanted: boolean | undefined): Tuning {
  return wanted === undefined ? {} : { batch_invariant: wanted ? 1 : 0 }
}

function open(
  name: 'cpu' | 'metal',
  threads: number | undefined,
  tuning: Tuning,
  tuningSource: TuningSource,
  timeout: number,
): Device {
  return new Device(name, createNative(name, threads, tuning, timeout), tuningSource)
}

function createNative(
  name: 'cpu' | 'cpu-reference' | 'metal',
  threads: number | undefined,
  tuning: Tuning,
  timeout: number,
): number {
  const count = name === 'metal' ? 0 : (threads ?? availableThreads())
  try {
    return addon().createDevice(name, count, Object.entries(tuning).flat(), timeout)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    const fewer = `ask for fewer with the option threads (--threads): ${count} were ${threads === undefined ? 'taken by default' : 'asked for'}; or `
    throw new ThreadLimitError(
      '[createDevice] the system starts no more threads for this process: ' +
        `${count > 1 ? fewer : ''}raise the limit (ulimit -u; of a container its limit of pids)`,
      { cause: error },
    )
  }
}

/** The plain loops that anyone can check against the papers: what every other device is held against. */
export function referenceDevice(threads?: number): Device {
  return new Device('cpu', createNative('cpu-reference', threads, {}, DEVICE.gpuTimeout.default))
}

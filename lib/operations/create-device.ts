// Making a device: the options of `createDevice`, which device they choose, and the tuning that was saved.

import { addon } from './addon.js'
import { Device, type TuningSource } from './device.js'
import {
  DeviceNotAvailableError,
  ThreadLimitError,
  UnsupportedOptionError,
} from '../support/errors.js'
import { checkOnNotice, type OnNotice } from '../support/notices.js'
import { checkOptions, describe, integerOption, numberOption } from '../support/option-checks.js'
import { availableThreads, MOST_THREADS } from '../machine/threads.js'
import { usableSavedTuning } from './saved-tuning.js'
import { checkTuning, type Tuning } from './tuning.js'

/** `auto` takes Metal where it exists and is built in, else the CPU. */
export type DeviceName = 'auto' | 'cpu' | 'metal'

export interface DeviceOptions {
  /**
   * Threads of the CPU device. Defaults to the CPUs that this process may use: those of its affinity mask or
   * cpuset, fewer where a quota of its cgroup gives less time.
   */
  threads?: number | undefined
  /**
   * For a GPU: values that differ from the table of its family; names and bounds are those of
   * `tunables()`. Defaults to what `ssm-metal tune` saved for this GPU, if it did, else to the table.
   */
  tuning?: Tuning | undefined
  /**
   * For a GPU: seconds that a part of a run may take. One that ends nothing for so long is given up, and its
   * runs reject with `DeviceLostError`. Time that the system sleeps does not count. Defaults to 30.
   */
  gpuTimeout?: number | undefined
  /**
   * Whether the bits of a sequence in a decode step do not depend on the sequences beside it
   * (`LinearOptions.role`). `false` lets a GPU use the order of sums that is fastest for each number of
   * sequences; on the CPU they never depend on it: `'cpu'` refuses it, and it changes nothing where `'auto'` takes
   * the CPU. Defaults to what the tuning has, `true` in the tables.
   */
  batchInvariant?: boolean | undefined
  /** Called with what the caller should know though nothing failed: a saved tuning that cannot be used. */
  onNotice?: OnNotice | undefined
}

// Seconds. Far longer than any part of a run takes. Internal: the variable is for a GPU that is emulated.
const GPU_TIMEOUT = Number(process.env.SSM_METAL_GPU_TIMEOUT) || 30

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
  checkOptions('createDevice', options, [
    'threads',
    'tuning',
    'gpuTimeout',
    'batchInvariant',
    'onNotice',
  ])
  checkOnNotice('createDevice', options.onNotice)
  const threads = integerOption('createDevice', 'threads', options.threads, {
    min: 1,
    max: MOST_THREADS,
  })
  const timeout =
    numberOption('createDevice', 'gpuTimeout', options.gpuTimeout, { min: 0.1, max: 86_400 }) ??
    GPU_TIMEOUT
  if (options.gpuTimeout !== undefined && name === 'cpu') {
    throw new UnsupportedOptionError(
      "[createDevice] gpuTimeout is for GPUs: leave it out with device 'cpu'",
    )
  }
  checkBatchInvariant(options.batchInvariant, name)
  if (threads !== undefined && name === 'metal') {
    throw new UnsupportedOptionError(
      "[createDevice] threads is for the CPU: leave it out with device 'metal'",
    )
  }
  if (name !== 'auto' && name !== 'cpu' && name !== 'metal') {
    throw new UnsupportedOptionError(
      `[createDevice] device must be 'auto', 'cpu' or 'metal' but is ${JSON.stringify(name)}`,
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
  const invariance = chosen === 'metal' ? invarianceTuning(options.batchInvariant) : {}
  if (options.tuning !== undefined) {
    const tuning = { ...checkTuning('createDevice', options.tuning), ...invariance }
    if (chosen === 'cpu') {
      throw new UnsupportedOptionError(
        "[createDevice] tuning is for GPUs, but the device here is the CPU: leave it out, or use 'metal' on a Mac with Apple silicon",
      )
    }
    return open(chosen, undefined, tuning, 'options', timeout)
  }
  const device = open(chosen, threads, invariance, 'table', timeout)
  if (!device.tuning) return device
  const saved = usableSavedTuning(options.onNotice)
  if (!saved || saved.gpu !== device.gpu) return device
  device.dispose()
  return open(chosen, undefined, { ...saved.tuning, ...invariance }, 'saved', timeout)
}

function checkBatchInvariant(wanted: unknown, name: DeviceName): void {
  if (wanted !== undefined && typeof wanted !== 'boolean') {
    throw new TypeError(
      `[createDevice] batchInvariant must be true or false but is ${describe(wanted)}`,
    )
  }
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
  return new Device('cpu', createNative('cpu-reference', threads, {}, GPU_TIMEOUT))
}

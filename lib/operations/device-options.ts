// Options of devices: a row of a table each, from which the checks and the flags of the command line follow.

import { MOST_THREADS } from '../machine/threads.js'
import type { OnNotice } from '../support/notices.js'
import type { ChoiceRow, OptionTable } from '../support/option-table.js'
import type { Tuning } from './tuning.js'

/** `auto` takes Metal where it exists and is built in, else the CPU. */
export type DeviceName = 'auto' | 'cpu' | 'metal'

export const DEVICE_NAME = {
  type: 'choice',
  choices: ['auto', 'cpu', 'metal'],
  default: 'auto',
  description: 'where to run',
  flag: { name: 'device', placeholder: 'DEVICE', saysDefault: true },
} as const satisfies ChoiceRow<DeviceName>

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

export const DEVICE = {
  threads: {
    type: 'integer',
    min: 1,
    max: MOST_THREADS,
    description: 'threads of the CPU device; by default the CPUs that this process may use',
    flag: { name: 'threads' },
  },
  tuning: {
    type: 'other',
    description: "values of a GPU's kernels that differ from the table of its family",
  },
  gpuTimeout: {
    type: 'number',
    min: 0.1,
    max: 86_400,
    default: GPU_TIMEOUT,
    description: 'seconds after which a GPU that ends nothing is given up',
  },
  batchInvariant: {
    type: 'boolean',
    description: 'whether the bits of a sequence do not depend on those beside it',
  },
  onNotice: { type: 'function', description: 'called with what the caller should know' },
} as const satisfies OptionTable<DeviceOptions>

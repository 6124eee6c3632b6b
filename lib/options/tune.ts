// Options of tuning.

import type { Signal } from '../support/abort.js'
import { DEVICE_NAME } from '../operations/device-options.js'
import type { OperationName } from '../operations/recorder.js'
import type { OptionTable } from '../support/option-table.js'

export interface TuneOptions {
  /** Defaults to `auto`, which must find a GPU. */
  device?: 'auto' | 'metal' | undefined
  /** Measure only by these operations; what they do not depend on stays as it is. */
  operations?: readonly OperationName[] | undefined
  /** Only the shapes of Rene, for a shorter time. Defaults to false. */
  quick?: boolean | undefined
  /** Measure and report, but save nothing. Defaults to false. */
  dryRun?: boolean | undefined
  signal?: Signal | undefined
  /** Called before each case. */
  onProgress?: ((progress: TuneProgress) => void) | undefined
}

export interface TuneProgress {
  tunable: string
  /** What is measured: operation and shape. */
  label: string
  /** Cases done, of `total`. Values that win may change the total. */
  done: number
  total: number
}

export const TUNE = {
  device: { ...DEVICE_NAME, choices: ['auto', 'metal'], description: 'the device to tune' },
  operations: { type: 'other', description: 'measure only by these operations' },
  quick: {
    type: 'boolean',
    default: false,
    description: 'fewer shapes, those of Rene, and fewer rounds',
    flag: { name: 'quick' },
  },
  dryRun: {
    type: 'boolean',
    default: false,
    description: 'measure, but save nothing',
    flag: { name: 'dry-run' },
  },
  signal: { type: 'signal', description: 'ends the measuring' },
  onProgress: { type: 'function', description: 'called before each case' },
} as const satisfies OptionTable<TuneOptions>

// What is checked before a device is used for a model.

import { throwIfAborted, type Signal } from '../support/abort.js'
import type { Device } from '../operations/device.js'
import type { Case } from '../verify/cases/case.js'
import { expertChunkCase, expertProductCase } from '../verify/cases/experts.js'
import { logitCases, sampleCases } from '../verify/cases/rows.js'
import { compareCase, type Outcome } from '../verify/verify.js'
import { formatName, kindOf } from '../weights/formats/formats.js'
import { type CheckSize, layerCases } from './layers.js'
import type { Needs } from './needs.js'
import { checkProduct } from './product.js'
import { messageOf } from '../support/realms.js'

export interface Check extends Pick<Outcome, 'operation' | 'dtype' | 'shape'> {
  /** Names it, with all that decides over its result on one device. */
  id: string
  /** Computes once. What fails to run did not pass; rejects only with `signal.reason`. */
  run(device: Device, reference: Device, signal?: Signal): Promise<Outcome>
}

/** By name: `full` for a GPU, `short` for the CPU device, `tiny` where an emulator computes. */
export const CHECK_SIZES = {
  full: {
    product: { rows: 1024, inputs: 2048, outputs: 2048, probes: 256 },
    tokens: 130,
    heads: 8,
    window: 512,
    vocabulary: 50_288,
  },
  short: {
    product: { rows: 64, inputs: 512, outputs: 256, probes: 256 },
    tokens: 130,
    heads: 4,
    window: 128,
    vocabulary: 5_000,
  },
  tiny: {
    product: { rows: 36, inputs: 128, outputs: 40, probes: 64 },
    tokens: 66,
    heads: 2,
    window: 16,
    vocabulary: 300,
  },
} as const satisfies Record<string, CheckSize>
export type CheckSizeName = keyof typeof CHECK_SIZES

/** The checks of a model: a product for each of its formats, scans, attention, sampling. */
export function checksOf(needs: Needs, sizeName: CheckSizeName): Check[] {
  const size: CheckSize = CHECK_SIZES[sizeName]
  const { activationType } = needs
  const cases = [
    ...layerCases(needs, activationType, size),
    // Which of the formats experts have is not known here.
    ...(needs.experts.length > 0
      ? needs.formats.flatMap((format) => [
          expertProductCase(format, activationType),
          expertChunkCase(format, activationType),
        ])
      : []),
    ...sampleCases(size.vocabulary),
    ...logitCases(size.vocabulary),
  ]
  const products = needs.formats.map((format): Check => {
    const { rows, inputs, outputs } = size.product
    const dtype = `${activationType} x ${formatName(format)}`
    const given = {
      operation: kindOf(format).product,
      dtype,
      shape: `${rows} x ${inputs} to ${outputs}`,
    }
    return {
      ...given,
      id: idOf(given),
      run: (device, _, signal) =>
        checkProduct(device, format, activationType, size.product, signal).catch((error) => {
          throwIfAborted(signal)
          return failed(given, error)
        }),
    }
  })
  return [...products, ...cases.map(checkOfCase)]
}

function checkOfCase(given: Case): Check {
  const { operation, dtype, shape } = given
  return {
    ...{ operation, dtype, shape },
    id: idOf(given),
    run: (device, reference, signal) => compareCase(given, device, reference, signal),
  }
}

const idOf = ({ operation, dtype, shape }: Pick<Outcome, 'operation' | 'dtype' | 'shape'>) =>
  `${operation} ${dtype} ${shape}`

function failed(given: Pick<Outcome, 'operation' | 'dtype' | 'shape'>, error: unknown): Outcome {
  const failure = messageOf(error)
  return { ...given, passed: false, error: Number.NaN, limit: Number.NaN, failure }
}

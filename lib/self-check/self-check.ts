// Before a device computes for a model, it is checked for what this model uses: once on a machine, as
// long as hardware, system, version and tuning are the same.
//
// The Metal device is checked in a process of its own where one can be started, because a driver, or we,
// may crash. The CPU device is checked too: its fast levels are chosen by the processor, built by a cross
// compiler, and what a device that fails falls back to. That takes a few milliseconds in this process,
// where a level that the processor does not have has never been chosen.

import type { Signal } from '../support/abort.js'
import { createDevice, referenceDevice } from '../operations/create-device.js'
import type { Device } from '../operations/device.js'
import type { DeviceName, DeviceOptions } from '../operations/device-options.js'
import { operationNamed } from '../operations/table.js'
import { SelfCheckError, UnsupportedOptionError } from '../support/errors.js'
import type { OnNotice } from '../support/notices.js'
import type { Outcome } from '../verify/verify.js'
import { type CheckOptions, checkDevice } from './check-device.js'
import { describeFailure } from './describe.js'
import type { Needs } from './needs.js'

export interface SelfCheckOptions {
  signal?: Signal | undefined
  onNotice?: OnNotice | undefined
  /** Called while a GPU is checked, which with the compiling of its kernels takes seconds. */
  onProgress?: CheckOptions['onProgress']
}

/**
 * A device that has passed its checks for a model: of `auto` Metal if it did, else the CPU; of the CPU's
 * instruction sets the best one if it did, else the plain loops. A notice says which was not used and why.
 *
 * @throws SelfCheckError when Metal was asked for by name and a check did not pass, what `createDevice`
 *   throws, and `signal.reason`.
 */
export async function createCheckedDevice(
  name: DeviceName | undefined,
  options: DeviceOptions,
  needsOn: (device: Device) => Needs,
  { signal, onNotice, onProgress }: SelfCheckOptions = {},
): Promise<Device> {
  const device = createDevice(name, { ...options, onNotice })
  let failure: Outcome | undefined
  try {
    const watched = device.name === 'metal' ? onProgress : undefined
    failure = await failedCheck(device, needsOn(device), { signal, onProgress: watched })
  } catch (error) {
    device.dispose()
    throw error
  }
  if (!failure) return device
  device.dispose()
  const again = `${VARIABLE}=always checks it again`
  if (device.name === 'cpu') {
    const message = `the ${device.cpuLevel} code of the CPU device is not used, because its self-check failed: ${describeFailure(failure)}; the plain loops compute instead, slowly (${again})`
    onNotice?.({ code: 'SELF_CHECK_FAILED', message })
    return referenceDevice(options.threads)
  }
  const reason = `the GPU (${device.gpu}) failed its self-check: ${describeFailure(failure)}`
  if (name === 'metal') {
    throw new SelfCheckError(
      `[loadModel] device 'metal' cannot be used: ${reason}. Use 'cpu', or 'auto', which takes the CPU here; ${again}, ${VARIABLE}=off skips it`,
      { ...failure, operation: operationNamed(failure.operation).apiName },
    )
  }
  const message = `computing on the CPU, because ${reason} (${again})`
  onNotice?.({ code: 'SELF_CHECK_FAILED', message })
  return createCheckedDevice('cpu', { threads: options.threads }, needsOn, { signal, onNotice })
}

/** The environment variable that decides whether devices are checked. */
export const VARIABLE = 'SSM_METAL_SELF_CHECK'
// `short` and `tiny` are for tests on emulated devices.
const MODES = ['off', 'always', 'short', 'tiny'] as const

function mode(): (typeof MODES)[number] | undefined {
  const value = process.env[VARIABLE]
  if (value === undefined || value === '') return undefined
  const found = MODES.find((mode) => mode === value)
  if (found) return found
  throw new UnsupportedOptionError(
    `[loadModel] the environment variable ${VARIABLE} must be off or always but is ${JSON.stringify(value)}`,
  )
}

/** The first check of a device that did not pass; undefined when all did or none is needed. */
async function failedCheck(
  device: Device,
  needs: Needs,
  options: CheckOptions,
): Promise<Outcome | undefined> {
  const wanted = mode()
  // The plain loops are what everything is held against.
  if (wanted === 'off' || device.cpuLevel === 'reference') return undefined
  const size = wanted === 'short' || wanted === 'tiny' ? wanted : undefined
  const again = wanted === 'always'
  return checkDevice(device, needs, { ...options, again }, size ? { size } : {})
}

// The devices that every operation is tested on.

import { addon } from '../../lib/operations/addon.js'
import type { ActivationType, Device } from '../../lib/operations/device.js'
import { createDevice } from '../../lib/operations/create-device.js'

export interface TestDevice {
  name: string
  create: () => Device
}

// One thread takes loops in order; three share them, and are more than some machines have cores.
const cpuDevices = [1, 3].map((threads) => ({
  name: `cpu, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
  create: () => createDevice('cpu', { threads }),
}))

/** Where vitest.config.ts loads the rig, whose device 'metal' runs the kernels on the CPU. */
const onTheRig =
  process.env.SSM_METAL_ADDON !== undefined && addon().deviceNames().includes('metal')

/** What operations may hand to one another there. */
export const ACTIVATION_TYPES: readonly ActivationType[] = onTheRig
  ? ['float32', 'float16']
  : ['float32']

export const devices: readonly TestDevice[] = onTheRig
  ? [{ name: 'software-metal', create: () => createDevice('metal') }]
  : cpuDevices

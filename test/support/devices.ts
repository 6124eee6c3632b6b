// The devices that every operation is tested on.

import { createDevice, type Device } from '../../lib/device.js'

export interface TestDevice {
  name: string
  create: () => Device
}

// One thread takes loops in order; three share them, and are more than some machines have cores.
export const devices: readonly TestDevice[] = [1, 3].map((threads) => ({
  name: `cpu, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
  create: () => createDevice('cpu', { threads }),
}))

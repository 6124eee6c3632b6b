// One suite for each device, with the device made before its tests and disposed of after them.

import { afterAll, beforeAll, describe } from 'vitest'
import type { Device } from '../../lib/operations/device.js'
import { devices } from './devices.js'

/** `describe.each(devices)`; `suite` gets a function, because the device exists only in tests. */
export function describeEachDevice(operation: string, suite: (device: () => Device) => void): void {
  describe.each(devices)(`${operation} on $name`, ({ create }) => {
    let device: Device | undefined
    beforeAll(() => {
      device = create()
    })
    afterAll(() => device?.dispose())
    suite(() => device!)
  })
}

// The cases of `ssm-metal verify`, as somebody with a Mac would run them.

import { fileURLToPath } from 'node:url'
import { beforeAll, expect, test } from 'vitest'
import { createDevice, referenceDevice } from '../../lib/operations/create-device.js'
import { allCases, compareCase } from '../../lib/verify/verify.js'

beforeAll(() => {
  process.env.SSM_METAL_ADDON = fileURLToPath(
    new URL('build/Release/metal_device.node', import.meta.url),
  )
})

test('every small case of every operation passes, in both types of activations', async () => {
  using device = createDevice('metal')
  using reference = referenceDevice()
  const failed: string[] = []
  let count = 0
  for (const each of allCases(device.activationTypes)) {
    if (each.large) continue
    count += 1
    const { operation, dtype, shape, passed } = await compareCase(
      each,
      device,
      reference,
      undefined,
    )
    if (!passed) failed.push(`${operation}, ${dtype}, ${shape}`)
  }
  expect(failed).toEqual([])
  expect(count).toBeGreaterThan(500)
})

import { afterEach, expect, test } from 'vitest'
import { addon } from '../../lib/operations/addon.js'
import { createDevice } from '../../lib/operations/create-device.js'

const forced = process.env.SSM_METAL_CPU_LEVEL

afterEach(() => {
  if (forced === undefined) delete process.env.SSM_METAL_CPU_LEVEL
  else process.env.SSM_METAL_CPU_LEVEL = forced
})

test('the plain loops are there on every machine, as the slowest level', () => {
  expect(addon().cpuLevels()[0]).toBe('reference')
})

test('every level of this machine can be forced; the best is taken else', () => {
  const levels = addon().cpuLevels()
  for (const level of levels) {
    process.env.SSM_METAL_CPU_LEVEL = level
    using device = createDevice('cpu')
    expect(device.cpuLevel).toBe(level)
  }
  for (const nothing of [undefined, '']) {
    if (nothing === undefined) delete process.env.SSM_METAL_CPU_LEVEL
    else process.env.SSM_METAL_CPU_LEVEL = nothing
    using device = createDevice('cpu')
    expect(device.cpuLevel).toBe(levels.at(-1))
  }
})

test('an unknown level is an error that lists those there are', () => {
  process.env.SSM_METAL_CPU_LEVEL = 'mmx'
  expect(() => createDevice('cpu')).toThrow(
    `[createDevice] SSM_METAL_CPU_LEVEL must be one of ${addon().cpuLevels().join(', ')} on this machine but is 'mmx'`,
  )
})

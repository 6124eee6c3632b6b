// The device of the rig, through the same TypeScript as every other one.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDevice } from '../../lib/operations/create-device.js'
import type { Device } from '../../lib/operations/device.js'
import { readTrace, type TracedRun } from './trace.js'

const folder = mkdtempSync(join(tmpdir(), 'trace-'))
const trace = join(folder, 'trace.jsonl')
let device: Device

beforeAll(() => {
  process.env.SSM_METAL_ADDON = fileURLToPath(
    new URL('build/Release/metal_device_checked.node', import.meta.url),
  )
  process.env.SSM_SOFTWARE_METAL_TRACE = trace
  device = createDevice('metal')
})
afterAll(() => {
  device.dispose()
  rmSync(folder, { recursive: true })
})

test('a dispatch waits only for what it depends on, and its bytes are counted', async () => {
  const [a, b, c, d, e] = Array.from({ length: 5 }, () => device.tensor('float32', [100]))
  const list = device.record((cl) => {
    cl.add(a!, b!, c!)
    cl.add(a!, b!, d!) // beside the first
    cl.add(c!, d!, e!) // reads what both wrote
    cl.add(a!, b!, c!) // overwrites what the third reads
    cl.add(a!, a!, d!) // what the fourth does not touch, but the third read before its barrier
  })
  await list.run()
  const [{ dispatches: all }] = readTrace(trace) as [TracedRun]
  expect(all.map(({ barrier }) => barrier)).toEqual([false, false, true, true, false])
  const first = all[0]!
  expect(first.kernel).toMatch(/^add/)
  expect(first.buffers[0]).toMatchObject({ index: 0, read: 400, distinctRead: 400, written: 0 })
  expect(first.buffers[2]).toMatchObject({ index: 2, read: 0, written: 400, distinctWritten: 400 })
})

test('an unknown order of threads is an error', () => {
  process.env.SSM_SOFTWARE_METAL_SCHEDULES = 'forward,sideways'
  expect(() => createDevice('metal')).toThrow(/not sideways/)
  delete process.env.SSM_SOFTWARE_METAL_SCHEDULES
})

test("'auto' takes it, and the CPU device is there too", () => {
  for (const [name, expected] of [
    ['auto', 'metal'],
    ['cpu', 'cpu'],
  ] as const) {
    using other = createDevice(name)
    expect(other.name).toBe(expected)
  }
})

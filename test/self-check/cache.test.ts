// What a check found is kept for this machine, and nothing that is wrong with the file that keeps it
// matters to anybody.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createDevice } from '../../lib/operations/create-device.js'
import { Device } from '../../lib/operations/device.js'
import { Recorder } from '../../lib/operations/recorder.js'
import { checksOf } from '../../lib/self-check/checks.js'
import type { Needs } from '../../lib/self-check/needs.js'
import {
  buildOf,
  deviceKey,
  readDeviceRecord,
  savedChecksPath,
} from '../../lib/self-check/saved.js'
import { checkDevice } from '../../lib/self-check/check-device.js'
import { selfCheckSummary } from '../../lib/self-check/known.js'
import { VERSION } from '../../lib/support/version.js'
import { runChild } from '../support/child-process.js'

const needs: Needs = {
  activationType: 'float32',
  formats: [{ kind: 'plain', type: 'float16' }],
  mamba2: [{ numHeads: 4, headDim: 8, dState: 16, nGroups: 1, normBeforeGate: false }],
  attention: [],
  full_attention: [],
  shared_transformer: [],
  short_conv: [],
  experts: [],
}
const ids = checksOf(needs, 'short').map(({ id }) => id)

let folder: string
let device: Device
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'self-check-'))
  vi.stubEnv('XDG_CACHE_HOME', folder)
  device = createDevice('cpu', { threads: 1 })
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
  vi.unstubAllEnvs()
  device.dispose()
  rmSync(folder, { recursive: true, force: true })
})

/** How many lists of the device itself were recorded meanwhile: one a check. */
async function recorded(work: () => Promise<unknown>): Promise<number> {
  const spy = vi.spyOn(Device.prototype, 'record')
  await work()
  const count = spy.mock.contexts.filter((context) => context === device).length
  spy.mockRestore()
  return count
}

const passes = async () => expect(await checkDevice(device, needs)).toBeUndefined()

/** Another cache, as another process finds it that knows nothing. */
function anotherProcess(): void {
  const other = mkdtempSync(join(tmpdir(), 'self-check-'))
  const content = readFileSync(savedChecksPath())
  rmSync(folder, { recursive: true })
  folder = other
  vi.stubEnv('XDG_CACHE_HOME', folder)
  mkdirSync(dirname(savedChecksPath()))
  writeFileSync(savedChecksPath(), content)
}

function edit(change: (text: string) => string): void {
  writeFileSync(savedChecksPath(), change(readFileSync(savedChecksPath(), 'utf8')))
}

describe('a check', () => {
  it('runs once on a machine', async () => {
    expect(await recorded(passes)).toBe(ids.length)
    expect(await recorded(passes)).toBe(0)
    anotherProcess()
    expect(await recorded(passes)).toBe(0)
    expect([...readDeviceRecord(deviceKey(device)).outcomes.keys()].sort()).toEqual([...ids].sort())
    expect(readdirSync(dirname(savedChecksPath()))).toEqual(['checks.json'])
  })

  it('runs once for two models that are loaded together', async () => {
    const both = () => Promise.all([passes(), passes()])
    expect(await recorded(both)).toBe(ids.length)
  })

  it('runs for what another model has besides', async () => {
    await passes()
    const more: Needs = {
      ...needs,
      formats: [...needs.formats, { kind: 'plain', type: 'bfloat16' }],
    }
    expect(await recorded(() => checkDevice(device, more))).toBe(1)
    expect(await recorded(() => checkDevice(device, more))).toBe(0)
    expect(await recorded(passes)).toBe(0)
  })

  it('runs again when asked to', async () => {
    await passes()
    expect(await recorded(() => checkDevice(device, needs, { again: true }))).toBe(ids.length)
  })

  it('ends with the reason of an abort, and nothing is kept of what did not run', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const check = checkDevice(device, needs, { signal: controller.signal })
    controller.abort(reason)
    await expect(check).rejects.toBe(reason)
    expect(selfCheckSummary(device)).toEqual({ result: 'not checked', checks: 0 })
    await passes()
  })
})

describe('a key', () => {
  it('names processor, level, system, version and what was built here', () => {
    expect(deviceKey(device)).toContain(`${device.cpuLevel}; `)
    expect(deviceKey(device).split('; ')).toHaveLength(4)
    expect(deviceKey(device)).toMatch(
      new RegExp(`^cpu; .*; ${process.platform} .*; ${VERSION}, built here \\(\\d+, \\d+\\)$`),
    )
  })

  it.each([
    ['processor', (key: string) => key.replace('cpu; ', 'cpu; Other ')],
    ['version', (key: string) => key.replace(VERSION, '0.0.1')],
    ['build', (key: string) => key.replace('built here (', 'built here (1')],
  ])('of another %s counts for nothing', async (_, change) => {
    await passes()
    const key = deviceKey(device)
    edit((text) => text.replace(JSON.stringify(key), JSON.stringify(change(key))))
    anotherProcess()
    expect(await recorded(passes)).toBe(ids.length)
    // Both are known now.
    expect(JSON.parse(readFileSync(savedChecksPath(), 'utf8')).devices).toHaveLength(2)
  })

  it('has the build of a macOS', () => {
    const plist = `<?xml version="1.0" encoding="UTF-8"?>
      <plist version="1.0">
      <dict>
        <key>ProductBuildVersion</key>
        <string>24F74</string>
        <key>ProductVersion</key>
        <string>15.5</string>
      </dict>
      </plist>`
    expect(buildOf(plist)).toBe('24F74')
    expect(buildOf('')).toBeUndefined()
  })

  it('is one of at most 16', async () => {
    await passes()
    const json = JSON.parse(readFileSync(savedChecksPath(), 'utf8'))
    const others = Array.from({ length: 20 }, (_, i) => ({ ...json.devices[0], key: `other ${i}` }))
    writeFileSync(savedChecksPath(), JSON.stringify({ ...json, devices: others }))
    anotherProcess()
    await passes()
    const { devices } = JSON.parse(readFileSync(savedChecksPath(), 'utf8'))
    expect(devices).toHaveLength(16)
    expect(devices.at(-1).key).toBe(deviceKey(device))
  })
})

describe('a file', () => {
  const damages: [string, (text: string) => string][] = [
    ['empty', () => ''],
    ['cut off', (text) => text.slice(0, text.length / 2)],
    ['no JSON', () => 'checks'],
    ['a list', () => '[]'],
    ['of another format', (text) => text.replace('checks 1', 'checks 2')],
    ['without devices', () => '{"format": "ssm-metal checks 1"}'],
    ['with devices that are none', () => '{"format": "ssm-metal checks 1", "devices": [1]}'],
    ['without a result', (text) => text.replace('"passed": true', '"passed": "yes"')],
    ['of an operation that does not exist', (text) => text.replace('"sample"', '"constructor"')],
    ['with a time that is none', (text) => text.replace(/"checked": "\d/, '"checked": "x')],
    ['too large', (text) => text.padEnd(300_000)],
    ['nested', () => '['.repeat(100_000)],
  ]
  it.each(damages)('that is %s counts for nothing', async (_, damage) => {
    await passes()
    edit(damage)
    anotherProcess()
    expect(selfCheckSummary(device).result).toBe('not checked')
    expect(await recorded(passes)).toBe(ids.length)
    // It was replaced.
    anotherProcess()
    expect(await recorded(passes)).toBe(0)
  })

  it('that cannot be written: the checks count for this process', async () => {
    vi.stubEnv('XDG_CACHE_HOME', join(folder, 'file'))
    writeFileSync(join(folder, 'file'), '')
    expect(await recorded(passes)).toBe(ids.length)
    expect(await recorded(passes)).toBe(0)
    expect(readdirSync(folder)).toEqual(['file'])
  })

  it('that is a folder counts for nothing, and stays', async () => {
    mkdirSync(savedChecksPath(), { recursive: true })
    expect(await recorded(passes)).toBe(ids.length)
    expect(readdirSync(dirname(savedChecksPath()))).toEqual(['checks.json'])
  })

  it('that two processes write at once is whole', { timeout: 120_000 }, async () => {
    const program = new URL('../support/load-once.ts', import.meta.url).pathname
    const env = { XDG_CACHE_HOME: folder }
    const runs = await Promise.all(
      ['rene', 'mamba2-hf', 'rene'].map((name) => runChild(program, [name, 'cpu'], { env })),
    )
    for (const { code, stderr, stdout } of runs) {
      expect({ code, stderr, result: JSON.parse(stdout) }).toMatchObject({
        ...{ code: 0, stderr: '' },
        result: { device: 'cpu', notices: [] },
      })
    }
    expect(readdirSync(dirname(savedChecksPath()))).toEqual(['checks.json'])
    const { devices } = JSON.parse(readFileSync(savedChecksPath(), 'utf8'))
    expect(devices).toHaveLength(1)
    for (const { passed } of devices[0].checks) expect(passed).toBe(true)
    // What one of them found may be lost, and is found by the next one.
    expect(devices[0].checks.length).toBeGreaterThan(4)
  })
})

describe('a check that fails', () => {
  /** The CPU device scans with the bias of dt where D should be. */
  function breakScans() {
    const original = Recorder.prototype.ssdChunkScan
    let calls = 0
    vi.spyOn(Recorder.prototype, 'ssdChunkScan').mockImplementation(function (
      this: Recorder,
      tensors,
      options,
    ) {
      // The reference records first.
      const isReference = calls++ % 2 === 0
      original.call(this, isReference ? tensors : { ...tensors, D: tensors.dtBias }, options)
    })
  }

  it('ends the checking, is kept, and says what and how far off', async () => {
    breakScans()
    const failure = await checkDevice(device, needs)
    expect(failure).toMatchObject({ operation: 'ssd_chunk_scan', passed: false, dtype: 'float32' })
    expect(failure!.error).toBeGreaterThan(failure!.limit)
    vi.restoreAllMocks()
    anotherProcess()
    const checked = { operation: 'ssd_chunk_scan', error: failure!.error, limit: failure!.limit }
    expect(
      await recorded(async () => expect(await checkDevice(device, needs)).toMatchObject(checked)),
    ).toBe(0)
    // Not one was run after it.
    expect(readDeviceRecord(deviceKey(device)).outcomes.size).toBe(2)
    expect(selfCheckSummary(device)).toMatchObject({
      ...{ result: 'failed', checks: 2 },
      failure: expect.stringMatching(
        /^\[ssdChunkScan\] float32, 130 tokens, 1 x 4 x 8 x 16: a result is off by [\d.e-]+, more than [\d.e-]+$/,
      ),
    })
  })

  it('counts for a day', async () => {
    breakScans()
    expect(await checkDevice(device, needs)).toMatchObject({ passed: false })
    vi.restoreAllMocks()
    const now = Date.now()
    vi.useFakeTimers({ now: now + 23 * 3_600_000, toFake: ['Date'] })
    expect(await checkDevice(device, needs)).toMatchObject({ passed: false })
    vi.setSystemTime(now + 25 * 3_600_000)
    expect(selfCheckSummary(device)).toMatchObject({ result: 'passed', checks: 1 })
    // The product passed before.
    expect(await recorded(passes)).toBe(ids.length - 1)
  })

  it('is one that cannot run', async () => {
    vi.spyOn(Recorder.prototype, 'sample').mockImplementation(() => {
      throw new Error('[sample] no such kernel')
    })
    expect(await checkDevice(device, needs)).toMatchObject({
      ...{ operation: 'sample', passed: false, failure: '[sample] no such kernel' },
    })
    anotherProcess()
    expect(selfCheckSummary(device).failure).toMatch(/^\[sample\] .*: \[sample\] no such kernel$/)
  })
})

// What `verify --report` prints, for an issue.

import { describe, expect, it } from 'vitest'
import { macName } from '../../lib/machine/machine.js'
import { parseMacDetails } from '../../lib/machine/machine-details.js'
import { formatReport, type ReportFacts } from '../../lib/verify/report.js'
import { allCases, type Verification } from '../../lib/verify/verify.js'
import { ROOT, runChild } from '../support/child-process.js'

const CLI = `${ROOT}lib/cli.ts`

const facts: ReportFacts = {
  machine: {
    version: '1.2.3',
    processor: 'Apple M1',
    cores: 8,
    memoryBytes: 2 ** 34,
    freeMemoryBytes: 2 ** 33,
    platform: 'darwin',
    architecture: 'arm64',
    system: '24.1.0',
    systemName: 'macOS 15.1 (24B83)',
    node: '22.12.0',
    translated: false,
  },
  details: { model: 'MacBookAir10,1', coreKinds: '4 performance, 4 efficiency', gpuCores: 7 },
  addon: 'prebuilds/darwin-arm64/ssm-metal.node',
  device: { name: 'metal', threads: 8, cpuLevel: undefined, gpu: 'Apple M1', tuning: 'table' },
  verifications: [],
  milliseconds: 61_000,
  options: '',
}

const verification = (given: Partial<Verification>): Verification => ({
  operation: 'add',
  dtype: 'float16',
  shape: '2 x 64',
  passed: true,
  error: 1e-4,
  limit: 1e-2,
  milliseconds: 1,
  gigabytesPerSecond: 12.3,
  ...given,
})

describe('the block', () => {
  it('names machine, versions, device and result', () => {
    const lines = formatReport({ ...facts, verifications: [verification({})] }).split('\n')
    expect(lines.slice(1, 10)).toEqual([
      '```text',
      'ssm-metal  1.2.3, prebuilds/darwin-arm64/ssm-metal.node',
      'machine    MacBookAir10,1, Apple M1, 8 cores (4 performance, 4 efficiency), 16.0 GiB',
      'system     macOS 15.1 (24B83), darwin arm64 24.1.0',
      'node       22.12.0',
      'device     metal, Apple M1, 7 GPU cores',
      'tuning     table',
      'result     all 1 cases within their limits, in 1 min 01 s',
      '',
    ])
    expect(lines.slice(-3, -1)).toEqual(['```', expect.stringContaining('up to here')])
  })

  it('has a row an operation and type, with the worst of its cases, and each failure', () => {
    const verifications = [
      verification({}),
      verification({ error: 5e-3, gigabytesPerSecond: 3 }),
      verification({ dtype: 'float32', error: 0, limit: 0 }),
      verification({ operation: 'sample', passed: false, error: 4, limit: 2, shape: '50288' }),
      verification({
        operation: 'argmax',
        passed: false,
        error: Number.NaN,
        limit: Number.NaN,
        failure: '[argmax] no such kernel',
      }),
    ]
    const text = formatReport({ ...facts, verifications })
    expect(text).toContain('result     2 of 5 cases OUTSIDE their limits')
    const cells = text.split('\n').map((line) => line.split(/ +/))
    expect(cells).toContainEqual(['add', 'float16', '2', '-', '0.50', '12'])
    expect(cells).toContainEqual(['add', 'float32', '1', '-', '0', '12'])
    expect(cells).toContainEqual(['sample', 'float16', '1', '1', '2.0', '12'])
    expect(cells).toContainEqual(['argmax', 'float16', '1', '1', '-', '12'])
    expect(text).toContain('sample  float16  50288: error 4.00e+0, limit 2.00e+0')
    expect(text).toContain('argmax  float16  2 x 64: [argmax] no such kernel')
  })

  it('fits an issue when every case of a GPU failed at length', () => {
    const all = [...allCases(['float32', 'float16'])].map(({ operation, dtype, shape }) =>
      verification({ operation, dtype, shape, passed: false, failure: 'x'.repeat(300) }),
    )
    const text = formatReport({ ...facts, verifications: all })
    expect(all.length).toBeGreaterThan(500)
    expect(text.length).toBeLessThan(65_536)
    expect(text).toMatch(/^and \d+ more$/m)
  })
})

describe('what a Mac says of itself', () => {
  it('in sysctl and ioreg', () => {
    const sysctl = [
      'hw.model: Mac14,2',
      'hw.perflevel0.physicalcpu: 4',
      'hw.perflevel0.physicalcpu_max: 4',
      'hw.perflevel0.name: Performance',
      'hw.perflevel1.physicalcpu: 6',
    ].join('\n')
    const ioreg = '+-o AGXAcceleratorG14G\n    {\n      "gpu-core-count" = 10\n    }\n'
    expect(parseMacDetails(sysctl, ioreg)).toEqual({
      model: 'Mac14,2',
      coreKinds: '4 performance, 6 efficiency',
      gpuCores: 10,
    })
    expect(parseMacDetails('hw.model: iMac20,1\n', '')).toEqual({ model: 'iMac20,1' })
  })

  it('in its property list', () => {
    const list = `<plist version="1.0"><dict>
      <key>ProductBuildVersion</key>
      <string>24B83</string>
      <key>ProductName</key>
      <string>macOS</string>
      <key>ProductVersion</key>
      <string>15.1</string></dict></plist>`
    expect(macName(list)).toBe('macOS 15.1 (24B83)')
  })
})

describe('verify --report', () => {
  it('verifies and prints one block', async () => {
    const words = ['verify', '--report', '--quick', '--operation', 'add', '--device', 'cpu']
    const { code, stdout, stderr } = await runChild(CLI, words)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^-+ from here on: paste this into an issue -+\n```text\nssm-metal {2}/)
    expect(stdout).toMatch(/^device {5}cpu, \d+ threads/m)
    expect(stdout).toMatch(/^result {5}all 6 cases .*, with --quick --operation add$/m)
    expect(stdout).toMatch(/^add +float32 +6 +- +0 /m)
  })

  it('is of use where the addon does not load', async () => {
    const nodeOptions = ['--no-addons']
    const { code, stdout } = await runChild(CLI, ['verify', '--report'], { nodeOptions })
    expect(code).toBe(1)
    expect(stdout).toContain('result     nothing could be verified')
    expect(stdout).toContain('native addons are switched off')
    expect(stdout).toMatch(/```\n-+ up to here -+\n$/)
  })

  it('refuses what cannot take effect', async () => {
    const { code, stderr } = await runChild(CLI, ['verify', '--report', '--json'])
    expect(code).toBe(2)
    expect(stderr).toContain('leave out --json and --failures')
  })
})

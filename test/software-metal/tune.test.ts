// Tuning, on the rig's GPU: every value gives right results, and `tune` runs from end to end. Shapes
// are tiny, and no time is looked at.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { formatTuneReport, tuneCommand } from '../../lib/cli/tune.js'
import { CommandList } from '../../lib/operations/device.js'
import { createDevice, referenceDevice } from '../../lib/operations/create-device.js'
import { CorruptFileError } from '../../lib/support/errors.js'
import { loadModel } from '../../lib/load-model.js'
import type { Notice } from '../../lib/support/notices.js'
import type { OperationName } from '../../lib/operations/recorder.js'
import * as published from '../../lib/tune/cases.js'
import { dispatchesOf, type MeasureSettings } from '../../lib/tune/measure.js'
import {
  readSavedTuning,
  savedTuningPath,
  systemName,
  writeSavedTuning,
} from '../../lib/operations/saved-tuning.js'
import { tuneCases } from '../../lib/tune/tune.js'
import { type Tuning, tunables } from '../../lib/operations/tuning.js'
import { Inputs, SharedNumbers } from '../../lib/verify/inputs.js'
import { allCases, compare } from '../../lib/verify/verify.js'
import { VERSION } from '../../lib/support/version.js'
import { fixture } from '../support/checkpoints.js'
import { runChild, startChild, untilOutput } from '../support/child-process.js'

const CLI = fileURLToPath(new URL('../../lib/cli.ts', import.meta.url))
const TINY: published.TuneModel = {
  name: 'tiny',
  dModel: 64,
  heads: 2,
  headDim: 64, // enough for more than one row of the state a simdgroup, however many there are
  dState: 16,
  groups: 1,
  vocabulary: 4200, // more than one part for the fewest simdgroups that are tried
  attention: { heads: 4, kvHeads: 1, headDim: 32, window: 80 },
  fullAttention: { heads: 4, kvHeads: 1, headDim: 32, positions: 2100 },
  tokens: 70,
}
const ONCE: MeasureSettings = { rounds: 2, milliseconds: 0.001, coldBytes: 1 }
const folder = mkdtempSync(join(tmpdir(), 'tune-'))

beforeAll(() => {
  process.env.SSM_METAL_ADDON = fileURLToPath(
    new URL('build/Release/metal_device.node', import.meta.url),
  )
  process.env.XDG_CACHE_HOME = folder
})
beforeEach(() => rmSync(dirname(savedTuningPath()), { recursive: true, force: true }))
afterAll(() => rmSync(folder, { recursive: true }))

/** Values to try for a tunable: candidates, bounds, and one that is no power of two. */
const valuesOf = ({ least, most, candidates }: (typeof all)[number]) =>
  [...new Set([least, ...candidates, most, Math.min(most, least + 2)])].sort((a, b) => a - b)

let all: ReturnType<typeof tunables>
/** Tunings that together have every value of every tunable. */
function combinations(): Tuning[] {
  all = tunables()
  const count = Math.max(...all.map((tunable) => valuesOf(tunable).length))
  return Array.from({ length: count }, (_, i) =>
    Object.fromEntries(
      all.map((tunable, place) => {
        const values = valuesOf(tunable)
        return [tunable.name, values[(i + place) % values.length]!]
      }),
    ),
  )
}

function save(tuning: Tuning, gpu = 'stand-in') {
  using device = createDevice('metal', { tuning })
  const key = { gpu, system: systemName(), version: VERSION }
  writeSavedTuning({ ...key, measured: new Date().toISOString(), tuning: device.tuning! })
}

/** Those that are for speed. */
const measured = () => tunables().filter(({ candidates }) => candidates.length > 1)

/** The recurrence alone, on one sequence. */
const updates = () =>
  published
    .casesOf(TINY)
    .filter(({ operation, shape }) => operation === 'ssd_update' && shape.startsWith('tiny 1 x'))

describe('every value', () => {
  test('of every tunable reaches what is measured', () => {
    const cases = published.publishedCases(false)
    for (const { name, candidates } of measured()) {
      const devices = candidates.map((value) =>
        createDevice('metal', { tuning: { [name]: value } }),
      )
      const reached = candidates.map(() => false)
      for (const each of cases) {
        const texts = dispatchesOf(devices, each)
        for (const [i, text] of texts.entries()) {
          reached[i] ||= texts.some((other) => other !== text)
        }
      }
      for (const device of devices) device.dispose()
      expect(reached, name).toEqual(candidates.map(() => true))
    }
  })

  const operations: OperationName[] = [
    'matmul',
    'quantized_matmul',
    'ssd_update',
    'mamba2_update',
    'attention_decode',
    'paged_attention_decode',
    'ssd_chunk_scan',
  ]
  // Each case once on the CPU, and once under each combination.
  test('gives results within the limits', async () => {
    using reference = referenceDevice()
    const devices = combinations().map((tuning) => createDevice('metal', { tuning }))
    let count = 0
    for (const each of allCases(['float32'])) {
      if (each.large || !operations.includes(each.operation)) continue
      const numbers = new SharedNumbers()
      const exact = new Inputs(reference, numbers, 'float32', 'float32')
      const expected = each.build(exact)
      await reference.record(expected.record).run()
      for (const device of devices) {
        const inputs = new Inputs(device, numbers, 'float32', 'float32')
        const actual = each.build(inputs)
        await device.record(actual.record).run()
        const { operation, dtype, shape } = each
        const what = JSON.stringify({ operation, dtype, shape, ...device.tuning })
        expect(compare(actual, expected), what).toMatchObject({ passed: true })
        inputs.dispose()
      }
      exact.dispose()
      count += 1
    }
    expect(count).toBeGreaterThan(100)
    for (const device of devices) device.dispose()
  })

  test('gives the same tokens, in a model that finds it in the cache', async () => {
    const options = { maxTokens: 6, ignoreEos: true }
    const prompt = [3, 1, 4, 1, 5, 9, 2, 6, 5]
    using exact = await loadModel(fixture('rene'), { device: 'cpu' })
    const expected = await exact.generate(prompt, options)
    for (const tuning of combinations()) {
      save(tuning)
      using model = await loadModel(fixture('rene'), { device: 'metal' })
      expect(model.device).toMatchObject({ tuning, tuningSource: 'saved', gpu: 'stand-in' })
      expect((await model.generate(prompt, options)).tokens).toEqual(expected.tokens)
    }
  })
})

describe('a device', () => {
  test('takes the table of its family, what is saved for this GPU, or what it is told', () => {
    using family = createDevice('metal')
    expect(family.tuningSource).toBe('table')
    for (const { name, least, most } of tunables()) {
      expect(family.tuning![name]).toBeGreaterThanOrEqual(least)
      expect(family.tuning![name]).toBeLessThanOrEqual(most)
    }
    save({ ...family.tuning, vector_outputs: 2 })
    using saved = createDevice('metal')
    expect(saved.tuning).toEqual({ ...family.tuning, vector_outputs: 2 })
    using told = createDevice('auto', { tuning: { vector_outputs: 1 } })
    expect(told.tuning).toEqual({ ...family.tuning, vector_outputs: 1 })
    using plain = createDevice('metal', { tuning: {} })
    expect(plain.tuning).toEqual(family.tuning)
    save({ vector_outputs: 1 }, 'another GPU')
    using other = createDevice('metal')
    expect(other).toMatchObject({ tuning: family.tuning, tuningSource: 'table' })
  })

  test('is batch invariant unless it is told otherwise, whatever its tuning comes from', () => {
    for (const batchInvariant of [true, false]) {
      const told = { batch_invariant: batchInvariant ? 1 : 0 }
      using family = createDevice('metal', { batchInvariant })
      expect(family).toMatchObject({ batchInvariant, tuning: told, tuningSource: 'table' })
      using tuned = createDevice('metal', { batchInvariant, tuning: { vector_outputs: 1 } })
      expect(tuned).toMatchObject({ batchInvariant, tuning: { ...told, vector_outputs: 1 } })
    }
    using plain = createDevice('metal')
    expect(plain.batchInvariant).toBe(true)
    save({ batch_invariant: 0, vector_outputs: 2 })
    using saved = createDevice('metal')
    expect(saved).toMatchObject({ batchInvariant: false, tuningSource: 'saved' })
    using back = createDevice('metal', { batchInvariant: true })
    expect(back).toMatchObject({ batchInvariant: true, tuning: { vector_outputs: 2 } })
  })

  test('is created whatever the file holds', async () => {
    mkdirSync(dirname(savedTuningPath()), { recursive: true })
    writeFileSync(savedTuningPath(), '{"format": "ssm-metal tuning 1"')
    const notices: Notice[] = []
    using device = createDevice('metal', { onNotice: (notice) => notices.push(notice) })
    expect(device.tuningSource).toBe('table')
    expect(notices).toEqual([
      {
        code: 'TUNING_IGNORED',
        message: expect.stringMatching(/^ignoring the saved tuning: .*tuning\.json.*$/),
      },
    ])
  })
})

describe('tune', () => {
  test('measures every tunable, saves, and new devices use it', async () => {
    const steps: { done: number; total: number }[] = []
    const few = published
      .casesOf(TINY)
      .filter(
        ({ dtype, shape }) => !/8-bit/.test(dtype) && !/^tiny \w* ?(2|4|16|32) x /.test(shape),
      )
      .filter(({ operation, shape }) => operation !== 'matmul' || /head|_proj (8|70)/.test(shape))
    const report = await tuneCases(few, ONCE, {
      onProgress: (progress) => steps.push(progress),
    })
    expect(report).toMatchObject({ gpu: 'stand-in', rounds: 2, source: 'table' })
    expect(report.savedTo).toBe(savedTuningPath())
    expect(readSavedTuning()).toMatchObject({ gpu: 'stand-in', tuning: report.tuning })
    using device = createDevice('metal')
    expect(device).toMatchObject({ tuning: report.tuning, tuningSource: 'saved' })
    expect(report.tunables.map(({ name }) => name)).toEqual(measured().map(({ name }) => name))
    for (const { name, before, after, best, ratio, noise, failures } of report.tunables) {
      expect(report.tuning[name]).toBe(after)
      expect([before, best]).toContain(after)
      expect(best).not.toBe(before)
      expect(ratio).toBeGreaterThan(0)
      expect(after === best).toBe(1 - ratio > Math.max(noise, 0.02))
      expect(failures).toEqual([])
      expect(report.cases.some(({ tunable }) => tunable === name)).toBe(true)
    }
    for (const { microseconds, ratio } of report.cases) {
      expect(microseconds).toBeGreaterThan(0)
      expect(ratio).toBeGreaterThan(0)
    }
    expect(steps.map(({ done }) => done)).toEqual(steps.map((_, i) => i))
    expect(steps.every(({ done, total }) => done < total)).toBe(true)
    expect(steps).toHaveLength(report.cases.length)
    const tables = formatTuneReport(report)
    expect(tables).toMatch(/^operation +dtype +shape +tunable +present +time +best +ratio$/m)
    expect(tables).toMatch(/^ssd_update +float32 +tiny 1 x 2 x 64 x 16 +state_rows +1 /m)
    expect(tables).toMatch(/^tunable +present +best +ratio +noise +cases$/m)
    expect(tables).toMatch(/^state_rows +1 +[24] +[\d.]+ +[\d.]+ % +1 +(stays|becomes [24])$/m)
    expect(tables).toContain(`Saved in ${savedTuningPath()}`)
    expect(formatTuneReport({ ...report, savedTo: undefined })).toContain('nothing was saved')
  })

  test('starts from what was saved, and measures nothing that the cases do not have', async () => {
    save({ attention_heads: 1, state_rows: 2 })
    const report = await tuneCases(updates(), ONCE)
    expect(report.source).toBe('saved')
    expect(report.tuning.attention_heads).toBe(1)
    const names = report.tunables.map(({ name }) => name)
    expect(names).toEqual(['state_rows', 'state_simdgroups', 'fill'].slice(0, names.length))
    expect(names.length).toBeGreaterThan(1)
    expect(report.tunables[0]!.before).toBe(2)
  })

  test('saves nothing in a dry run', async () => {
    const report = await tuneCases(updates(), ONCE, { dryRun: true })
    expect(report.savedTo).toBeUndefined()
    expect(readdirSync(folder)).toEqual([])
  })

  test('leaves the old file as it is when it is aborted', async () => {
    save({ attention_heads: 1 })
    const before = readFileSync(savedTuningPath())
    const controller = new AbortController()
    const onProgress = ({ tunable }: { tunable: string }) => {
      if (tunable === 'state_rows') controller.abort()
    }
    const { signal } = controller
    const tuned = tuneCases(updates(), ONCE, { signal, onProgress })
    await expect(tuned).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }))
    expect(readFileSync(savedTuningPath())).toEqual(before)
    expect(readdirSync(dirname(savedTuningPath()))).toEqual(['tuning.json'])
  })

  test('does not overwrite a file that it cannot read', async () => {
    mkdirSync(dirname(savedTuningPath()), { recursive: true })
    writeFileSync(savedTuningPath(), 'mine')
    const tuned = tuneCases(updates(), ONCE)
    await expect(tuned).rejects.toThrow(CorruptFileError)
    await expect(tuned).rejects.toThrow(/tune --reset/)
    expect(readFileSync(savedTuningPath(), 'utf8')).toBe('mine')
  })

  test('says so where there is nothing to measure', async () => {
    await expect(tuneCases([], ONCE)).rejects.toThrow(/nothing that is tuned changes/)
    expect(readSavedTuning()).toBeUndefined()
  })

  test('a value that the GPU cannot run does not win, and is told', async () => {
    const { run } = CommandList.prototype
    const spy = vi.spyOn(CommandList.prototype, 'run')
    spy.mockImplementation(function (this: CommandList, ...given) {
      if (this.device.tuning!.state_rows === 4) return Promise.reject(new Error('too many'))
      return run.apply(this, given)
    })
    try {
      const report = await tuneCases(updates(), ONCE)
      const rows = report.tunables.find(({ name }) => name === 'state_rows')!
      expect(rows.failures).toEqual([{ value: 4, message: 'too many' }])
      expect(rows.best).toBe(2)
    } finally {
      spy.mockRestore()
    }
  })
})

describe('ssm-metal tune', () => {
  const env = () => ({ SSM_METAL_ADDON: process.env.SSM_METAL_ADDON!, XDG_CACHE_HOME: folder })
  const run = (...words: string[]) => runChild(CLI, ['tune', ...words], { env: env() })

  test('prints one object', async () => {
    const [small] = updates()
    const spy = vi.spyOn(published, 'publishedCases').mockImplementation(() => [small!])
    const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    const silent = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    const options = { device: 'auto', operation: [], quick: true, dryRun: true, reset: false }
    try {
      const given = { options: { ...options, json: true }, positionals: [] }
      expect(await tuneCommand.run(given)).toBe(0)
      const [[object]] = write.mock.calls as [[string]]
      expect(JSON.parse(object)).toMatchObject({ gpu: 'stand-in', tuning: expect.anything() })
      expect(silent.mock.calls.map(([text]) => text)).toContain('ssm-metal tune: state_rows\n')
    } finally {
      for (const each of [spy, write, silent]) each.mockRestore()
    }
  })

  test('ends at Control-C, and the old file stays', async () => {
    save({ attention_heads: 1 })
    const before = readFileSync(savedTuningPath())
    const words = ['tune', '--operation', 'ssd_update', '--quick']
    const child = startChild(CLI, words, { env: env() })
    await untilOutput(child, 'stderr', /ssm-metal tune: /)
    child.process.kill('SIGINT')
    expect(await child.result).toMatchObject({ code: 130, stdout: '' })
    expect(readFileSync(savedTuningPath())).toEqual(before)
    const removed = await run('--reset')
    expect(removed).toMatchObject({ code: 0, stdout: `removed ${savedTuningPath()}\n`, stderr: '' })
  })

  test('a damaged file is an error here, and a warning elsewhere', async () => {
    mkdirSync(dirname(savedTuningPath()), { recursive: true })
    writeFileSync(savedTuningPath(), '{}')
    const tuned = await run()
    expect(tuned).toMatchObject({ code: 1, stdout: '' })
    expect(tuned.stderr).toMatch(/^ssm-metal tune: \[tune\] .*tuning\.json: "format".*--reset.*\n$/)
    const info = await runChild(CLI, ['info'], { env: env() })
    expect(info.code).toBe(0)
    expect(info.stdout).toMatch(/^gpu +stand-in\n.*\ntuning +the table of this GPU's family/m)
    expect(info.stderr).toMatch(/^ssm-metal: ignoring the saved tuning: .*\n$/)
  })
})

// What is tuned, as far as it goes without a GPU: the table, values from outside, the file of winners,
// and which of several times wins. On the rig's GPU: test/software-metal/tune.test.ts.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { addon } from '../../lib/operations/addon.js'
import { createDevice } from '../../lib/operations/create-device.js'
import {
  CorruptFileError,
  DeviceNotAvailableError,
  UnsupportedOptionError,
} from '../../lib/support/errors.js'
import { type CaseTimes, decide, LEAST_GAIN } from '../../lib/tune/decide.js'
import {
  readSavedTuning,
  removeSavedTuning,
  savedTuningPath,
  systemName,
  writeSavedTuning,
} from '../../lib/operations/saved-tuning.js'
import { tune } from '../../lib/tune/tune.js'
import { checkTuning, tunables } from '../../lib/operations/tuning.js'
import { VERSION } from '../../lib/support/version.js'

const some = tunables()[0]!

describe('the table', () => {
  it('names everything once, with candidates between its bounds', () => {
    const names = tunables().map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    for (const { name, meaning, least, most, candidates } of tunables()) {
      expect(name).toMatch(/^[a-z]+(_[a-z]+)*$/)
      expect(meaning.length, name).toBeGreaterThan(10)
      // What is not for speed has nothing to measure.
      const isForSpeed = !['piece_microseconds', 'batch_invariant'].includes(name)
      if (isForSpeed) expect(candidates.length, name).toBeGreaterThan(1)
      else expect(candidates, name).toHaveLength(1)
      expect([...candidates], name).toEqual([...new Set(candidates)].sort((a, b) => a - b))
      expect(candidates[0], name).toBeGreaterThanOrEqual(least)
      expect(candidates.at(-1), name).toBeLessThanOrEqual(most)
    }
  })
})

describe('values from outside', () => {
  it('are taken when they are between the bounds', () => {
    expect(checkTuning('x', {})).toEqual({})
    for (const { name, least, most } of tunables()) {
      for (const value of [least, most]) {
        expect(checkTuning('x', { [name]: value })).toEqual({ [name]: value })
      }
    }
  })

  it.each([
    [{ vector_output: 2 }, UnsupportedOptionError, /\[x\] .*"vector_output".*"vector_outputs"/],
    [JSON.parse('{"__proto__": 1}'), UnsupportedOptionError, /__proto__/],
    [{ [some.name]: some.most + 1 }, RangeError, /tuning\.\w+ must be a whole number from \d+ to/],
    [{ [some.name]: some.least - 1 }, RangeError, /but is/],
    [{ [some.name]: 1.5 }, RangeError, /but is 1.5/],
    [{ [some.name]: Number.NaN }, RangeError, /but is NaN/],
    [{ [some.name]: '2' }, TypeError, /must be a number but is "2"/],
    [{ [some.name]: null }, TypeError, /but is null/],
    [[1], TypeError, /tuning must be an object but is an array/],
    [null, TypeError, /but is null/],
    [4, TypeError, /but is 4/],
  ])('%j is an error', (tuning, kind, message) => {
    const check = () => checkTuning('x', tuning)
    expect(check).toThrow(kind)
    expect(check).toThrow(message)
  })

  it('are for GPUs', () => {
    expect(() => createDevice('cpu', { tuning: {} })).toThrow(/tuning is for GPUs/)
    expect(() => createDevice('cpu', { tuning: { nothing: 1 } })).toThrow(
      /unknown option "nothing"/,
    )
    using device = createDevice('cpu')
    expect(device).toMatchObject({ gpu: undefined, tuning: undefined, tuningSource: undefined })
  })

  it('are checked by the addon too', () => {
    expect(() => addon().createDevice('cpu', 1, 5 as never, 30)).toThrow(/array/)
    expect(() => addon().createDevice('cpu', 1, [5, 5], 30)).toThrow(/names/)
    expect(() => addon().createDevice('cpu', 1, [some.name, 'x'], 30)).toThrow(/number/)
  })
})

describe('the saved file', () => {
  const everything = Object.fromEntries(tunables().map(({ name, most }) => [name, most]))
  const good = {
    gpu: 'Some GPU',
    system: systemName(),
    version: VERSION,
    measured: '2026-01-02T03:04:05.678Z',
    tuning: everything,
  }
  const written = { format: 'ssm-metal tuning 1', ...good }
  let folder: string
  let before: string | undefined

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tuning-'))
    before = process.env.XDG_CACHE_HOME
    process.env.XDG_CACHE_HOME = join(folder, 'cache')
  })
  afterEach(() => {
    if (before === undefined) delete process.env.XDG_CACHE_HOME
    else process.env.XDG_CACHE_HOME = before
    rmSync(folder, { recursive: true })
  })

  function put(content: string | Buffer) {
    mkdirSync(dirname(savedTuningPath()), { recursive: true })
    writeFileSync(savedTuningPath(), content)
  }

  it('lies in the cache, is read as it was written, and goes away', () => {
    expect(savedTuningPath()).toBe(join(folder, 'cache/ssm-metal/tuning.json'))
    expect(readSavedTuning()).toBeUndefined()
    expect(removeSavedTuning()).toBe(false)
    writeSavedTuning(good)
    expect(readSavedTuning()).toEqual(good)
    expect(JSON.parse(readFileSync(savedTuningPath(), 'utf8'))).toEqual(written)
    expect(removeSavedTuning()).toBe(true)
    expect(readSavedTuning()).toBeUndefined()
  })

  it('is replaced as a whole, and nothing is left beside it', () => {
    writeSavedTuning(good)
    const { ino } = statSync(savedTuningPath())
    writeSavedTuning({ ...good, gpu: 'Another' })
    expect(statSync(savedTuningPath()).ino).not.toBe(ino)
    expect(readSavedTuning()?.gpu).toBe('Another')
    expect(readdirSync(dirname(savedTuningPath()))).toEqual(['tuning.json'])
  })

  it('that cannot be replaced stays, and nothing is left beside it', () => {
    mkdirSync(join(savedTuningPath(), 'in the way'), { recursive: true })
    expect(() => writeSavedTuning(good)).toThrow()
    expect(readdirSync(dirname(savedTuningPath()))).toEqual(['tuning.json'])
  })

  it.each([
    ['version', '0.0.1'],
    ['system', 'darwin 1'],
  ])('of another %s counts for nothing, whatever it tunes', (key, value) => {
    put(JSON.stringify({ ...written, [key]: value, tuning: { gone: 7 } }))
    expect(readSavedTuning()).toBeUndefined()
  })

  const { [some.name]: _, ...incomplete } = everything
  it.each<[string, string | Buffer, RegExp]>([
    ['nothing', '', /tuning\.json:\d+:\d+: expected/],
    ['half of it', JSON.stringify(written).slice(0, 90), /a string is not closed/],
    ['no JSON', 'fill = 3', /tuning\.json:\d+:\d+: expected/],
    ['bytes', Buffer.from([0xff, 0xfe, 0, 1, 2]), /tuning\.json:\d+:\d+: expected/],
    ['a list', '[1, 2]', /expected a JSON object/],
    ['deep nesting', '['.repeat(10000), /tuning\.json:\d+:\d+: expected/],
    ['another program', '{"name": "x"}', /"format" must be "ssm-metal tuning 1" but is undefined/],
    ['another format', JSON.stringify({ ...written, format: 'ssm-metal tuning 2' }), /tuning 2/],
    ['too much', JSON.stringify({ ...written, more: 'x'.repeat(70_000) }), /larger than 65536/],
    ['no GPU', JSON.stringify({ ...written, gpu: 5 }), /"gpu" must be .* but is 5/],
    ['a terminal escape', JSON.stringify({ ...written, gpu: '\x1b[2J' }), /"gpu"/],
    ['no date', JSON.stringify({ ...written, measured: 'today' }), /"measured"/],
    ['no values', JSON.stringify({ ...written, tuning: null }), /tuning must be an object/],
    ['a value missing', JSON.stringify({ ...written, tuning: incomplete }), RegExp(some.name)],
    [
      'a value too many',
      JSON.stringify({ ...written, tuning: { ...everything, x: 1 } }),
      /unknown option "x"/,
    ],
    [
      'a value out of bounds',
      JSON.stringify({ ...written, tuning: { ...everything, [some.name]: 2 ** 31 } }),
      /2147483648/,
    ],
    [
      'a value that is no number',
      JSON.stringify({ ...written, tuning: { ...everything, [some.name]: true } }),
      /must be a number but is true/,
    ],
  ])('with %s is an error that names it', (_, content, message) => {
    put(content)
    expect(readSavedTuning).toThrow(CorruptFileError)
    expect(readSavedTuning).toThrow(message)
    expect(readSavedTuning).toThrow(savedTuningPath())
  })

  it('that is a folder, or a pipe that nobody writes to, is an error', () => {
    mkdirSync(savedTuningPath(), { recursive: true })
    expect(readSavedTuning).toThrow(/is not a file/)
    rmSync(savedTuningPath(), { recursive: true })
    execFileSync('mkfifo', [savedTuningPath()])
    expect(readSavedTuning).toThrow(/is not a file/)
  })
})

describe('the winner', () => {
  const times = (
    present: number[],
    again: number[],
    candidates: Record<number, number[]>,
  ): CaseTimes => ({
    present,
    again,
    candidates: new Map(Object.entries(candidates).map(([value, of]) => [Number(value), of])),
  })

  it('is the fastest candidate, by ratios in the same round', () => {
    // A machine that slows down: rounds of 10 ms, then of 20.
    const { best, ratio, noise, wins } = decide([
      times([10, 20, 20], [10, 20, 20], { 1: [11, 22, 22], 4: [9, 18, 18], 8: [9.5, 19, 19] }),
    ])!
    expect({ best, wins }).toEqual({ best: 4, wins: true })
    expect(ratio).toBeCloseTo(0.9, 12)
    expect(noise).toBeCloseTo(0, 12)
  })

  it('has to win by more than the present value differs from itself', () => {
    const win = (again: number[]) =>
      decide([times([10, 10, 10], again, { 4: [9.4, 9.4, 9.4] })])!.wins
    expect(win([10, 10, 10])).toBe(true)
    expect(win([10, 10.5, 10])).toBe(true)
    expect(win([10, 10.7, 10])).toBe(false)
    expect(win([10, 10, 9.3])).toBe(false)
  })

  it('has to be worth it', () => {
    const win = (gain: number) => decide([times([1], [1], { 4: [1 - gain] })])!.wins
    expect(win(LEAST_GAIN + 0.001)).toBe(true)
    expect(win(LEAST_GAIN - 0.001)).toBe(false)
    expect(win(-0.5)).toBe(false)
  })

  it('counts every case alike, and those that it does not change', () => {
    const fast = times([1000, 1000], [1000, 1000], { 4: [800, 800] })
    const slow = times([1, 1], [1, 1], { 4: [1.25, 1.25] })
    expect(decide([fast, slow])!.ratio).toBeCloseTo(1, 12)
    const untouched = times([3, 3], [3, 3], { 2: [3, 3] })
    const { best, ratio } = decide([fast, untouched])!
    expect(best).toBe(4)
    expect(ratio).toBeCloseTo(Math.sqrt(0.8), 12)
  })

  it('is nobody where there is nothing to choose', () => {
    expect(decide([])).toBeUndefined()
    expect(decide([times([1], [1], {})])).toBeUndefined()
  })
})

describe('tune', () => {
  it.each([
    [{ device: 'cpu' }, UnsupportedOptionError, /'auto' or 'metal' but is "cpu"/],
    [{ fast: true }, UnsupportedOptionError, /"fast"/],
    [{ operations: ['matvec'] }, UnsupportedOptionError, /of matmul, .* but one is "matvec"/],
    [{ operations: [] }, TypeError, /operations must be a list/],
    [{ signal: 1 }, TypeError, /signal/],
  ])('%j is a mistake', async (options, kind, message) => {
    const tuned = tune(options as never)
    await expect(tuned).rejects.toThrow(kind)
    await expect(tuned).rejects.toThrow(message)
  })

  it.skipIf(addon().deviceNames().includes('metal'))('needs a GPU', async () => {
    await expect(tune()).rejects.toThrow(DeviceNotAvailableError)
    await expect(tune()).rejects.toThrow(/nothing to tune: this machine computes on the CPU/)
    await expect(tune({ device: 'metal' })).rejects.toThrow(/needs a Mac with Apple silicon/)
  })
})

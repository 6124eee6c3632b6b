// Native work leaves the event loop alone, and ends when its process or worker does.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { randomModelShape, writeRandomModel } from '../../scripts/random-model.js'
import { runChild } from '../support/child-process.js'

const FILE = new URL('../support/generating.ts', import.meta.url).pathname

let folder: string
let large: string
let small: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ssm-metal-'))
  large = join(folder, 'large')
  small = join(folder, 'small')
  // On one thread of a plain CPU device a token takes tens of milliseconds.
  await writeRandomModel(
    large,
    randomModelShape({ dModel: 1024, layers: 'S'.repeat(16), vocabSize: 4096 }),
    { dtype: 'bfloat16' },
  )
  await writeRandomModel(
    small,
    randomModelShape({ dModel: 256, layers: 'SMSA', vocabSize: 512, window: 64 }),
  )
})
afterAll(() => rm(folder, { recursive: true }))

// A machine that is busy with something else delays any process; three times in a row is no accident.
describe('the event loop while a model generates', { retry: 2 }, () => {
  it.each(['1', '2'])(
    'is at most 20 ms late at the 99th percentile, %s threads',
    async (threads) => {
      const { code, stdout, stderr } = await runChild(FILE, ['delay', large, threads])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      const measured = JSON.parse(stdout)
      expect(measured.samples).toBeGreaterThan(300)
      expect(measured.tokens).toBeGreaterThan(5)
      // Else the work was too short to be in the way of anything.
      expect(measured.promptMs).toBeGreaterThan(100)
      expect(measured.p99).toBeLessThan(20)
    },
  )
})

describe('a process in the middle of generating', () => {
  it('ends with process.exit', async () => {
    const { code, signal, stderr } = await runChild(FILE, ['exit', small])
    expect({ code, signal, stderr }).toEqual({ code: 3, signal: null, stderr: '' })
  })

  it.each([
    ['throw', 'thrown on purpose'],
    ['unhandled', 'rejected on purpose'],
  ])('ends with an error that nobody catches: %s', async (mode, message) => {
    const { code, signal, stderr } = await runChild(FILE, [mode, small])
    expect({ code, signal }).toEqual({ code: 1, signal: null })
    expect(stderr).toContain(message)
    expect(stderr).not.toMatch(/abort|terminate called|FATAL|Segmentation/i)
  })

  it('survives the termination of its workers', async () => {
    const { code, signal, stdout, stderr } = await runChild(FILE, ['worker', small])
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
    expect(stdout).toBe('terminated, then 2 tokens\n')
  })

  it('is kept alive by the generation and by nothing after it', async () => {
    const { code, stdout, stderr } = await runChild(FILE, ['end', small])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toBe('5 tokens\n')
  })
})

// Each stream gets to the bit what it gets alone, whoever runs beside it.

import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { CommandList } from '../../lib/operations/device.js'
import { loadModel, type Model } from '../../lib/index.js'
import { fixture } from '../support/checkpoints.js'
import { growFromOneSlot } from '../support/failing-runs.js'
import { PROMPTS } from '../support/prompts.js'
import {
  alone,
  type Call,
  drawCall,
  expectIdle,
  hear,
  live,
  tokensOf,
  watchRuns,
} from '../support/company.js'
import { seededIntegers } from '../unit/random.js'

const MODELS = ['rene', 'mamba2-hf', 'edge-mlx-4bit', 'mamba2-mlx-lm-groups-8bit']

async function load(name: string, maxStreams = 32): Promise<Model> {
  const model = await loadModel(fixture(name), { device: 'cpu', maxStreams, promptCache: false })
  onTestFinished(() => model.dispose())
  return model
}

function watched() {
  const watch = watchRuns()
  onTestFinished(watch.restore)
  return watch.runs
}

const drawCalls = (seed: number, count: number) => {
  const draw = seededIntegers(seed)
  return Array.from({ length: count }, () => drawCall(draw))
}

/** Runs calls beside one another and compares each with itself alone. */
async function compare(name: string, model: Model, calls: readonly Call[]): Promise<void> {
  const company = await Promise.all(
    calls.map(async (call) => {
      await sleep(call.delay)
      return hear(model, call)
    }),
  )
  for (const [i, call] of calls.entries()) {
    expect(company[i], `call ${i}: ${JSON.stringify(call.options)}`).toEqual(
      await alone(name, call),
    )
  }
}

describe.each(MODELS)('%s', (name) => {
  it.each([
    [2, 32],
    [5, 32],
    [13, 32],
    [32, 32],
    [40, 32],
    [24, 3],
  ])('%i streams with %i places at most', async (count, maxStreams) => {
    const model = await load(name, maxStreams)
    await compare(name, model, drawCalls(count, count))
    await turn()
    await expectIdle(model)
  })

  it('13 streams in a pool that grows', async () => {
    const model = await load(name, 32)
    growFromOneSlot(model, 32)
    const sizes = new Set<number>()
    const { run } = CommandList.prototype
    const spy = vi.spyOn(CommandList.prototype, 'run').mockImplementation(function (
      this: CommandList,
      options,
    ) {
      if (this.device === model.device) sizes.add(model.memory().slotBytes)
      return run.call(this, options)
    })
    onTestFinished(() => spy.mockRestore())
    // Some at once, so that there are several whatever the machine does; others while these run.
    const calls = drawCalls(13, 13).map((call, i) => (i < 5 ? { ...call, delay: 0 } : call))
    await compare(name, model, calls)
    // All at once, or as many as there are.
    expect(sizes.size).toBeGreaterThan(2)
  })

  it('streams among sessions', async () => {
    const model = await load(name, 8)
    const lives = Array.from({ length: 12 }, (_, i) => 100 + i)
    const [told] = await Promise.all([
      Promise.all(lives.map((seed, i) => live(model, seededIntegers(seed), i % 3))),
      compare(name, model, drawCalls(77, 10)),
    ])
    for (const [i, seed] of lives.entries()) {
      using fresh = await loadModel(fixture(name), { device: 'cpu' })
      expect(told[i]).toEqual(await live(fresh, seededIntegers(seed)))
    }
    expect(new Set(told.map(String)).size).toBe(lives.length)
  })
})

it('logits of whole texts are the same in company', async () => {
  const model = await load('rene')
  const texts = [1, 70, 300, 600].map((length) => tokensOf(length, seededIntegers(length)))
  const expected = []
  for (const text of texts) expected.push(await model.logits(text))
  const streams = compare('rene', model, drawCalls(3, 12))
  expect(await Promise.all(texts.map((text) => model.logits(text)))).toEqual(expected)
  await streams
})

describe('the width of a step', () => {
  it('goes from 1 to 32 and back, more streams than that take turns', async () => {
    const model = await load('rene', 64)
    const draw = seededIntegers(5)
    // One more from time to time, and one less.
    const calls = Array.from({ length: 40 }, (_, i) => ({
      prompt: tokensOf(7, draw),
      options: { ignoreEos: true, maxTokens: 300 - 5 * i, temperature: 1, seed: i, logprobs: 0 },
      leaving: undefined,
      delay: 2 * i,
      pause: 0,
    }))
    const runs = watched()
    await compare('rene', model, calls)
    const rows = new Set(runs.filter(({ tokens }) => !tokens).map(({ slots }) => slots.length))
    expect(Math.max(...rows)).toBe(32)
    for (const few of [1, 2, 3]) expect(rows).toContain(few)
  })

  it('above 32 streams nobody waits for long', async () => {
    const model = await load('rene', 64)
    const runs = watched()
    const options = { ignoreEos: true, maxTokens: 160, temperature: 1 }
    await Promise.all(
      Array.from({ length: 40 }, (_, i) => model.generate([i, 3], { ...options, seed: i })),
    )
    const steps = runs.filter(({ tokens }) => !tokens).map(({ slots }) => slots)
    expect(steps.filter(({ length }) => length === 32).length).toBeGreaterThan(100)
    const last = new Map<number, number>()
    let longest = 0
    for (const [index, slots] of steps.entries()) {
      for (const slot of slots) {
        longest = Math.max(longest, index - (last.get(slot) ?? index))
        last.set(slot, index)
      }
    }
    expect(last.size).toBe(40)
    // Those that a step leaves out are in the next one.
    expect(longest).toBe(2)
  })
})

describe('what others need', () => {
  const options = { ignoreEos: true, maxTokens: 150 }

  it('more stop tokens: none of them ends a stream that is under way', async () => {
    // A stream that draws token 0, which memory that was never written holds.
    const model = await load('rene')
    const draws = (tokens: number[]) => tokens.indexOf(0)
    let seed = 0
    let expected: number[] = []
    while (draws(expected) < 40) {
      seed += 1
      ;({ tokens: expected } = await model.generate([1], { ...options, temperature: 50, seed }))
    }
    const company = await load('rene')
    const stream = company.stream([1], { ...options, temperature: 50, seed })
    const tokens: (number | undefined)[] = []
    for await (const { token } of stream) {
      tokens.push(token)
      if (tokens.length > 1) continue
      await company.generate([2], { maxTokens: 1, stopTokens: tokensOf(60, seededIntegers(1)) })
    }
    expect(tokens).toEqual(expected)
  })

  it.each([
    [
      'all of the vocabulary as stop tokens',
      { stopTokens: Array.from({ length: 256 }, (_, i) => i) },
    ],
    ['the longest context of a penalty', { repetitionPenalty: 1.1, repetitionContextSize: 65536 }],
  ])('%s', async (_, needs) => {
    const expected = await (await load('rene')).generate([1], { ...options, logprobs: 1 })
    const alone = await (await load('rene')).generate([2], { ...options, ...needs })
    const model = await load('rene')
    const running = model.generate([1], { ...options, logprobs: 1 })
    await sleep(1)
    expect((await model.generate([2], { ...options, ...needs })).tokens).toEqual(alone.tokens)
    const { tokens, logprobs } = await running
    expect({ tokens, logprobs }).toEqual({
      tokens: expected.tokens,
      logprobs: expected.logprobs,
    })
  })
})

it('stop texts end a stream where they end it alone, sessions too', async () => {
  const path = fileURLToPath(new URL('../../models/rene-tiny', import.meta.url))
  const open = async () => {
    const model = await loadModel(path, { device: 'cpu', promptCache: false })
    onTestFinished(() => model.dispose())
    return model
  }
  const ask = async (model: Model, i: number) => {
    const source = i % 2 === 0 ? model : model.createSession()
    const options = { maxTokens: 60, temperature: 0.8, seed: i, stop: ['. ', 'the', 'ing '] }
    const { text, tokens, finishReason } = await source.generate(PROMPTS[i]!, options)
    const onwards = source === model ? undefined : await source.generate(' So', { maxTokens: 9 })
    return { text, tokens, finishReason, onwards: onwards?.tokens }
  }
  const model = await open()
  const indices = Array.from({ length: 8 }, (_, i) => i)
  const company = await Promise.all(indices.map((i) => ask(model, i)))
  const alone = await open()
  for (const i of indices) expect(company[i]).toEqual(await ask(alone, i))
  expect(company.filter(({ finishReason }) => finishReason === 'stop').length).toBeGreaterThan(4)
})

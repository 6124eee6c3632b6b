// Runs that fail, prompts that are cut short and models that go leave nothing wrong in the prompt cache.

import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { snapshotBytes } from '../../lib/engine/snapshot.js'
import { loadModel, type LoadOptions, type Model } from '../../lib/index.js'
import { Memory } from '../../lib/operations/tensor.js'
import { fixture } from '../support/checkpoints.js'
import { drawCall, expectIdle, hear, tokensOf } from '../support/company.js'
import { FAILURE, occupy, whileRunsFail } from '../support/failing-runs.js'
import { PromptClient } from '../support/prompt-clients.js'
import { watchSnapshots } from '../support/live-memory.js'
import { seededIntegers } from '../unit/random.js'

vi.mock('../../lib/operations/addon.js', async (original) => {
  const { withFailures } = await import('../support/failing-runs.js')
  return withFailures(await original())
})

const OPTIONS = { ignoreEos: true, maxTokens: 6, logprobs: 2 }
const PROMPT = tokensOf(600, seededIntegers(1))

async function load(promptCache: LoadOptions['promptCache']): Promise<Model> {
  const model = await loadModel(fixture('rene'), { device: 'cpu', promptCache })
  onTestFinished(() => model.dispose())
  return model
}

let cold: Model
beforeAll(async () => {
  cold = await loadModel(fixture('rene'), { device: 'cpu', promptCache: false })
})
afterAll(() => cold.dispose())

// What is the same to the bit where a prompt begins at a multiple of 64, and nearly so elsewhere.
async function expectRight(model: Model, prompt: number[]): Promise<void> {
  const expected = await cold.generate(prompt, OPTIONS)
  const { tokens, logprobs } = await model.generate(prompt, OPTIONS)
  expect(tokens).toEqual(expected.tokens)
  for (const [i, { logprob }] of logprobs!.entries()) {
    expect(logprob).toBeCloseTo(expected.logprobs![i]!.logprob, 4)
  }
}

describe.each(['device', 'operation'] as const)('a run that fails by its %s', (by) => {
  it.each([true, false])('any of a prompt and its text, exact: %s', async (exact) => {
    const { tokens } = await cold.generate(PROMPT, OPTIONS)
    let failures = 0
    for (let failing = 1; failing < 14; failing++) {
      const model = await load({ maxBytes: 2 ** 30, exact })
      const stream = model.stream(PROMPT, OPTIONS)
      let runs = 0
      // The reader is away while the steps behind the one that failed run.
      await whileRunsFail(
        () => ++runs === failing,
        async () => {
          await stream.next().catch(() => {})
          await vi.waitFor(() => expect(model.engine.load.runs).toBe(0))
          await sleep(5)
        },
        by,
      )
      await expectRight(model, PROMPT)
      for (const end of [1, tokens.length - 2, tokens.length - 1]) {
        await expectRight(model, [...PROMPT, ...tokens.slice(0, end), 9])
      }
      await stream.result.catch((error: Error) => {
        expect(error.message).toBe(FAILURE)
        failures += 1
      })
      await expectIdle(model)
    }
    expect(failures).toBeGreaterThan(4)
  })

  it('in front of a prompt, known only when all of it has run: nothing of that is kept', async () => {
    const model = await load({ maxBytes: 2 ** 30, exact: true })
    const prompt = PROMPT.slice(0, 100)
    const release = occupy(model.device)
    let runs = 0
    // The first brings the state to its slot. Behind it are two pieces, and a copy of what the first of them leaves.
    await whileRunsFail(
      () => ++runs === 1,
      async () => {
        const call = expect(model.generate(prompt, OPTIONS)).rejects.toThrow(FAILURE)
        await vi.waitFor(() => expect(model.engine.load.runs).toBe(2), { interval: 1 })
        await release()
        await call
      },
      by,
    )
    const { logprobs: expected } = await cold.generate(prompt, OPTIONS)
    const { logprobs, usage } = await model.generate(prompt, OPTIONS)
    expect(usage.cachedTokens).toBe(0)
    expect(logprobs).toEqual(expected)
  })
})

it.each([true, false])('whichever runs fail in company, exact: %s', async (exact) => {
  const draw = seededIntegers(5)
  let failed = 0
  let given = 0
  for (let round = 0; round < 8; round++) {
    const model = await load({ maxBytes: 2 ** 30, exact })
    const client = new PromptClient(draw)
    for (let i = 0; i < 6; i++) {
      const calls = Array.from({ length: 1 + draw(6) }, () => ({
        ...drawCall(draw),
        prompt: client.next(),
      }))
      const outcomes = await whileRunsFail(
        () => draw(40) === 0,
        () => Promise.allSettled(calls.map((call) => hear(model, call))),
      )
      for (const [index, outcome] of outcomes.entries()) {
        const { prompt } = calls[index]!
        client.heard(prompt, [])
        if (outcome.status === 'rejected') {
          expect(outcome.reason.message).toBe(FAILURE)
          failed += 1
          continue
        }
        given += 1
        if (exact) expect(outcome.value).toEqual(await hear(cold, { ...calls[index]!, pause: 0 }))
        await expectRight(model, prompt)
      }
    }
    await expectIdle(model)
  }
  expect(failed).toBeGreaterThan(25)
  expect(given).toBeGreaterThan(25)
})

it('prompts that are aborted anywhere leave nothing wrong, and nothing behind', async () => {
  const draw = seededIntegers(6)
  const prompt = tokensOf(2400, draw)
  const expected = await cold.generate(prompt, OPTIONS)
  const model = await load({ maxBytes: 2 ** 30, exact: true })
  for (let i = 0; i < 40; i++) {
    const controller = new AbortController()
    const call = model.generate(prompt, { ...OPTIONS, signal: controller.signal })
    await sleep(draw(12))
    controller.abort(new Error('enough'))
    await call.catch((error: Error) => expect(error.message).toBe('enough'))
    await expectIdle(model)
    if (i % 8 > 0) continue
    const { tokens, logprobs } = await model.generate(prompt, OPTIONS)
    expect({ tokens, logprobs }).toEqual({ tokens: expected.tokens, logprobs: expected.logprobs })
    prompt.unshift(prompt.pop()!)
    Object.assign(expected, await cold.generate(prompt, OPTIONS))
  }
})

it('without memory for a copy nothing is kept, and the text is right', async () => {
  const model = await load({ maxBytes: 2 ** 30 })
  const size = snapshotBytes(model.languageModel)
  const { allocate } = Memory
  const spy = vi.spyOn(Memory, 'allocate').mockImplementation((bytes) => {
    if (bytes === size) throw new Error('there is no memory on purpose')
    return allocate.call(Memory, bytes)
  })
  onTestFinished(() => spy.mockRestore())
  await expectRight(model, PROMPT)
  await expectIdle(model)
  expect(model.memory().promptCacheBytes).toBe(0)
  spy.mockRestore()
  await expectRight(model, PROMPT)
  await expectRight(model, PROMPT)
})

it('a model that is disposed of frees its snapshots, those on their way too', async () => {
  const live = watchSnapshots(cold)
  const model = await load({ maxBytes: 2 ** 30 })
  await model.generate(PROMPT, OPTIONS)
  expect(live.size).toBeGreaterThan(1)
  const call = model.generate([...PROMPT, 1], OPTIONS)
  const before = live.size
  await vi.waitFor(() => expect(live.size).toBeGreaterThan(before), { interval: 1 })
  model.dispose()
  await call.catch(() => {})
  await vi.waitFor(() => expect(live.size).toBe(0))
})

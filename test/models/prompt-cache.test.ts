// Prompts that begin with a state that was kept give what they give without: to the bit with `exact`, up to rounding
// otherwise. And the budget is kept to.

import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { snapshotBytes } from '../../lib/engine/snapshot.js'
import { type GenerateResult, loadModel, type LoadOptions, type Model } from '../../lib/index.js'
import { Memory } from '../../lib/operations/tensor.js'
import { fixture } from '../support/checkpoints.js'
import { type Call, drawCall, expectIdle, hear, tokensOf } from '../support/company.js'
import { consumedTokens, PromptClient } from '../support/prompt-clients.js'
import type { Draw } from '../support/session-cases.js'
import { watchSnapshots } from '../support/live-memory.js'
import { seededIntegers } from '../unit/random.js'

const MODELS = ['rene', 'mamba2-hf', 'edge-mlx-4bit']
const LARGE = 2 ** 30
// What an entry counts as besides its snapshot is less, with the longest prompts here.
const ENTRY_BYTES = 2 ** 14

type PromptCache = LoadOptions['promptCache']

async function load(name: string, promptCache: PromptCache, maxStreams = 32): Promise<Model> {
  const model = await loadModel(fixture(name), { device: 'cpu', promptCache, maxStreams })
  onTestFinished(() => model.dispose())
  return model
}

/** Checks whenever memory is allocated that there are no more snapshots than the budget allows. */
function watchBudget(model: Model): { most: number; atMost(bytes: number): void } {
  const size = snapshotBytes(model.languageModel)
  const watched = {
    most: 0,
    atMost: (bytes: number) => expect(watched.most).toBeLessThanOrEqual(bytes),
  }
  const live = watchSnapshots(model, () => {
    watched.most = Math.max(watched.most, live.size * size, model.memory().promptCacheBytes)
  })
  return watched
}

/** Log-probabilities of the same tokens, as far as rounding cannot have drawn another one. */
function expectClose(warm: GenerateResult, cold: GenerateResult): void {
  for (const [i, expected] of cold.logprobs!.entries()) {
    const actual = warm.logprobs![i]!
    const values = new Map(actual.topLogprobs.map(({ token, logprob }) => [token, logprob]))
    const [first, second] = expected.topLogprobs
    for (const { token, logprob } of [first!, second!]) {
      // One that is as likely as the third may be missing.
      const value = values.get(token)
      if (value !== undefined) expect(Math.abs(value - logprob)).toBeLessThan(CLOSE)
    }
    if (first!.logprob - second!.logprob < 2 * CLOSE) return
    expect(warm.tokens[i]).toBe(cold.tokens[i])
  }
  expect(warm.finishReason).toBe(cold.finishReason)
}

const CLOSE = 1e-4

describe.each(MODELS)('%s', (name) => {
  it('by default: the same up to rounding, and no token is run that was run before', async () => {
    const draw = seededIntegers(21)
    const client = new PromptClient(draw)
    const warm = await load(name, { maxBytes: LARGE })
    const cold = await load(name, false)
    const known: number[][] = []
    let saved = 0
    for (let i = 0; i < 40; i++) {
      const prompt = client.next()
      const options = {
        maxTokens: [1, 2, 9, 20][draw(4)]!,
        logprobs: 3,
        ...(draw(4) === 0 ? { stopTokens: tokensOf(40, draw) } : { ignoreEos: true }),
        ...(draw(4) === 0 ? { prefillChunkSize: [1, 50, 64, 200][draw(4)]! } : {}),
      }
      const [actual, expected] = [
        await warm.generate(prompt, options),
        await cold.generate(prompt, options),
      ]
      expectClose(actual, expected)
      const { cachedTokens, promptTokens } = actual.usage
      expect(promptTokens).toBe(prompt.length)
      expect(expected.usage.cachedTokens).toBe(0)
      const longest = Math.max(
        0,
        ...known.filter((tokens) => begins(prompt, tokens)).map(({ length }) => length),
      )
      expect(cachedTokens).toBeGreaterThanOrEqual(longest)
      saved += cachedTokens
      known.push(prompt, consumedTokens(prompt, actual))
      client.heard(prompt, actual.tokens)
    }
    expect(saved).toBeGreaterThan(2000)
  })

  it.each([
    ['nothing', 0],
    ['one snapshot', 1],
    ['three snapshots', 3],
    ['as many as there are', 1000],
  ])('exact, in company, with room for %s: the same to the bit', async (_, snapshots) => {
    const draw = seededIntegers(22 + snapshots)
    const cold = await load(name, false)
    const maxBytes = snapshots * (snapshotBytes(cold.languageModel) + ENTRY_BYTES)
    const warm = await load(name, { maxBytes, exact: true }, 5)
    const budget = watchBudget(warm)
    const client = new PromptClient(draw)
    let cached = 0
    for (let round = 0; round < 8; round++) {
      const calls = Array.from({ length: 1 + draw(8) }, () => callOf(client, draw))
      const heard = await Promise.all(
        calls.map(async (call) => {
          await sleep(call.delay)
          return hear(warm, call)
        }),
      )
      for (const [i, call] of calls.entries()) {
        const expected = await hear(cold, { ...call, pause: 0 })
        expect(heard[i], `round ${round}, call ${i}`).toEqual(expected)
        client.heard(
          call.prompt,
          expected.chunks
            .map((chunk) => (chunk as number[])[0]!)
            .filter((token) => token !== undefined),
        )
      }
      const { usage } = await warm.generate(calls[0]!.prompt, { maxTokens: 1 })
      expect(usage.cachedTokens % 64).toBe(0)
      cached += usage.cachedTokens
    }
    budget.atMost(maxBytes)
    if (snapshots === 0) expect([cached, budget.most]).toEqual([0, 0])
    else expect(cached).toBeGreaterThan(0)
    await expectIdle(warm)
    expect(warm.memory()).toMatchObject({ promptCacheMaxBytes: maxBytes, snapshotBytes: 0 })
    if (snapshots === 1000) expect(warm.memory().promptCacheBytes).toBeGreaterThan(budget.most / 2)
  })
})

const begins = (prompt: readonly number[], tokens: readonly number[]) =>
  tokens.length <= prompt.length && tokens.every((token, i) => token === prompt[i])

function callOf(client: PromptClient, draw: Draw): Call {
  return { ...drawCall(draw), prompt: client.next() }
}

describe('where a prompt begins', () => {
  const cachedTokens = async (model: Model, prompt: number[]) =>
    (await model.generate(prompt, { maxTokens: 1, ignoreEos: true })).usage.cachedTokens

  it.each([
    [true, [128, 64, 128, 192]],
    [false, [136, 0, 128, 200]],
  ])('exact: %s', async (exact, expected) => {
    const draw = seededIntegers(31)
    const model = await load('rene', { maxBytes: LARGE, exact })
    const prompt = tokensOf(128, draw)
    const { tokens } = await model.generate(prompt, { maxTokens: 9, ignoreEos: true })
    const long = tokensOf(200, draw)
    await model.generate(long, { maxTokens: 9, ignoreEos: true })
    const begun = [
      await cachedTokens(model, [...prompt, ...tokens, 5]),
      await cachedTokens(model, prompt.slice(0, 100)),
      await cachedTokens(model, prompt),
      await cachedTokens(model, long),
    ]
    expect(begun).toEqual(expected)
  })

  it.each([true, false])('after 2048 tokens, and where others part; exact: %s', async (exact) => {
    const draw = seededIntegers(32)
    const model = await load('rene', { maxBytes: LARGE, exact })
    const long = tokensOf(4500, draw)
    const begun = []
    for (const shared of [4500, 4200, 4300, 2100, 2000, 2010]) {
      begun.push(await cachedTokens(model, [...long.slice(0, shared), 1, 2, 3]))
    }
    // The second that parts somewhere leaves a copy there, for the third.
    expect(begun).toEqual([0, 4096, 4160, 2048, 0, 1984])
  })
})

describe('memory', () => {
  it('of one that makes room is that of the next', async () => {
    const draw = seededIntegers(33)
    const { languageModel } = await load('rene', false)
    const size = snapshotBytes(languageModel)
    const model = await load('rene', { maxBytes: 4 * size, exact: false })
    const ask = () => model.generate(tokensOf(30, draw), { maxTokens: 5, ignoreEos: true })
    for (let i = 0; i < 3; i++) await ask() // it is full
    const allocate = vi.spyOn(Memory, 'allocate')
    onTestFinished(() => allocate.mockRestore())
    for (let i = 0; i < 6; i++) await ask()
    expect(allocate.mock.calls.filter(([bytes]) => bytes === size)).toEqual([])
    // What was given away is nobody's any more.
    const prompt = tokensOf(30, draw)
    const cold = await model.generate(prompt, { maxTokens: 5, ignoreEos: true })
    const warm = await model.generate(prompt, { maxTokens: 5, ignoreEos: true })
    expect(warm.usage.cachedTokens).toBe(30)
    expect(warm.tokens).toEqual(cold.tokens)
  })

  it('is not copied again for a turn that is there', async () => {
    const model = await load('rene', { maxBytes: LARGE, exact: false })
    const prompt = tokensOf(30, seededIntegers(34))
    const ask = () => model.generate(prompt, { maxTokens: 5, ignoreEos: true })
    await ask()
    await sleep(20)
    const { promptCacheBytes } = model.memory()
    const allocate = vi.spyOn(Memory, 'allocate')
    onTestFinished(() => allocate.mockRestore())
    await ask()
    expect(allocate).not.toHaveBeenCalledWith(snapshotBytes(model.languageModel), expect.anything())
    expect(model.memory().promptCacheBytes).toBe(promptCacheBytes)
  })
})

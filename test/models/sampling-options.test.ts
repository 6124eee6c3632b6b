// What the options of sampling do to a generation, held against loops over the model's logits.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { randomModelShape, writeRandomModel } from '../../scripts/random-model.js'
import { loadModel } from '../../lib/load-model.js'
import type { GenerateOptions, Model } from '../../lib/index.js'
import { drawToken, GREEDY, logprobsOf, type SamplingSettings } from '../reference/sampling.js'
import { fixture, temporaryFolder } from '../support/checkpoints.js'
import { rowsOf } from '../support/arrays.js'
import { expectClose } from '../tolerance.js'

let model: Model
let rene: Model
beforeAll(async () => {
  model = await loadModel(undefined, { device: 'cpu' })
  rene = await loadModel(fixture('rene'), { device: 'cpu', maxStreams: 1 })
})
afterAll(() => {
  model.dispose()
  rene.dispose()
})

/** The logits after each token, in rows. */
async function logitsOf(of: Model, tokens: number[]): Promise<number[][]> {
  const { data, shape } = await of.logits(tokens)
  return rowsOf(data, shape[1])
}

/** What a generation must draw, token by token; `generated` were there before the first. */
async function drawn(
  of: Model,
  { prompt, generated = [] }: { prompt: number[]; generated?: number[] },
  { options, tokens }: { options: GenerateOptions; tokens: number[] },
): Promise<number[]> {
  const { repetitionContextSize: window = 64, logitBias = {}, seed = 0 } = options
  const settings: SamplingSettings = {
    temperature: options.temperature ?? GREEDY.temperature,
    topK: options.topK ?? GREEDY.topK,
    topP: options.topP ?? GREEDY.topP,
    minP: options.minP ?? GREEDY.minP,
    repetitionPenalty: options.repetitionPenalty ?? GREEDY.repetitionPenalty,
    presencePenalty: options.presencePenalty ?? GREEDY.presencePenalty,
    frequencyPenalty: options.frequencyPenalty ?? GREEDY.frequencyPenalty,
    seed: [seed, 0],
  }
  const biases =
    logitBias instanceof Map
      ? logitBias
      : new Map(Object.entries(logitBias).map(([token, bias]) => [Number(token), bias]))
  const all = [...prompt, ...generated, ...tokens]
  const begin = all.length - tokens.length
  const rows = await logitsOf(of, all)
  return tokens.map((_, i) => {
    const position = begin + i
    const context = {
      recent: all.slice(Math.max(0, position - window), position),
      generated: all.slice(prompt.length, position),
      biases,
    }
    return drawToken(rows[position - 1]!, context, position, settings)
  })
}

const CASES: GenerateOptions[] = [
  { presencePenalty: 1.2 },
  { presencePenalty: -2 },
  { frequencyPenalty: 0.6 },
  { frequencyPenalty: -1.5 },
  { presencePenalty: 2, frequencyPenalty: 2 },
  { presencePenalty: 0.5, frequencyPenalty: 0.3, repetitionPenalty: 1.2 },
  { presencePenalty: 0.5, repetitionPenalty: 1.4, repetitionContextSize: 3 },
  { temperature: 1.1, seed: 5, presencePenalty: 0.8, topK: 40 },
  { temperature: 0.9, seed: 6, frequencyPenalty: 0.4, topP: 0.9, minP: 0.02 },
]

describe('each token of the built-in model', () => {
  const options = { maxTokens: 60, ignoreEos: true }
  let prompt: number[]
  let plain: number[]
  beforeAll(async () => {
    prompt = [...model.encode('Once upon a time there was a')]
    ;({ tokens: plain } = await model.generate(prompt, options))
  })

  it.each(CASES)('with %o', async (given) => {
    const { tokens } = await model.generate(prompt, { ...options, ...given })
    expect(tokens).toHaveLength(60)
    expect(tokens).toEqual(await drawn(model, { prompt }, { options: given, tokens }))
    expect(tokens).not.toEqual(plain)
  })

  it('with biases, as an object and as a Map', async () => {
    // The tokens that it would have drawn: some banned, some less likely.
    const entries = [...new Set(plain)].map((token, i) => [token, [-100, -0.5, 2][i % 3]!] as const)
    for (const logitBias of [Object.fromEntries(entries), new Map(entries)]) {
      const given = { logitBias, frequencyPenalty: 0.5 }
      const { tokens } = await model.generate(prompt, { ...options, ...given })
      expect(tokens).toEqual(await drawn(model, { prompt }, { options: given, tokens }))
      const banned = entries.filter(([, bias]) => bias === -100).map(([token]) => token)
      expect(tokens.filter((token) => banned.includes(token))).toEqual([])
      expect(tokens).not.toEqual(plain)
    }
  })

  it('with as many biases as there may be, and one that forces', async () => {
    const size = model.config.paddedVocabSize
    const biases = Array.from({ length: 1024 }, (_, i) => [i, i === 700 ? 100 : -3] as const)
    expect(size).toBeGreaterThan(1024)
    const { tokens } = await model.generate(prompt, { ...options, logitBias: new Map(biases) })
    expect(tokens).toEqual(new Array(60).fill(700))
  })

  it('reports the probabilities that the model itself gives', async () => {
    const given = { temperature: 1, seed: 3, frequencyPenalty: 1, logitBias: { 5: 9 } }
    for (const count of [0, 1, 100]) {
      const result = await model.generate(prompt, { ...options, ...given, logprobs: count })
      const rows = await logitsOf(model, [...prompt, ...result.tokens])
      const expected = result.tokens.map((token, i) =>
        logprobsOf(rows[prompt.length - 1 + i]!, token, count),
      )
      const reported = result.logprobs!
      expect(reported.map(({ topLogprobs }) => topLogprobs.map(({ token }) => token))).toEqual(
        expected.map(({ tokens }) => tokens.slice(1)),
      )
      expectClose(
        reported.flatMap(({ logprob, topLogprobs }) => [
          logprob,
          ...topLogprobs.map((top) => top.logprob),
        ]),
        expected.flatMap(({ logprobs }) => logprobs),
        'float32',
      )
    }
  })
})

describe('a slot', () => {
  const prompt = [5, 6, 7]
  const options = { maxTokens: 30, ignoreEos: true }

  it('forgets what the stream before it generated, and its biases', async () => {
    const given = {
      ...options,
      presencePenalty: 2,
      frequencyPenalty: 1,
      logitBias: { 9: 3, 11: -9 },
    }
    const plain = await rene.generate(prompt, options)
    const first = await rene.generate(prompt, given)
    expect(first.tokens).not.toEqual(plain.tokens)
    expect((await rene.generate(prompt, options)).tokens).toEqual(plain.tokens)
    expect((await rene.generate(prompt, given)).tokens).toEqual(first.tokens)
  })

  it('reports no more alternatives than there are tokens', async () => {
    const folder = await temporaryFolder()
    const shape = randomModelShape({ dModel: 64, layers: 'S', vocabSize: 32 })
    await writeRandomModel(folder, shape, { dtype: 'float32' })
    using small = await loadModel(folder, { device: 'cpu' })
    const vocabulary = small.config.paddedVocabSize
    expect(vocabulary).toBeLessThan(100)
    const { logprobs } = await small.generate([1], { ...options, maxTokens: 2, logprobs: 100 })
    for (const { topLogprobs } of logprobs!) {
      const tokens = topLogprobs.map(({ token }) => token).sort((a, b) => a - b)
      expect(tokens).toEqual(Array.from({ length: vocabulary }, (_, token) => token))
    }
  })
})

describe('what a session has generated', () => {
  // Hot, because the fixture is sure of most tokens: every count tells.
  const given = {
    ...{ ignoreEos: true, temperature: 5, seed: 2 },
    ...{ presencePenalty: 2, frequencyPenalty: 2 },
  }

  it('counts since its last prompt', async () => {
    using session = rene.createSession()
    const prompts = [
      [5, 6, 7],
      [8, 9],
    ] as const
    const before = await session.generate(prompts[0], { ...given, maxTokens: 40 })
    const first = await session.generate(prompts[1], { ...given, maxTokens: 25 })
    const rest = await session.generate('', { ...given, maxTokens: 35 })
    const tokens = [...first.tokens, ...rest.tokens]
    const prompt = [...prompts[0], ...before.tokens, ...prompts[1]]
    expect(tokens).toEqual(await drawn(rene, { prompt }, { options: given, tokens }))
    expect(tokens).toEqual((await rene.generate(prompt, { ...given, maxTokens: 60 })).tokens)
  })

  it('counts on where an empty prompt goes on, also in a fork and after a checkpoint', async () => {
    const prompt = [5, 6, 7]
    const whole = await rene.generate(prompt, { ...given, maxTokens: 80 })
    using session = rene.createSession()
    const { tokens: generated } = await session.generate(prompt, { ...given, maxTokens: 40 })
    using moment = await session.checkpoint()
    using fork = await session.fork()
    for (const one of [session, fork]) {
      const { tokens } = await one.generate('', { ...given, maxTokens: 40 })
      expect([...generated, ...tokens]).toEqual(whole.tokens)
    }
    await session.rewind(moment)
    const { tokens } = await session.generate('', { ...given, maxTokens: 40 })
    expect(tokens).toEqual(await drawn(rene, { prompt, generated }, { options: given, tokens }))
    expect([...generated, ...tokens]).toEqual(whole.tokens)
  })
})

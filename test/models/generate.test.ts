// Generation: what comes out, when it ends, and that it ends when it is told to.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { randomModelShape, writeRandomModel } from '../../scripts/random-model.js'
import { CommandList } from '../../lib/operations/device.js'
import {
  DisposedError,
  TokenizerNotFoundError,
  UnsupportedOptionError,
} from '../../lib/support/errors.js'
import { loadModel } from '../../lib/load-model.js'
import type { LoadOptions } from '../../lib/options/loading.js'
import type { GenerateOptions, Model } from '../../lib/index.js'
import { EngineStream } from '../../lib/engine/stream.js'
import { indexOfLargest } from '../reference/sampling.js'
import { FIXTURES, fixture, readGolden, temporaryFolder } from '../support/checkpoints.js'
import { writeScriptedModel } from '../support/scripted-model.js'

const TOKENIZER = join(FIXTURES, 'tokenizer-250')

let folder: string
let slowModelFolder: string
/** rene with a tokenizer of its vocabulary. */
let rene: Model

// What earlier calls left to the prompt cache would begin later ones.
const PLAIN = { device: 'cpu', promptCache: false } as const

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ssm-metal-'))
  // Large enough that a prompt of a few thousand tokens takes seconds.
  slowModelFolder = join(folder, 'slow')
  const shape = randomModelShape({ dModel: 512, layers: 'S'.repeat(6), vocabSize: 512 })
  await writeRandomModel(slowModelFolder, shape, { dtype: 'bfloat16' })
  rene = await loadModel(fixture('rene'), { ...PLAIN, tokenizer: TOKENIZER })
})
afterAll(async () => {
  rene.dispose()
  await rm(folder, { recursive: true })
})

const slowModel = () => loadModel(slowModelFolder, { ...PLAIN, threads: 1 })
const LONG_PROMPT = Array.from({ length: 4000 }, (_, i) => i % 500)

async function scriptedModel(text: string): Promise<Model> {
  const place = await temporaryFolder()
  await writeScriptedModel(place, rene.tokenizer!.encode(text))
  return loadModel(place, PLAIN)
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

const rowsOf = ({ data, shape }: { data: Float32Array; shape: [number, number] }) =>
  Array.from({ length: shape[0] }, (_, i) => [...data.subarray(i * shape[1], (i + 1) * shape[1])])

function logSoftmax(logits: number[]): number[] {
  const largest = Math.max(...logits)
  const total = logits.reduce((sum, x) => sum + Math.exp(x - largest), 0)
  return logits.map((x) => x - largest - Math.log(total))
}

describe.each([
  'edge-mlx-4bit',
  'mamba2-hf-groups',
  'mamba2-mlx-lm-4bit',
  'mamba2-mlx-lm-groups-8bit',
  'mamba2-state-spaces',
  'rene',
])('%s, greedy', (name) => {
  it('is the chain of the largest logits', async () => {
    using model = await loadModel(fixture(name), { device: 'cpu' })
    const prompt = (await readGolden(name)).tokens.slice(0, 9)
    const { tokens } = await model.generate(prompt, { maxTokens: 40, ignoreEos: true })
    expect(tokens).toHaveLength(40)
    const rows = rowsOf(await model.logits([...prompt, ...tokens]))
    expect(tokens).toEqual(rows.slice(8, 48).map(indexOfLargest))
  })
})

describe('sampling', () => {
  const prompt = [5, 6, 7]
  // Hot, because the fixture is sure of most tokens.
  const options = { temperature: 6, maxTokens: 30, ignoreEos: true }

  it('repeats with the same seed and not with another', async () => {
    const first = await rene.generate(prompt, { ...options, seed: 1 })
    const second = await rene.generate(prompt, { ...options, seed: 1 })
    const other = await rene.generate(prompt, { ...options, seed: 2 })
    expect(second.tokens).toEqual(first.tokens)
    expect(other.tokens).not.toEqual(first.tokens)
    expect(first.seed).toBe(1)
  })

  it('tells the seed that it chose itself', async () => {
    const first = await rene.generate(prompt, options)
    const second = await rene.generate(prompt, { ...options, seed: first.seed })
    const third = await rene.generate(prompt, options)
    expect(second.tokens).toEqual(first.tokens)
    expect(third.seed).not.toBe(first.seed)
    expect(third.tokens).not.toEqual(first.tokens)
  })

  it('does not depend on threads, chunks or a model loaded anew', async () => {
    const expected = await rene.generate([...Array(50).keys()], { ...options, seed: 3 })
    using model = await loadModel(fixture('rene'), { device: 'cpu', threads: 1 })
    const actual = await model.generate([...Array(50).keys()], {
      ...options,
      seed: 3,
      prefillChunkSize: 7,
    })
    expect(actual.tokens).toEqual(expected.tokens)
  })

  it('uses all 53 bits of the seed', async () => {
    const low = await rene.generate(prompt, { ...options, seed: 7 })
    const high = await rene.generate(prompt, { ...options, seed: 2 ** 32 + 7 })
    expect(high.tokens).not.toEqual(low.tokens)
  })

  it.each<[string, GenerateOptions]>([
    ['topK 1', { topK: 1 }],
    ['topP 0', { topP: 0 }],
    ['minP 1', { minP: 1 }],
    ['a temperature near 0', { temperature: 1e-6 }],
  ])('%s is greedy', async (_, narrow) => {
    const greedy = await rene.generate(prompt, { maxTokens: 20, ignoreEos: true })
    const actual = await rene.generate(prompt, { ...options, maxTokens: 20, ...narrow })
    expect(actual.tokens).toEqual(greedy.tokens)
  })

  it.each([6, 64])('repetitionPenalty over %i tokens follows its definition', async (size) => {
    const repetitionPenalty = 1.8
    const text = [...rene.tokenizer!.encode('Once upon')]
    // A prompt that already holds the tokens that come next, so that it must count too.
    const { tokens: usual } = await rene.generate(text, { maxTokens: 5, ignoreEos: true })
    const start = [...text, ...usual]
    const options = { maxTokens: 30, ignoreEos: true }
    const { tokens } = await rene.generate(start, {
      ...options,
      repetitionPenalty,
      repetitionContextSize: size,
    })
    const all = [...start, ...tokens]
    const rows = rowsOf(await rene.logits(all))
    const expected = tokens.map((_, i) => {
      const position = start.length + i
      const recent = all.slice(Math.max(0, position - size), position)
      const penalised = rows[position - 1]!.map((logit, token) => {
        if (!recent.includes(token)) return logit
        return logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty
      })
      return indexOfLargest(penalised)
    })
    expect(tokens).toEqual(expected)
    const plain = await rene.generate(start, options)
    expect(tokens[0]).not.toBe(plain.tokens[0])
  })
})

describe('logprobs', () => {
  it('are the log-softmax of the logits, the best first', async () => {
    const prompt = [9, 8, 7, 6]
    const result = await rene.generate(prompt, {
      maxTokens: 10,
      ignoreEos: true,
      temperature: 2,
      // Neither changes what the model itself thinks.
      repetitionPenalty: 1.3,
      seed: 5,
      logprobs: 4,
    })
    const rows = rowsOf(await rene.logits([...prompt, ...result.tokens]))
    for (const [i, token] of result.tokens.entries()) {
      const expected = logSoftmax(rows[prompt.length - 1 + i]!)
      const { logprob, topLogprobs } = result.logprobs![i]!
      expect(logprob).toBeCloseTo(expected[token]!, 4)
      const best = [...expected.keys()].sort((a, b) => expected[b]! - expected[a]!).slice(0, 4)
      expect(topLogprobs.map((top) => top.token)).toEqual(best)
      for (const top of topLogprobs) expect(top.logprob).toBeCloseTo(expected[top.token]!, 4)
    }
  })

  it('0 reports the token alone; without the option there are none', async () => {
    const some = await rene.generate([1], { maxTokens: 2, logprobs: 0, ignoreEos: true })
    expect(some.logprobs).toHaveLength(2)
    expect(some.logprobs![0]!.topLogprobs).toEqual([])
    expect(await rene.generate([1], { maxTokens: 2 })).not.toHaveProperty('logprobs')
  })

  it('come with each chunk of a stream', async () => {
    const stream = rene.stream([1, 2], { maxTokens: 3, logprobs: 2, ignoreEos: true })
    const chunks = await collect(stream)
    expect(chunks.map(({ logprob }) => logprob)).toEqual(
      (await stream.result).logprobs!.map(({ logprob }) => logprob),
    )
    expect(chunks.every(({ topLogprobs }) => topLogprobs?.length === 2)).toBe(true)
  })
})

describe('the end', () => {
  const SCRIPT = 'The quick-fox'

  it('maxTokens', async () => {
    using model = await scriptedModel(SCRIPT)
    const result = await model.generate('T', { maxTokens: 3 })
    expect(result.tokens).toEqual([...model.tokenizer!.encode(SCRIPT).slice(1, 4)])
    expect(result.finishReason).toBe('length')
    expect(result.text).toBe(model.tokenizer!.decode(result.tokens))
  })

  it('the end-of-text token, which is not part of the result', async () => {
    using model = await scriptedModel(SCRIPT)
    const result = await model.generate('T')
    expect(result.text).toBe(SCRIPT.slice(1))
    expect(result.tokens).not.toContain(0)
    expect(result.finishReason).toBe('stop')
  })

  it('ignoreEos goes on after it', async () => {
    using model = await scriptedModel(SCRIPT)
    const result = await model.generate('T', { maxTokens: 20, ignoreEos: true })
    expect(result.tokens).toContain(0)
    expect(result.tokens).toHaveLength(20)
    expect(result.finishReason).toBe('length')
  })

  it('a token of stopTokens', async () => {
    using model = await scriptedModel(SCRIPT)
    const q = model.tokenizer!.encode('q')[0]!
    const result = await model.generate('T', { stopTokens: [3, q] })
    expect(result.text).toBe('he ')
    expect(result.finishReason).toBe('stop')
  })

  it.each([
    // Across tokens, of one, several, the later one first, and one that never comes.
    ['e qui', 'h'],
    [['zebra', 'ick'], 'he qu'],
    [['fox', 'uick-f'], 'he q'],
    ['never', 'he quick-fox'],
    ['foxes', 'he quick-fox'],
    ['x', 'he quick-fo'],
  ])('the stop string %j', async (stop, text) => {
    using model = await scriptedModel(SCRIPT)
    const stream = model.stream('T', { stop })
    const chunks = await collect(stream)
    const result = await stream.result
    expect(result.text).toBe(text)
    expect(chunks.map((chunk) => chunk.text).join('')).toBe(text)
    expect(result.finishReason).toBe('stop')
    // What a chunk shows is never taken back: no part of a stop string was.
    expect(chunks.every((chunk) => text.includes(chunk.text))).toBe(true)
  })

  it('a stop string that is begun when maxTokens ends the text is text', async () => {
    using model = await scriptedModel(SCRIPT)
    const result = await model.generate('T', { stop: 'he quiz', maxTokens: 5 })
    expect(result.text).toBe(model.tokenizer!.decode(result.tokens))
    expect(result.text.startsWith('he qu')).toBe(true)
    expect(result.finishReason).toBe('length')
  })
})

describe('text', () => {
  it('never splits a character, whatever tokens its bytes are', async () => {
    const script = 'a日🙂é'
    using model = await scriptedModel(script)
    const chunks = await collect(model.stream('a'))
    const texts = chunks.map(({ text }) => text)
    expect(texts.filter((text) => text !== '')).toEqual(['日', '🙂', 'é'])
    expect(texts).toHaveLength(9)
  })

  it('shows a character that maxTokens cuts off as a broken one', async () => {
    using model = await scriptedModel('a日🙂é')
    expect((await model.generate('a', { maxTokens: 5 })).text).toBe('日\ufffd')
  })

  it('is the same in a stream, at once, and decoded afterwards', async () => {
    for (const seed of [1, 2, 3, 4]) {
      // Hot enough for all kinds of bytes, broken sequences and padding ids among them.
      const options = { seed, temperature: 4, maxTokens: 150, ignoreEos: true }
      const stream = rene.stream('Once upon', options)
      const chunks = await collect(stream)
      const result = await stream.result
      expect(chunks.map(({ text }) => text).join('')).toBe(result.text)
      expect(chunks.map(({ token }) => token)).toEqual(result.tokens)
      expect(result.text).toBe(rene.tokenizer!.decode(result.tokens))
      expect(chunks.some(({ text }) => /\p{Surrogate}/u.test(text))).toBe(false)
      const whole = await rene.generate('Once upon', options)
      expect(whole.tokens).toEqual(result.tokens)
      expect(whole.text).toBe(result.text)
    }
  })

  it('a text prompt is its tokens', async () => {
    const text = 'the state is '
    const ids = rene.tokenizer!.encode(text)
    const fromText = await rene.generate(text, { maxTokens: 8 })
    const fromIds = await rene.generate(ids, { maxTokens: 8 })
    expect(fromText.tokens).toEqual(fromIds.tokens)
    expect(fromText.usage.promptTokens).toBe(ids.length)
    expect((await rene.logits(text)).data).toEqual((await rene.logits(ids)).data)
  })

  it('is empty without a tokenizer', async () => {
    using model = await loadModel(fixture('mamba2-hf'), { device: 'cpu' })
    const { text, tokens } = await model.generate([1, 2], { maxTokens: 4, ignoreEos: true })
    expect(text).toBe('')
    expect(tokens).toHaveLength(4)
  })
})

describe('prompts', () => {
  it.each<[string, ArrayLike<number>]>([
    ['array', [1, 2, 3]],
    ['Int32Array', Int32Array.of(1, 2, 3)],
    ['Uint32Array', Uint32Array.of(1, 2, 3)],
    ['Uint16Array', Uint16Array.of(1, 2, 3)],
    ['Float64Array', Float64Array.of(1, 2, 3)],
    ['object with a length', { length: 3, 0: 1, 1: 2, 2: 3 }],
  ])('may be a %s', async (_, prompt) => {
    const expected = await rene.generate([1, 2, 3], { maxTokens: 5, ignoreEos: true })
    const actual = await rene.generate(prompt, { maxTokens: 5, ignoreEos: true })
    expect(actual.tokens).toEqual(expected.tokens)
  })

  it('are read once, before generate returns', async () => {
    const prompt = Int32Array.of(1, 2, 3)
    const running = rene.generate(prompt, { maxTokens: 5, ignoreEos: true })
    prompt.fill(9)
    const expected = await rene.generate([1, 2, 3], { maxTokens: 5, ignoreEos: true })
    expect((await running).tokens).toEqual(expected.tokens)
  })
})

it('usage and timings', async () => {
  const result = await rene.generate([1, 2, 3, 4], { maxTokens: 6, ignoreEos: true })
  expect(result.usage).toEqual({
    promptTokens: 4,
    cachedTokens: 0,
    completionTokens: 6,
    totalTokens: 10,
  })
  const { timings } = result
  for (const [name, value] of Object.entries(timings)) {
    expect(value, name).toBeGreaterThan(name === 'queueMs' ? -1 : 0)
    expect(Number.isFinite(value)).toBe(true)
  }
  expect(timings.timeToFirstTokenMs).toBeCloseTo(timings.queueMs + timings.promptMs, 6)
  expect(timings.promptTokensPerSecond).toBeCloseTo(4000 / timings.promptMs, 6)
  expect(timings.generationTokensPerSecond).toBeCloseTo(5000 / timings.generationMs, 6)
  expect(timings.peakMemoryBytes).toBeGreaterThan(10 * 2 ** 20)

  const single = await rene.generate([1], { maxTokens: 1 })
  expect(single.timings.generationTokensPerSecond).toBe(0)
})

describe('streams', () => {
  it('break stops the work', async () => {
    const runs = vi.spyOn(CommandList.prototype, 'run')
    try {
      const stream = rene.stream([1, 2, 3], { ignoreEos: true, maxTokens: 1000 })
      let count = 0
      for await (const _ of stream) {
        count += 1
        if (count === 3) break
      }
      // No further than a reader who reads at once lets it run.
      const started = runs.mock.calls.length
      expect(started).toBeLessThan(3 + 40)
      await sleep(20)
      expect(runs).toHaveBeenCalledTimes(started)
      const result = await stream.result
      expect(result.finishReason).toBe('abort')
      expect(result.tokens).toHaveLength(3)
      expect((await stream.next()).done).toBe(true)
      expect(runs).toHaveBeenCalledTimes(started)
    } finally {
      runs.mockRestore()
    }
  })

  it.each<[string, GenerateOptions, number]>([
    ['without stop strings', {}, 32],
    ['with logprobs', { logprobs: 1 }, 32],
    // The token at hand may be the last, and the run that consumes it is all that may follow.
    ['with a stop string', { stop: 'never' }, 1],
  ])('%s, %j: it is %i tokens ahead of a slow reader', async (_, options, ahead) => {
    const decode = vi.spyOn(EngineStream.prototype, 'decode')
    const runs = vi.spyOn(CommandList.prototype, 'run')
    try {
      const maxTokens = 40
      const stream = rene.stream([1, 2, 3], { ignoreEos: true, maxTokens, ...options })
      const atLook: number[] = []
      for (let token = 0; token < maxTokens; token++) {
        await stream.next()
        await sleep(token % 10 === 0 ? 50 : 0) // what was started has ended
        atLook.push(decode.mock.calls.length)
      }
      expect((await stream.next()).done).toBe(true)
      const most = maxTokens - 1 // the first token is that of the prompt
      expect(atLook).toEqual(atLook.map((__, token) => Math.min(token + ahead, most)))
      expect(decode).toHaveBeenCalledTimes(most)
      // Nothing was computed that nobody asked for: the state is set up, the prompt, a run for each step, and as
      // many reads of logits as tokens.
      const reads = options.logprobs ? maxTokens : 0
      expect(runs).toHaveBeenCalledTimes(1 + 1 + most + reads)
    } finally {
      decode.mockRestore()
      runs.mockRestore()
    }
  })

  it.each<[string, GenerateOptions]>([
    ['', {}],
    ['with logprobs', { logprobs: 3 }],
  ])('a slow reader gets what a fast one gets %s', async (_, options) => {
    const given = { ignoreEos: true, maxTokens: 12, temperature: 3, seed: 4, ...options }
    const expected = await rene.generate([1, 2, 3], given)
    const chunks = []
    for await (const chunk of rene.stream([1, 2, 3], given)) {
      await sleep(3)
      chunks.push(chunk)
    }
    expect(chunks.map(({ token }) => token)).toEqual(expected.tokens)
    expect(chunks.map(({ logprob }) => logprob)).toEqual(
      expected.logprobs?.map(({ logprob }) => logprob) ?? chunks.map(() => undefined),
    )
  })

  it('does nothing before it is iterated, and nothing when it is left alone', async () => {
    const runs = vi.spyOn(CommandList.prototype, 'run')
    try {
      const stream = rene.stream([1, 2, 3], { maxTokens: 3 })
      await sleep(10)
      expect(runs).not.toHaveBeenCalled()
      await stream.return()
      expect((await stream.result).tokens).toEqual([])
      expect(runs).not.toHaveBeenCalled()
    } finally {
      runs.mockRestore()
    }
  })

  it('result runs it when nobody iterates', async () => {
    const options = { maxTokens: 5, ignoreEos: true }
    const stream = rene.stream([4, 5], options)
    const expected = await rene.generate([4, 5], options)
    expect((await stream.result).tokens).toEqual(expected.tokens)
  })

  it('partial grows with the chunks', async () => {
    const stream = rene.stream('Once', { maxTokens: 6, ignoreEos: true })
    expect(stream.partial.tokens).toEqual([])
    let text = ''
    let count = 0
    for await (const chunk of stream) {
      text += chunk.text
      count += 1
      expect(stream.partial.text).toBe(text)
      expect(stream.partial.tokens).toHaveLength(count)
      expect(stream.partial.usage.completionTokens).toBe(count)
    }
    expect(count).toBe(6)
    expect(await stream.result).toBe(stream.partial)
  })

  it('an error in the loop of the caller stops the work', async () => {
    const stream = rene.stream([1], { maxTokens: 100, ignoreEos: true })
    const loop = async () => {
      for await (const _ of stream) throw new Error('of the caller')
    }
    await expect(loop()).rejects.toThrow('of the caller')
    expect((await stream.result).tokens).toHaveLength(1)
  })
})

describe('an AbortSignal', () => {
  const reason = new Error('enough')

  it('aborted before', async () => {
    const signal = AbortSignal.abort(reason)
    await expect(rene.generate([1], { signal })).rejects.toBe(reason)
    await expect(rene.logits([1], { signal })).rejects.toBe(reason)
    await expect(rene.stream([1], { signal }).next()).rejects.toBe(reason)
    await expect(rene.stream([1], { signal }).result).rejects.toBe(reason)
    await expect(loadModel(fixture('rene'), { signal })).rejects.toBe(reason)
  })

  it.each(['generate', 'logits'] as const)('during the prefill of %s', async (method) => {
    using model = await slowModel()
    const controller = new AbortController()
    const running = model[method](LONG_PROMPT, { signal: controller.signal })
    setTimeout(() => controller.abort(reason), 60)
    const start = performance.now()
    await expect(running).rejects.toBe(reason)
    // The whole prompt takes several seconds.
    expect(performance.now() - start).toBeLessThan(1000)
  })

  it('during decode', async () => {
    using model = await slowModel()
    const controller = new AbortController()
    const stream = model.stream([1, 2, 3], {
      maxTokens: 100_000,
      ignoreEos: true,
      signal: controller.signal,
    })
    await stream.next()
    setTimeout(() => controller.abort(reason), 20)
    await expect(collect(stream)).rejects.toBe(reason)
    await expect(stream.result).rejects.toBe(reason)
    expect(stream.partial.finishReason).toBe('abort')
    expect(stream.partial.tokens.length).toBeGreaterThan(0)
    // The model is as good as before.
    expect((await model.generate([1], { maxTokens: 3 })).tokens).toHaveLength(3)
  })

  it('aborted between two tokens', async () => {
    const runs = vi.spyOn(CommandList.prototype, 'run')
    try {
      const controller = new AbortController()
      const stream = rene.stream([1], { ignoreEos: true, signal: controller.signal })
      await stream.next()
      controller.abort(reason)
      await expect(stream.next()).rejects.toBe(reason)
      expect(runs).toHaveBeenCalledTimes(3)
    } finally {
      runs.mockRestore()
    }
  })

  it('without a reason rejects with an AbortError, and a timeout with a TimeoutError', async () => {
    const signal = AbortSignal.abort()
    await expect(rene.generate([1], { signal })).rejects.toThrow(
      expect.objectContaining({ name: 'AbortError' }),
    )
    using model = await slowModel()
    await expect(model.generate(LONG_PROMPT, { signal: AbortSignal.timeout(50) })).rejects.toThrow(
      expect.objectContaining({ name: 'TimeoutError' }),
    )
  })

  it('keeps no listeners of generations that have ended', async () => {
    const { signal } = new AbortController()
    const add = vi.spyOn(signal, 'addEventListener')
    const remove = vi.spyOn(signal, 'removeEventListener')
    await rene.generate([1], { maxTokens: 5, ignoreEos: true, signal })
    expect(add.mock.calls.length).toBeGreaterThan(0)
    expect(remove).toHaveBeenCalledTimes(add.mock.calls.length)
  })
})

it('several generations at once give the same as each alone', async () => {
  const jobs = Array.from({ length: 6 }, (_, i) => ({
    prompt: Array.from({ length: 1 + 9 * i }, (__, j) => (7 * i + 3 * j) % 250),
    options: { temperature: i / 3, seed: i, maxTokens: 12 + 3 * i, ignoreEos: true },
  }))
  const alone = []
  for (const { prompt, options } of jobs) {
    alone.push((await rene.generate(prompt, options)).tokens)
  }
  const together = await Promise.all(
    jobs.map(({ prompt, options }) => rene.generate(prompt, options)),
  )
  expect(together.map(({ tokens }) => tokens)).toEqual(alone)
})

describe('disposal', () => {
  it.each(['in the prompt', 'between tokens'])('%s rejects with DisposedError', async (when) => {
    const model = await slowModel()
    const inPrompt = when === 'in the prompt'
    const running = model.generate(inPrompt ? LONG_PROMPT : [1], {
      maxTokens: 100_000,
      ignoreEos: true,
    })
    await sleep(60)
    model.dispose()
    await expect(running).rejects.toThrow(DisposedError)
  })

  it('of a model with a stream that waits for its reader', async () => {
    const model = await loadModel(fixture('rene'), { device: 'cpu' })
    const stream = model.stream([1], { ignoreEos: true })
    await stream.next()
    model.dispose()
    await expect(stream.next()).rejects.toThrow(DisposedError)
    await expect(stream.result).rejects.toThrow(DisposedError)
  })

  it('makes every later call fail', async () => {
    let kept: Model
    {
      await using model = await loadModel(fixture('rene'), { device: 'cpu' })
      kept = model
      await model.generate([1], { maxTokens: 1 })
    }
    await expect(kept.generate([1])).rejects.toThrow(DisposedError)
    await expect(kept.logits([1])).rejects.toThrow(DisposedError)
    expect(() => kept.stream([1])).toThrow(DisposedError)
    kept.dispose()
  })
})

describe('wrong calls', () => {
  const calls: [string, unknown, unknown, RegExp, new (...args: never[]) => Error][] = [
    ['an empty text', '', {}, /prompt is empty/, RangeError],
    ['no tokens', [], {}, /prompt is empty/, RangeError],
    ['a number', 5, {}, /must be a text or token ids but is 5/, TypeError],
    ['null', null, {}, /must be a text or token ids but is null/, TypeError],
    ['undefined', undefined, {}, /must be a text or token ids but is undefined/, TypeError],
    [
      'a token beyond the vocabulary',
      [1, 256],
      {},
      /token 1 .* is 256, .*vocabulary of 256/,
      RangeError,
    ],
    ['a negative token', [-1], {}, /token 0 of the prompt is -1/, RangeError],
    ['a fractional token', [1.5], {}, /token 0 of the prompt is 1.5/, RangeError],
    ['a NaN token', [1, NaN], {}, /token 1 of the prompt is NaN/, RangeError],
    ['a text among the tokens', ['1'], {}, /token 0 of the prompt is "1"/, RangeError],
    ['a hole among the tokens', new Array(2), {}, /token 0 of the prompt is undefined/, RangeError],
    ['options that are none', [1], null, /options must be an object but is null/, TypeError],
    ['an unknown option', [1], { size: 1 }, /unknown option "size"/, UnsupportedOptionError],
    [
      'a misspelt option',
      [1],
      { maxtokens: 1 },
      /"maxtokens": did you mean "maxTokens"/,
      UnsupportedOptionError,
    ],
    [
      'another misspelt option',
      [1],
      { temprature: 1 },
      /did you mean "temperature"/,
      UnsupportedOptionError,
    ],
    [
      'maxTokens 0',
      [1],
      { maxTokens: 0 },
      /maxTokens must be a whole number, at least 1 but is 0/,
      RangeError,
    ],
    ['maxTokens NaN', [1], { maxTokens: NaN }, /maxTokens .* NaN/, RangeError],
    ['maxTokens 1.5', [1], { maxTokens: 1.5 }, /maxTokens .* 1.5/, RangeError],
    ['maxTokens Infinity', [1], { maxTokens: Infinity }, /maxTokens .* Infinity/, RangeError],
    ['maxTokens "5"', [1], { maxTokens: '5' }, /maxTokens must be a number but is "5"/, TypeError],
    ['temperature NaN', [1], { temperature: NaN }, /temperature .* NaN/, RangeError],
    ['temperature −1', [1], { temperature: -1 }, /temperature .* -1/, RangeError],
    [
      'temperature null',
      [1],
      { temperature: null },
      /temperature must be a number but is null/,
      TypeError,
    ],
    ['topK −1', [1], { topK: -1 }, /topK .* -1/, RangeError],
    ['topK 1.5', [1], { topK: 1.5 }, /topK .* 1.5/, RangeError],
    ['topP 2', [1], { topP: 2 }, /topP must be a number from 0 to 1 but is 2/, RangeError],
    ['topP NaN', [1], { topP: NaN }, /topP .* NaN/, RangeError],
    ['minP −0.1', [1], { minP: -0.1 }, /minP .* -0.1/, RangeError],
    ['minP NaN', [1], { minP: NaN }, /minP .* NaN/, RangeError],
    ['repetitionPenalty 0', [1], { repetitionPenalty: 0 }, /repetitionPenalty .* 0$/, RangeError],
    [
      'repetitionPenalty NaN',
      [1],
      { repetitionPenalty: NaN },
      /repetitionPenalty .* NaN/,
      RangeError,
    ],
    [
      'repetitionContextSize 0',
      [1],
      { repetitionContextSize: 0 },
      /repetitionContextSize .* 0$/,
      RangeError,
    ],
    [
      'presencePenalty 3',
      [1],
      { presencePenalty: 3 },
      /presencePenalty must be a number from -2 to 2 but is 3/,
      RangeError,
    ],
    ['frequencyPenalty NaN', [1], { frequencyPenalty: NaN }, /frequencyPenalty .* NaN/, RangeError],
    [
      'logitBias of a list',
      [1],
      { logitBias: [1, 2] },
      /logitBias must be an object or a Map of token ids and numbers but is an array of 2/,
      TypeError,
    ],
    ['logitBias null', [1], { logitBias: null }, /logitBias must be an object .* null/, TypeError],
    [
      'logitBias of a text',
      [1],
      { logitBias: { ' the': 1 } },
      /logitBias has the key " the", which is no token id/,
      TypeError,
    ],
    [
      'logitBias outside',
      [1],
      { logitBias: { 256: 1 } },
      /logitBias has the token 256, which is outside the vocabulary of 256/,
      RangeError,
    ],
    [
      'logitBias of half a token',
      [1],
      { logitBias: new Map([[1.5, 1]]) },
      /logitBias has the token 1.5, which is outside/,
      RangeError,
    ],
    [
      'logitBias of −Infinity',
      [1],
      { logitBias: { 3: -Infinity } },
      /logitBias of token 3 must be a number from -100 to 100 but is -Infinity/,
      RangeError,
    ],
    [
      'logitBias of nothing',
      [1],
      { logitBias: { 3: undefined } },
      /logitBias of token 3 must be a number but is undefined/,
      TypeError,
    ],
    [
      'too much logitBias',
      [1],
      { logitBias: new Map(Array.from({ length: 1025 }, (_, i) => [i, 1])) },
      /logitBias must have at most 1024 tokens but has 1025/,
      RangeError,
    ],
    ['seed −1', [1], { seed: -1 }, /seed .* -1/, RangeError],
    ['seed 2^53', [1], { seed: 2 ** 53 }, /seed .* 9007199254740992/, RangeError],
    ['seed NaN', [1], { seed: NaN }, /seed .* NaN/, RangeError],
    ['logprobs −1', [1], { logprobs: -1 }, /logprobs .* -1/, RangeError],
    ['logprobs true', [1], { logprobs: true }, /logprobs must be a number but is true/, TypeError],
    ['prefillChunkSize 0', [1], { prefillChunkSize: 0 }, /prefillChunkSize .* 0$/, RangeError],
    [
      'prefillChunkSize 1025',
      [1],
      { prefillChunkSize: 1025 },
      /prefillChunkSize must be a whole number from 1 to 960 but is 1025/,
      RangeError,
    ],
    ['prefillChunkSize NaN', [1], { prefillChunkSize: NaN }, /prefillChunkSize .* NaN/, RangeError],
    ['an empty stop string', [1], { stop: ['a', ''] }, /stop .* holds ""/, TypeError],
    [
      'a number as stop',
      [1],
      { stop: 5 },
      /stop must be a text or a list of texts but is 5/,
      TypeError,
    ],
    ['a number among stop', [1], { stop: [5] }, /stop .* holds 5/, TypeError],
    ['a stop token outside', [1], { stopTokens: [256] }, /stopTokens holds 256/, RangeError],
    ['a number as stopTokens', [1], { stopTokens: 5 }, /stopTokens must be a list .* 5/, TypeError],
    ['ignoreEos 1', [1], { ignoreEos: 1 }, /ignoreEos must be true or false but is 1/, TypeError],
    ['a signal that is none', [1], { signal: {} }, /signal must be an AbortSignal/, TypeError],
  ]
  it.each(calls)('%s', async (_, prompt, options, message, ErrorClass) => {
    const call = () => rene.generate(prompt as number[], options as GenerateOptions)
    await expect(call()).rejects.toThrow(message)
    await expect(call()).rejects.toThrow(ErrorClass)
    await expect(call()).rejects.toThrow(/^\[generate\] /)
    expect(() => rene.stream(prompt as number[], options as GenerateOptions)).toThrow(message)
  })

  it.each<[string, unknown, RegExp]>([
    ['a misspelt option', { prefilChunkSize: 3 }, /did you mean "prefillChunkSize"/],
    ['an option of generate', { maxTokens: 3 }, /unknown option "maxTokens"/],
    ['prefillChunkSize 0', { prefillChunkSize: 0 }, /prefillChunkSize/],
    ['a signal that is none', { signal: 1 }, /signal must be an AbortSignal/],
  ])('logits: %s', async (_, options, message) => {
    await expect(rene.logits([1], options as object)).rejects.toThrow(message)
    await expect(rene.logits([1], options as object)).rejects.toThrow(/^\[logits\] /)
  })

  it.each<[string, unknown, RegExp]>([
    ['an unknown option', { devise: 'cpu' }, /"devise": did you mean "device"/],
    [
      'an unknown device',
      { device: 'gpu' },
      /device must be 'auto', 'cpu' or 'metal' but is "gpu"/,
    ],
    ['an unknown dtype', { dtype: 'int8' }, /dtype must be .* but is "int8"/],
    ['no threads', { threads: 0 }, /threads .* 0$/],
    ['NaN threads', { threads: NaN }, /threads .* NaN/],
    ['quantize 4', { quantize: 4 }, /quantize.* must be an object but is 4/],
    ['3 bits', { quantize: { bits: 3 } }, /quantize.bits must be 4, 5, 6 or 8 but is 3/],
    ['no bits', { quantize: {} }, /quantize.bits must be 4, 5, 6 or 8 but is undefined/],
    [
      'groups of 16',
      { quantize: { bits: 4, groupSize: 16 } },
      /groupSize must be 32, 64 or 128 but is 16/,
    ],
    ['a misspelt groupSize', { quantize: { bits: 4, groupsize: 32 } }, /did you mean "groupSize"/],
    ['a signal that is none', { signal: 'no' }, /signal must be an AbortSignal but is "no"/],
    ['a tokenizer that is none', { tokenizer: 5 }, /tokenizer must be a string but is 5/],
    ['a cacheDir that is none', { cacheDir: 5 }, /cacheDir must be a string but is 5/],
    ['an onProgress that is none', { onProgress: 5 }, /onProgress must be a function but is 5/],
  ])('loadModel: %s', async (_, options, message) => {
    const call = () => loadModel(fixture('rene'), options as LoadOptions)
    await expect(call()).rejects.toThrow(message)
    await expect(call()).rejects.toThrow(/^\[(loadModel|createDevice)\]/)
  })

  it.each(['', 5, null])('loadModel(%j)', async (path) => {
    await expect(loadModel(path as string)).rejects.toThrow(
      /the model must be a path or a Hub name/,
    )
  })

  it('quantize of a quantised model', async () => {
    const call = loadModel(fixture('edge-mlx-4bit'), { quantize: { bits: 4 } })
    await expect(call).rejects.toThrow(
      /quantize: .*model.safetensors is quantised already \(4 bits\)/,
    )
  })

  it.each([
    ['rene', 'allenai/OLMo-1B-hf'],
    ['edge-mlx-4bit', 'allenai/OLMo-1B-hf'],
    ['mamba2-state-spaces', 'EleutherAI/gpt-neox-20b'],
  ])('a text for %s without a tokenizer names %s', async (name, tokenizer) => {
    // An empty cache, whatever this machine has in its own.
    using model = await loadModel(fixture(name), { device: 'cpu', cacheDir: join(folder, 'cache') })
    for (const call of [
      () => model.generate('Hello'),
      () => model.logits('Hello'),
      () => model.generate([1], { stop: 'x' }),
    ]) {
      await expect(call()).rejects.toThrow(TokenizerNotFoundError)
      await expect(call()).rejects.toThrow(`ssm-metal pull --tokenizer-only ${tokenizer}`)
    }
  })

  it('leaves nothing running: the model answers as before', async () => {
    const before = await rene.generate([1, 2], { maxTokens: 4 })
    await expect(rene.generate([1, 999])).rejects.toThrow()
    expect((await rene.generate([1, 2], { maxTokens: 4 })).tokens).toEqual(before.tokens)
  })
})

it('loadModel reports progress up to all bytes, and can be aborted on the way', async () => {
  const seen: number[] = []
  let total = 0
  using _ = await loadModel(slowModelFolder, {
    device: 'cpu',
    onProgress: (progress) => {
      expect(progress.phase).toBe('load')
      seen.push(progress.loaded)
      total = progress.total
    },
  })
  expect(seen).toEqual([...seen].sort((a, b) => a - b))
  expect(seen.at(-1)).toBe(total)

  const controller = new AbortController()
  const loading = loadModel(slowModelFolder, {
    device: 'cpu',
    quantize: { bits: 4 },
    signal: controller.signal,
    onProgress: ({ loaded, total: all }) => {
      if (loaded > all / 3) controller.abort(new Error('loaded enough'))
    },
  })
  await expect(loading).rejects.toThrow('loaded enough')
})

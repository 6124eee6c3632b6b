// Models that attend to all positions: sessions, streams and the prompt cache over pages.

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  ContextLengthError,
  CorruptFileError,
  InsufficientMemoryError,
  loadModel,
  type LoadOptions,
  type Model,
  UnsupportedOptionError,
} from '../../lib/index.js'
import { fixture, temporaryFolder } from '../support/checkpoints.js'
import { HYBRID_BYTES_PER_TOKEN, writeHybrid } from '../support/hybrid.js'
import { fingerprint, promptOf, SESSION_CASES } from '../support/session-cases.js'
import { seededIntegers } from '../unit/random.js'

const PAGE = 256 * HYBRID_BYTES_PER_TOKEN

const mostPages = vi.hoisted(() => ({ current: undefined as number | undefined }))

vi.mock('../../lib/memory/page-budget.js', async (original) => {
  const module = await original<typeof import('../../lib/memory/page-budget.js')>()
  const contextOf: typeof module.contextOf = (...model) => {
    const limits = module.contextOf(...model)
    if (!limits || mostPages.current === undefined) return limits
    return { ...limits, maxBytes: mostPages.current * PAGE }
  }
  return { ...module, contextOf }
})

async function hybrid(options: LoadOptions = {}): Promise<Model> {
  const folder = await temporaryFolder()
  await writeHybrid(folder)
  return loadModel(folder, { device: 'cpu', promptCache: false, ...options })
}

/** One that is disposed of when the test ends. `pages`: how many all sequences together may have. */
async function hybridOfTest(options: LoadOptions = {}, pages?: number): Promise<Model> {
  mostPages.current = pages
  const model = await hybrid(options)
  mostPages.current = undefined
  onTestFinished(() => model.dispose())
  return model
}

const pagesInUse = (model: Model) => model.memory().pages!.pagesInUse

const sampled = { temperature: 1, seed: 3, ignoreEos: true, logprobs: 2 }

describe('a sequence in pages', () => {
  let model: Model
  beforeAll(async () => {
    const { mkdtemp } = await import('node:fs/promises')
    const { tmpdir } = await import('node:os')
    const folder = await mkdtemp(join(tmpdir(), 'ssm-metal-'))
    await writeHybrid(folder)
    model = await loadModel(folder, { device: 'cpu', promptCache: false })
  })
  afterAll(() => model.dispose())

  it.each(Object.entries(SESSION_CASES))('%s, equal to the bit', async (_, play) => {
    for (let seed = 1; seed <= 6; seed++) {
      try {
        await play(model, seededIntegers(seed * 7919), 600)
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
      }
    }
    expect(pagesInUse(model)).toBe(0)
  })

  it('has the bits that it has alone, whatever runs beside it', async () => {
    const draw = seededIntegers(5)
    // Across the ends of pages while they decode, too.
    const lengths = [1, 250, 255, 256, 257, 511, 700]
    const prompts = lengths.map((length) => promptOf(model, length, draw))
    const options = { ...sampled, maxTokens: 20 }
    const alone: unknown[] = []
    for (const prompt of prompts) {
      const { tokens, logprobs } = await model.generate(prompt, options)
      alone.push({ tokens, logprobs })
    }
    const together = await Promise.all(prompts.map((prompt) => model.generate(prompt, options)))
    expect(together.map(({ tokens, logprobs }) => ({ tokens, logprobs }))).toEqual(alone)
    expect(pagesInUse(model)).toBe(0)
  })

  it('shares full pages with its forks and checkpoints', async () => {
    using session = model.createSession()
    await session.prefill(promptOf(model, 600, seededIntegers(1)))
    expect(pagesInUse(model)).toBe(3)
    using moment = await session.checkpoint()
    expect(pagesInUse(model)).toBe(4)
    expect(moment.stateBytes).toBe(moment.snapshot.bytes + 3 * PAGE)
    using fork = await session.fork()
    expect(pagesInUse(model)).toBe(5)
    await fork.generate([1], { maxTokens: 200, ignoreEos: true })
    expect(pagesInUse(model)).toBe(6)
    await session.rewind(moment)
    expect(pagesInUse(model)).toBe(6)
    session.reset()
    fork.dispose()
    expect(pagesInUse(model)).toBe(3)
    moment.dispose()
    expect(pagesInUse(model)).toBe(0)
  })

  it('is saved and loaded to the bit, among other pages', async () => {
    const path = join(await temporaryFolder(), 'session')
    const draw = seededIntegers(2)
    for (const length of [255, 256, 300]) {
      using session = model.createSession()
      await session.prefill(promptOf(model, length, draw))
      await session.save(path)
      // What is saved are the positions that are used.
      expect((await readFile(path)).length).toBeLessThan(length * HYBRID_BYTES_PER_TOKEN + 60_000)
      using other = model.createSession()
      await other.prefill(promptOf(model, 10, draw))
      using loaded = await model.loadSession(path)
      const next = promptOf(model, 3, draw)
      await session.prefill(next)
      await loaded.prefill(next)
      expect(await fingerprint(loaded)).toBe(await fingerprint(session))
      const options = { ...sampled, maxTokens: 40 }
      const [a, b] = await Promise.all([
        session.generate('', options),
        loaded.generate('', options),
      ])
      expect([b.tokens, b.logprobs]).toEqual([a.tokens, a.logprobs])
    }
    expect(pagesInUse(model)).toBe(0)
  })

  it('refuses a file whose keys are cut short', async () => {
    const path = join(await temporaryFolder(), 'session')
    using session = model.createSession()
    await session.prefill([1, 2, 3])
    await session.save(path)
    const text = await readFile(path, 'latin1')
    await writeFile(path, text.replace('"position":"3"', '"position":"2"'), 'latin1')
    await expect(model.loadSession(path)).rejects.toThrow(CorruptFileError)
    expect(pagesInUse(model)).toBe(2 - 1)
  })

  it('scores continuations as one prompt after another', async () => {
    const draw = seededIntegers(8)
    const prefix = promptOf(model, 510, draw)
    const rests = [1, 2, 5, 30].map((length) => promptOf(model, length, draw))
    const scores = await model.score(prefix, rests)
    for (const [i, rest] of rests.entries()) {
      const { data, shape } = await model.logits([...prefix, ...rest])
      for (const [at, token] of rest.entries()) {
        const row = data.subarray(
          (prefix.length + at - 1) * shape[1],
          (prefix.length + at) * shape[1],
        )
        const total = Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0))
        expect(scores[i]!.logprobs[at]).toBeCloseTo(row[token]! - total, 3)
      }
    }
    expect(pagesInUse(model)).toBe(0)
  })
})

describe('the prompt cache', () => {
  it('counts pages that its entries share once', async () => {
    const model = await hybridOfTest({ promptCache: { maxBytes: 2 ** 24 } })
    const prompt = promptOf(model, 1024, seededIntegers(1))
    const own: number[] = []
    for (const [i, length] of [1024, 1030, 1031].entries()) {
      const tokens = [...prompt, 1, 2, 3, 4, 5, 6, 7].slice(0, length)
      const { usage } = await model.generate(tokens, { maxTokens: 1 })
      expect(usage.cachedTokens).toBe([0, 1024, 1030][i])
      // Four full pages, and a partial one for each longer prompt.
      await expect.poll(() => pagesInUse(model)).toBe(4 + i)
      own.push(model.memory().promptCacheBytes - (4 + i) * PAGE)
    }
    // The rest is what each has for itself.
    expect(own[1]! / own[0]!).toBeCloseTo(2, 1)
    expect(own[2]! / own[0]!).toBeCloseTo(3, 1)
  })

  it('begins with the bits that a session goes on with, and gives pages to those who need them', async () => {
    const model = await hybridOfTest({ promptCache: { maxBytes: 2 ** 24 } }, 6)
    const prompts = [1, 2, 3, 4].map((seed) => promptOf(model, 400, seededIntegers(seed)))
    const options = { ...sampled, maxTokens: 30 }
    const cold = []
    for (const prompt of prompts) {
      const { tokens } = await model.generate(prompt, options)
      cold.push(tokens)
      expect(pagesInUse(model)).toBeLessThanOrEqual(6)
    }
    // The last one is still there, and those before it had to go.
    const { tokens, usage } = await model.generate(prompts[3]!, options)
    expect(usage.cachedTokens).toBe(400)
    expect(tokens).toEqual(cold[3])
    expect((await model.generate(prompts[0]!, options)).usage.cachedTokens).toBe(0)
  })
})

describe('the context', () => {
  it('refuses what does not fit, before anything runs', async () => {
    const model = await hybridOfTest({ maxContext: 300 })
    expect(model.maxContext).toBe(300)
    const prompt = promptOf(model, 300, seededIntegers(1))
    const refused = model.generate(prompt, { maxTokens: 1 })
    await expect(refused).rejects.toThrow(ContextLengthError)
    await expect(refused).rejects.toThrow(
      '[generate] the sequence would have 301 tokens or more but the context holds 300: shorten the prompt',
    )
    await expect(refused).rejects.toMatchObject({
      code: 'ERR_CONTEXT_LENGTH',
      tokens: 301,
      maxContext: 300,
    })
    await expect(model.logits([...prompt, 1])).rejects.toThrow(ContextLengthError)
    await expect(model.score(prompt.slice(0, 299), [[1], [1, 2]])).rejects.toThrow(
      ContextLengthError,
    )
    using session = model.createSession()
    await session.prefill(prompt)
    await expect(session.prefill([1])).rejects.toThrow(ContextLengthError)
    await expect(session.generate([1])).rejects.toThrow(ContextLengthError)
    expect(session.position).toBe(300)
    expect(pagesInUse(model)).toBe(2)
  })

  it('ends a text', async () => {
    const model = await hybridOfTest({ maxContext: 300 })
    const prompt = promptOf(model, 290, seededIntegers(1))
    const whole = await model.generate(prompt, { ...sampled, maxTokens: 50 })
    expect([whole.tokens.length, whole.finishReason]).toEqual([10, 'length'])
    using session = model.createSession()
    await session.prefill(prompt.slice(0, 256))
    const { tokens, finishReason } = await session.generate(prompt.slice(256), {
      ...sampled,
      maxTokens: 50,
    })
    expect([tokens, finishReason]).toEqual([whole.tokens, 'length'])
    expect(session.position).toBe(300)
    using moment = await session.checkpoint() // consumes the last token
    expect(moment.position).toBe(300)
    await expect(session.generate('')).rejects.toThrow(ContextLengthError)
    const samples = await model.generate(prompt, { temperature: 1, n: 3, maxTokens: 50 })
    for (const { finishReason, tokens } of samples) {
      expect([finishReason === 'stop' || tokens.length]).toEqual([finishReason === 'stop' || 10])
    }
  })

  it('is that of the model, as far as memory reaches', async () => {
    const model = await hybridOfTest()
    expect(model.maxContext).toBe(4096)
    expect(model.memory().pages).toMatchObject({
      bytesPerToken: HYBRID_BYTES_PER_TOKEN,
      pagesInUse: 0,
      bytes: 0,
    })
    const folder = await temporaryFolder()
    // Nothing is allocated because a configuration claims it.
    await writeHybrid(folder, { max_position_embeddings: 2 ** 24 })
    const large = await loadModel(folder, { device: 'cpu', promptCache: false })
    onTestFinished(() => large.dispose())
    expect(large.maxContext! * HYBRID_BYTES_PER_TOKEN).toBeLessThan(2 ** 32)
    await large.generate([1, 2, 3], { maxTokens: 2 })
    expect(large.memory().pages!.pages).toBe(1)
    const wished = loadModel(folder, { device: 'cpu', maxContext: 2 ** 32 - 1 })
    await expect(wished).rejects.toThrow(InsufficientMemoryError)
    await expect(wished).rejects.toThrow('maxContext 4294967295 needs 512 GiB')
  })

  it('is an option of models that have one', async () => {
    for (const options of [{ maxContext: 100 }, { kvDtype: 'float32' }] as const) {
      const refused = loadModel(fixture('rene'), { device: 'cpu', ...options })
      await expect(refused).rejects.toThrow(UnsupportedOptionError)
      await expect(refused).rejects.toThrow(`${Object.keys(options)[0]} changes nothing`)
    }
    const model = await loadModel(fixture('rene'), { device: 'cpu' })
    onTestFinished(() => model.dispose())
    expect(model.maxContext).toBeUndefined()
    expect(model.memory().pages).toBeUndefined()
  })

  it('takes half the memory with float16', async () => {
    const model = await hybridOfTest({ kvDtype: 'float16' })
    expect(model.memory().pages!.bytesPerToken).toBe(HYBRID_BYTES_PER_TOKEN / 2)
    const prompt = promptOf(model, 300, seededIntegers(1))
    const path = join(await temporaryFolder(), 'session')
    using session = model.createSession()
    await session.prefill(prompt)
    await session.save(path)
    using loaded = await model.loadSession(path)
    expect((await loaded.generate([1], sampled)).tokens).toEqual(
      (await session.generate([1], sampled)).tokens,
    )
    const full = await hybridOfTest()
    const [a, b] = [await model.logits(prompt), await full.logits(prompt)]
    const difference = a.data.reduce((sum, x, i) => sum + (x - b.data[i]!) ** 2, 0)
    const size = b.data.reduce((sum, x) => sum + x * x, 0)
    expect(Math.sqrt(difference / size)).toBeGreaterThan(0)
    expect(Math.sqrt(difference / size)).toBeLessThan(2e-3)
  })
})

describe('without pages for all', () => {
  it('a stream waits for others to end', async () => {
    const whole = await hybridOfTest()
    const model = await hybridOfTest({}, 4)
    const prompts = [300, 400, 500].map((length) => promptOf(model, length, seededIntegers(length)))
    const options = { ...sampled, maxTokens: 120 }
    const alone = []
    for (const prompt of prompts) alone.push((await whole.generate(prompt, options)).tokens)
    const together = await Promise.allSettled(
      prompts.map((prompt) => model.generate(prompt, options)),
    )
    // One may have to end, so that the others go on.
    const done = together.filter(({ status }) => status === 'fulfilled')
    expect(done.length).toBeGreaterThanOrEqual(2)
    for (const [i, result] of together.entries()) {
      if (result.status === 'fulfilled') expect(result.value.tokens).toEqual(alone[i])
      else expect(result.reason).toBeInstanceOf(InsufficientMemoryError)
    }
    expect(pagesInUse(model)).toBe(0)
  })

  it('a text that begins with a shared prompt waits for a page of its own', async () => {
    const whole = await hybridOfTest()
    const model = await hybridOfTest({}, 4)
    const prompt = promptOf(model, 300, seededIntegers(1))
    const options = { ...sampled, n: 5, maxTokens: 20 }
    const expected = await whole.generate(prompt, options)
    const texts = await model.generate(prompt, options)
    expect(texts.map(({ tokens }) => tokens)).toEqual(expected.map(({ tokens }) => tokens))
    expect(pagesInUse(model)).toBe(0)
    await expect(
      model.generate(prompt, { ...options, signal: AbortSignal.timeout(1) }),
    ).rejects.toMatchObject({ name: 'TimeoutError' })
    await expect.poll(() => pagesInUse(model)).toBe(0)
  })

  it('a session that cannot go on holds what it has consumed, and goes on once there is room', async () => {
    const whole = await hybridOfTest()
    const model = await hybridOfTest({}, 3)
    const prompt = promptOf(model, 250, seededIntegers(1))
    const options = { ...sampled, maxTokens: 30 }
    const expected = await whole.generate(prompt, options)
    for (const length of [0, 200]) {
      using other = model.createSession()
      await other.prefill(promptOf(model, 300, seededIntegers(2)))
      using session = model.createSession()
      await session.prefill(prompt.slice(0, length || undefined))
      const more = length === 0 ? [] : [...prompt.slice(length), ...expected.tokens.slice(0, 10)]
      // In its text, and in its prompt.
      await expect(
        length === 0 ? session.generate('', options) : session.prefill(more),
      ).rejects.toThrow(InsufficientMemoryError)
      const { position } = session
      expect(position).toBe(length === 0 ? 257 : 200)
      other.dispose()
      const left = { ...options, maxTokens: 280 - position }
      if (length === 0) {
        const { tokens } = await session.generate('', left)
        expect([...session.consumed.slice(250, 257), ...tokens]).toEqual(
          expected.tokens.slice(0, 30),
        )
      } else {
        await session.prefill(more)
        expect(session.position).toBe(260)
      }
    }
    expect(pagesInUse(model)).toBe(0)
  })

  it('the stream that cannot go on is told what to do', async () => {
    const model = await hybridOfTest({}, 3)
    using session = model.createSession()
    await session.prefill(promptOf(model, 257, seededIntegers(1)))
    const refused = model.generate(promptOf(model, 300, seededIntegers(2)), { maxTokens: 1 })
    await expect(refused).rejects.toThrow(InsufficientMemoryError)
    await expect(refused).rejects.toThrow('Dispose of sessions, checkpoints and chats')
    await expect(session.fork()).resolves.toSatisfy((fork) => {
      fork.dispose()
      return true
    })
    using moment = await session.checkpoint()
    await expect(session.fork()).rejects.toThrow(InsufficientMemoryError)
    // Going back needs no more than it had.
    await session.rewind(moment)
    session.dispose()
    moment.dispose()
    await model.generate(promptOf(model, 300, seededIntegers(2)), { maxTokens: 1 })
    expect(pagesInUse(model)).toBe(0)
  })
})

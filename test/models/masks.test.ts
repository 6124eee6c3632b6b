// Streams that may not draw every token: forward passes and draws are lists of their own.

import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { CommandList } from '../../lib/operations/device.js'
import { CachedPrompts } from '../../lib/engine/cached-prompts.js'
import type { Allowed, Masker } from '../../lib/engine/masks.js'
import type { StreamOptions } from '../../lib/engine/stream.js'
import { DisposedError, loadModel, type Model } from '../../lib/index.js'
import { IsolatedThread } from '../../lib/support/isolated-thread.js'
import { samplerOf } from '../../lib/generation/sampler.js'
import { NO_TOKEN } from '../../lib/operations/drawn-token.js'
import { fixture } from '../support/checkpoints.js'
import { expectIdle, tokensOf, watchRuns } from '../support/company.js'
import { expectClose } from '../tolerance.js'
import { seededIntegers } from '../unit/random.js'

async function load(): Promise<Model> {
  const model = await loadModel(fixture('rene'), { device: 'cpu', promptCache: false })
  onTestFinished(() => model.dispose())
  return model
}

/** Three tokens in four, others after each token. */
const isAllowed = (previous: number, token: number) => (token * 7 + previous * 13) % 4 !== 0

/** Takes up to `delay` milliseconds for a mask, and says that the text is over after `length` tokens. */
class TestMasker implements Masker {
  readonly given: number[] = []
  /** Masks that were asked for and are not there. */
  pending = 0
  readonly #vocabulary: number
  readonly #delay: number
  readonly #length: number

  constructor({ config }: Model, { delay = 0, length = Infinity } = {}) {
    this.#vocabulary = config.paddedVocabSize
    this.#delay = delay
    this.#length = length
  }

  first(): Promise<Allowed> {
    return this.#after(0)
  }

  after(token: number): Promise<Allowed> {
    this.given.push(token)
    return this.#after(token)
  }

  async #after(previous: number): Promise<Allowed> {
    this.pending += 1
    if (this.#delay > 0) await sleep(this.#delay * Math.random())
    this.pending -= 1
    const mask = new Uint32Array(Math.ceil(this.#vocabulary / 32))
    for (let token = 0; token < this.#vocabulary; token++) {
      if (isAllowed(previous, token)) mask[token >>> 5]! |= 1 << (token & 31)
    }
    return { mask, isOver: this.given.length >= this.#length }
  }
}

interface Wanted {
  prompt: number[]
  maxTokens: number
  masker?: Masker
  options?: Partial<StreamOptions>
}

/** Until the stream ends. */
async function run(
  model: Model,
  { prompt, maxTokens, masker, options }: Wanted,
): Promise<number[]> {
  const tokens = Uint32Array.from(prompt)
  const stream = await model.engine.open('test', {
    position: 0,
    history: tokens,
    generated: 0,
    maxTokens,
    stopTokens: new Set(),
    alternatives: undefined,
    masker,
    ...options,
  })
  try {
    const steps = [
      stream.prefill(tokens),
      ...Array.from({ length: maxTokens - 1 }, () => stream.decode()),
    ]
    const ends = await Promise.allSettled(steps)
    return ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value.token] : []))
  } finally {
    stream.close()
  }
}

/** The most probable of the tokens that are allowed, one by one. */
async function plainLoop(
  model: Model,
  prompt: readonly number[],
  count: number,
): Promise<number[]> {
  const all = [...prompt]
  let previous = 0
  for (let i = 0; i < count; i++) {
    const { data, shape } = await model.logits(all)
    const logits = data.subarray((shape[0] - 1) * shape[1])
    let best = -1
    for (const [token, logit] of logits.entries()) {
      if (isAllowed(previous, token) && (best < 0 || logit > logits[best]!)) best = token
    }
    all.push(best)
    previous = best
  }
  return all.slice(prompt.length)
}

it.each([1, 5, 64, 65, 300])(
  'a prompt of %i tokens: the most probable of those that are allowed',
  async (length) => {
    const model = await load()
    const prompt = tokensOf(length, seededIntegers(length))
    const masker = new TestMasker(model, { delay: 2 })
    const drawn = await run(model, { prompt, maxTokens: 12, masker })
    expect(drawn).toEqual(await plainLoop(model, prompt, 12))
    expect(masker.given).toEqual(drawn.slice(0, -1))
    await expectIdle(model)
  },
)

it('changes nothing for those beside it, nor they for it', async () => {
  const model = await load()
  const draw = seededIntegers(3)
  const wanted = Array.from({ length: 24 }, (_, i) => ({
    prompt: tokensOf(1 + draw(200), draw),
    maxTokens: 1 + draw(30),
    masked: i % 2 === 0,
    options: {
      sampler: samplerOf('test', { temperature: 1 + draw(2), topP: 0.9, seed: draw(1000) }),
      stopTokens: new Set(tokensOf(draw(8), draw)),
      alternatives: draw(2) === 0 ? 2 : undefined,
    },
  }))
  const one = (on: Model, { masked, ...rest }: (typeof wanted)[number]) =>
    run(on, masked ? { ...rest, masker: new TestMasker(on, { delay: 3 }) } : rest)
  const together = await Promise.all(wanted.map((each) => one(model, each)))
  const fresh = await load()
  for (const [i, each] of wanted.entries())
    expect(together[i], `${i}`).toEqual(await one(fresh, each))
  await expectIdle(model)
})

it('streams whose masks come at different times share their passes', async () => {
  const model = await load()
  const length = 16
  const passes = new Set<CommandList>()
  const maskers = Array.from({ length: 8 }, () => new TestMasker(model, { delay: 4 }))
  let started = 0
  const decode = vi.spyOn(model.languageModel, 'decode')
  const record = model.device.record.bind(model.device)
  const recordings = vi.spyOn(model.device, 'record').mockImplementation((operations) => {
    const before = decode.mock.calls.length
    const list = record(operations)
    if (decode.mock.calls.length > before) passes.add(list)
    return list
  })
  const { run: runList } = CommandList.prototype
  const runs = vi.spyOn(CommandList.prototype, 'run').mockImplementation(async function (
    this: CommandList,
    options,
  ) {
    if (!passes.has(this)) return runList.call(this, options) // it draws or copies
    started += 1
    const result = await runList.call(this, options)
    // A pass takes longer than a mask, however busy the machine is.
    while (maskers.some(({ pending }) => pending > 0)) await setImmediate()
    return result
  })
  onTestFinished(() => {
    for (const spy of [decode, recordings, runs]) spy.mockRestore()
  })
  await Promise.all(
    maskers.map((masker, i) => run(model, { prompt: [i + 1], maxTokens: length, masker })),
  )
  // The prompts end one after another; two groups that never meet would take twice as many.
  expect(started).toBeGreaterThanOrEqual(length - 1)
  expect(started).toBeLessThanOrEqual(length + 3)
})

it('a stream that waits for its mask holds nobody else back', async () => {
  const model = await load()
  const draw = seededIntegers(9)
  const { runs, restore } = watchRuns()
  onTestFinished(restore)
  let release!: () => void
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  const masker = new TestMasker(model)
  const waiting = run(model, {
    prompt: [7],
    maxTokens: 6,
    masker: {
      first: () => masker.first(),
      after: async (token) => {
        if (masker.given.length === 2) await gate
        return masker.after(token)
      },
    },
  })
  await vi.waitFor(() => expect(masker.given).toHaveLength(2))
  const plain = model.stream([9], { maxTokens: 400, ignoreEos: true })
  await plain.next()
  const begin = runs.length
  await model.generate(tokensOf(3000, draw), { maxTokens: 1, ignoreEos: true })
  const kinds = runs.slice(begin).map(({ tokens }) => (tokens === undefined ? 's' : 'p'))
  await plain.return()
  release()
  await waiting
  // At most one piece between two steps.
  expect(kinds.filter((kind) => kind === 'p').length).toBeGreaterThan(10)
  expect(kinds.join('')).not.toContain('pp')
})

describe('a text that is over', () => {
  it('draws its end where a token ends it', async () => {
    const model = await load()
    const end = 17
    const masker: Masker = {
      first: async () => only(model, 3),
      after: async (token) =>
        token === 3 ? { ...only(model, end), isOver: true } : only(model, 3),
    }
    const stops = { stopTokens: new Set([end]) }
    expect(await run(model, { prompt: [5], maxTokens: 9, masker, options: stops })).toEqual([
      3,
      end,
    ])
  })

  it('ends without one where there is none', async () => {
    const model = await load()
    const masker = new TestMasker(model, { length: 4 })
    const drawn = await run(model, { prompt: [5], maxTokens: 9, masker })
    expect(drawn).toEqual([...(await plainLoop(model, [5], 4)), NO_TOKEN])
    await expectIdle(model)
  })

  it.each([0, 1, 4])(
    'after %i tokens, known before they are consumed: what is kept has consumed them',
    async (length) => {
      const model = await load()
      const prompt = tokensOf(700, seededIntegers(length))
      const tokens = Uint32Array.from(prompt)
      const cached = new CachedPrompts(model.languageModel, { maxBytes: 2 ** 30, exact: false })
      onTestFinished(() => cached.dispose())
      const masker = new TestMasker(model, { length })
      const options = { moments: cached.momentsOf({ tokens }) }
      const drawn = await run(model, { prompt, maxTokens: 9, masker, options })
      expect(drawn.slice(0, -1)).toHaveLength(length)
      expect(drawn.at(-1)).toBe(NO_TOKEN)
      await cached.ready()
      const all = [...prompt, ...drawn.slice(0, -1)]
      const { snapshot, position } = cached.find(Uint32Array.from(all))!
      expect(position).toBe(all.length)
      const { data, shape } = await model.logits(all)
      const last = data.subarray((shape[0] - 1) * shape[1])
      expectClose(snapshot.logits.read(), last, 'float32')
    },
  )
})

it('a mask that allows nothing, and one that fails, reject that stream alone', async () => {
  const model = await load()
  const open = async (masker: Masker) => {
    const history = Uint32Array.of(5)
    const stopTokens = new Set([1])
    const options = { position: 0, history, generated: 0, maxTokens: 5, stopTokens, masker }
    const stream = await model.engine.open('test', { ...options, alternatives: undefined })
    onTestFinished(() => stream.close())
    return stream.prefill(history)
  }
  const allowed = {
    mask: new Uint32Array(Math.ceil(model.config.paddedVocabSize / 32)),
    isOver: false,
  }
  const never = async (): Promise<Allowed> => allowed
  const failing = async (): Promise<Allowed> => {
    throw new Error('no mask on purpose')
  }
  const other = model.generate([9], { maxTokens: 20, ignoreEos: true })
  await expect(open({ first: never, after: never })).rejects.toMatchObject({
    message: '[sample] the mask allows no token that the model can give: none is drawn',
    ...{ name: 'OperationError', code: 'ERR_BAD_DATA', operation: 'sample' },
  })
  await expect(open({ first: failing, after: failing })).rejects.toThrow('no mask on purpose')
  expect((await other).tokens).toHaveLength(20)
})

describe('a model that is disposed of', () => {
  const wanted = { responseFormat: { type: 'json' } } as const

  it('while a grammar is compiled', async () => {
    const model = await loadModel(undefined, { device: 'cpu' })
    const text = model.generate('Once', wanted)
    await setImmediate()
    model.dispose()
    await expect(text).rejects.toThrow(DisposedError)
  })

  it('before that, starts no thread', async () => {
    const model = await loadModel(undefined, { device: 'cpu' })
    const stream = model.stream('Once', wanted)
    model.dispose()
    const ask = vi.spyOn(IsolatedThread.prototype, 'ask')
    onTestFinished(() => ask.mockRestore())
    await expect(stream.result).rejects.toThrow(DisposedError)
    expect(ask).not.toHaveBeenCalled()
  })
})

function only({ config }: Model, token: number): Allowed {
  const mask = new Uint32Array(Math.ceil(config.paddedVocabSize / 32))
  mask[token >>> 5] = 1 << (token & 31)
  return { mask, isOver: false }
}

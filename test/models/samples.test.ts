// `n` texts from one prompt: those of single calls with the seeds after one another, from one run of the prompt.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  type GenerateOptions,
  type GenerateResult,
  loadModel,
  type LoadOptions,
  type Model,
  UnsupportedOptionError,
} from '../../lib/index.js'
import { Memory } from '../../lib/operations/tensor.js'
import { snapshotBytes } from '../../lib/engine/snapshot.js'
import { copyOfFixture, fixture } from '../support/checkpoints.js'
import { IDLE, tokensOf, watchRuns } from '../support/company.js'
import { FAILURE, whileRunsFail } from '../support/failing-runs.js'
import { watchSnapshots } from '../support/live-memory.js'
import { seededIntegers } from '../unit/random.js'

vi.mock('../../lib/operations/addon.js', async (original) => {
  const { withFailures } = await import('../support/failing-runs.js')
  return withFailures(await original())
})

const PROMPT = tokensOf(200, seededIntegers(1))
const OPTIONS = { ignoreEos: true, maxTokens: 12, temperature: 1.5, seed: 40, logprobs: 2 }

async function load(options: LoadOptions = {}, path = fixture('rene')): Promise<Model> {
  const model = await loadModel(path, { device: 'cpu', ...options })
  onTestFinished(() => model.dispose())
  return model
}

const heard = ({ text, tokens, logprobs, finishReason, seed }: GenerateResult) => ({
  text,
  tokens,
  logprobs,
  finishReason,
  seed,
})

/** What single calls give, with models that know of no prompt. */
async function singly(n: number, options: GenerateOptions & { seed: number }, prompt = PROMPT) {
  const model = await load({ promptCache: false })
  const results = []
  for (let i = 0; i < n; i++) {
    results.push(heard(await model.generate(prompt, { ...options, seed: options.seed + i })))
  }
  return results
}

const pieces = (runs: ReturnType<typeof watchRuns>['runs']) =>
  runs.flatMap(({ tokens }) => tokens ?? [])

async function expectNothingLeft(model: Model, live: ReadonlySet<Memory>): Promise<void> {
  await vi.waitFor(() => {
    expect(model.engine.load).toMatchObject(IDLE)
    expect(live.size).toBe(0)
  })
}

describe.each([
  ['without a prompt cache', false],
  ['with one', {}],
  ['exact', { exact: true }],
] as const)('%s', (_, promptCache) => {
  it.each([
    [1, 32],
    [2, 32],
    [7, 32],
    [40, 32],
    [5, 1],
    [6, 2],
  ])('%i texts, %i at once', async (n, maxStreams) => {
    const expected = await singly(n, OPTIONS)
    const model = await load({ promptCache, maxStreams })
    const { runs, restore } = watchRuns()
    onTestFinished(restore)
    const results = await model.generate(PROMPT, { ...OPTIONS, n })
    expect(results.map(heard)).toEqual(expected)
    expect(pieces(runs)).toEqual([192, 8])
    expect(results.map(({ usage }) => usage.cachedTokens)).toEqual([0, ...Array(n - 1).fill(200)])
    expect(results.map(({ usage }) => usage.promptTokens)).toEqual(Array(n).fill(200))
    await vi.waitFor(() => expect(model.engine.load).toMatchObject(IDLE))
    expect(model.memory().snapshotBytes).toBe(0)
  })

  it.each([
    ['one token', { maxTokens: 1 }],
    ['stop tokens', { stopTokens: tokensOf(60, seededIntegers(3)) }],
    [
      'penalties and biases',
      { repetitionPenalty: 1.4, presencePenalty: 1, logitBias: new Map([[5, 3]]) },
    ],
    ['few candidates', { topK: 4, topP: 0.9, minP: 0.01 }],
  ])('%s', async (_, options) => {
    const wanted = { ...OPTIONS, ...options }
    const results = await (await load({ promptCache })).generate(PROMPT, { ...wanted, n: 4 })
    expect(results.map(heard)).toEqual(await singly(4, wanted))
  })

  it('of a prompt that was run before: none is run', async () => {
    const prompt = PROMPT.slice(0, 128)
    const model = await load({ promptCache })
    await model.generate(prompt, { maxTokens: 1 })
    const { runs, restore } = watchRuns()
    onTestFinished(restore)
    const results = await model.generate(prompt, { ...OPTIONS, n: 3 })
    expect(pieces(runs)).toEqual(promptCache ? [] : [128])
    expect(results.map(heard)).toEqual(await singly(3, OPTIONS, prompt))
  })
})

describe('what goes wrong', () => {
  it('a failure of any run: all end with it, and nothing stays', async () => {
    let failures = 0
    const live = watchSnapshots(await load())
    for (let failing = 1; failing < 24; failing += 2) {
      const model = await load({ promptCache: false })
      let runs = 0
      const call = whileRunsFail(
        () => ++runs === failing,
        () => model.generate(PROMPT, { ...OPTIONS, n: 3 }),
      )
      const outcome = await call.then(
        (results) => results.map(heard),
        (error: Error) => error.message,
      )
      if (outcome === FAILURE) failures += 1
      else expect(outcome).toEqual(await singly(3, OPTIONS))
      await expectNothingLeft(model, live)
      expect((await model.generate(PROMPT, { ...OPTIONS, n: 2 })).map(heard)).toEqual(
        await singly(2, OPTIONS),
      )
    }
    expect(failures).toBeGreaterThan(3)
  })

  it.each([1, 32])('an abort at any time, %i at once', async (maxStreams) => {
    const draw = seededIntegers(4)
    const model = await load({ promptCache: false, maxStreams })
    const live = watchSnapshots(model)
    for (let i = 0; i < 30; i++) {
      const controller = new AbortController()
      const enough = new Error('enough')
      const call = model.generate(PROMPT, {
        ...OPTIONS,
        maxTokens: 400,
        n: 4,
        signal: controller.signal,
      })
      await sleep(draw(20))
      controller.abort(enough)
      await expect(call).rejects.toBe(enough)
      await expectNothingLeft(model, live)
    }
  })

  it('a queue that is full: all end, and the place is free', async () => {
    const model = await load({ promptCache: false, maxStreams: 1, maxQueue: 0 })
    const live = watchSnapshots(model)
    const other = model.stream(PROMPT, { ...OPTIONS, maxTokens: 1000 })
    await other.next()
    await expect(model.generate(PROMPT, { ...OPTIONS, n: 4 })).rejects.toThrow('the queue is full')
    await other.return()
    await expectNothingLeft(model, live)
  })

  it.each([1, 2])(
    'as many run at once as there are places: %i, without a queue',
    async (maxStreams) => {
      const model = await load({ promptCache: false, maxStreams, maxQueue: 0 })
      const results = await model.generate(PROMPT, { ...OPTIONS, n: 5 })
      expect(results.map(heard)).toEqual(await singly(5, OPTIONS))
    },
  )

  it('no memory for the copy: the prompt is run for each', async () => {
    const model = await load({ promptCache: false })
    const size = snapshotBytes(model.languageModel)
    const { allocate } = Memory
    const spy = vi.spyOn(Memory, 'allocate').mockImplementation((bytes) => {
      if (bytes === size) throw new Error('there is no memory on purpose')
      return allocate.call(Memory, bytes)
    })
    onTestFinished(() => spy.mockRestore())
    const results = await model.generate(PROMPT, { ...OPTIONS, n: 3 })
    expect(results.map(({ usage }) => usage.cachedTokens)).toEqual([0, 0, 0])
    spy.mockRestore()
    expect(results.map(heard)).toEqual(await singly(3, OPTIONS))
  })

  it.each([
    [0, RangeError],
    [-1, RangeError],
    [1.5, RangeError],
    [129, RangeError],
    ['2', TypeError],
    [null, TypeError],
  ])('n: %j', async (n, type) => {
    const call = (await load()).generate(PROMPT, { ...OPTIONS, n: n as number })
    await expect(call).rejects.toThrow(type)
    await expect(call).rejects.toThrow('[generate] n must be')
  })

  it('texts that would all be the same', async () => {
    const model = await load()
    for (const options of [{}, { temperature: 0 }]) {
      await expect(model.generate(PROMPT, { n: 2, maxTokens: 3, ...options })).rejects.toThrow(
        UnsupportedOptionError,
      )
    }
    const [one] = await model.generate(PROMPT, { n: 1, maxTokens: 3 })
    expect(one!.tokens.length).toBeGreaterThan(0)
    expect(() => model.stream(PROMPT, { ...OPTIONS, n: 2 } as GenerateOptions)).toThrow(
      'unknown option "n"',
    )
  })
})

it('the temperature may be the default of the model', async () => {
  const folder = await copyOfFixture('rene')
  await writeFile(
    join(folder, 'generation_config.json'),
    JSON.stringify({ do_sample: true, temperature: 1.5, top_k: 0 }),
  )
  const model = await load({}, folder)
  const { temperature: _, ...options } = OPTIONS
  const results = await model.generate(PROMPT, { ...options, n: 3 })
  expect(results.map(heard)).toEqual(await singly(3, OPTIONS))
  await expect(model.generate(PROMPT, { ...options, temperature: 0, n: 3 })).rejects.toThrow(
    'n changes nothing',
  )
})

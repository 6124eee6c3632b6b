// What goes wrong stays with those whom it concerns, and the engine goes on.

import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Snapshot } from '../../lib/engine/snapshot.js'
import { EngineStream } from '../../lib/engine/stream.js'
import { QueueFullError, SessionLostError } from '../../lib/support/errors.js'
import { type GenerateResult, loadModel, type Model } from '../../lib/index.js'
import { samplerOf } from '../../lib/generation/sampler.js'
import { fixture } from '../support/checkpoints.js'
import { expectIdle, IDLE, tokensOf, watchRuns } from '../support/company.js'
import {
  collectGarbage,
  FAILURE,
  failNextRun,
  NO_MEMORY,
  occupy,
  growFromOneSlot,
  refuseTensor,
  whileRunsFail,
} from '../support/failing-runs.js'
import { fingerprint } from '../support/session-cases.js'
import { seededIntegers } from '../unit/random.js'

vi.mock('../../lib/operations/addon.js', async (original) => {
  const { withFailures } = await import('../support/failing-runs.js')
  return withFailures(await original())
})

const OPTIONS = { ignoreEos: true, maxTokens: 30, temperature: 3, seed: 3 }
const PROMPT = tokensOf(100, seededIntegers(1))

async function load(options: { maxStreams?: number; maxQueue?: number } = {}): Promise<Model> {
  const model = await loadModel(fixture('rene'), { device: 'cpu', promptCache: false, ...options })
  onTestFinished(() => model.dispose())
  return model
}

/** A stream that has begun, and what it gives to its end. */
async function begin(model: Model, maxTokens = 1000) {
  const stream = model.stream([5], { ...OPTIONS, maxTokens })
  await stream.next()
  return stream
}

/** As good as a model that nothing happened to. */
async function expectWhole(model: Model): Promise<void> {
  const hear = async (from: Model) => {
    const { tokens, logprobs } = await from.generate([1, 2, 3], { ...OPTIONS, logprobs: 2 })
    return { tokens, logprobs }
  }
  expect(await hear(model)).toEqual(await hear(await load()))
  await expectIdle(model)
}

describe('a device that fails', () => {
  it('in a step: all streams reject, sessions are lost until they are rewound', async () => {
    const model = await load()
    using session = model.createSession()
    await session.prefill(PROMPT)
    using moment = await session.checkpoint()
    const streams = [await begin(model), await begin(model)]
    failNextRun({ withInputs: true })
    for (const { result } of streams) await expect(result).rejects.toThrow(FAILURE)
    await expect(session.generate('', OPTIONS)).rejects.toThrow(SessionLostError)
    await session.rewind(moment)
    const { tokens } = await session.generate('', OPTIONS)
    expect(tokens).toEqual((await model.generate(PROMPT, OPTIONS)).tokens)
    await expectWhole(model)
  })

  it('in a run of continuations: only their call rejects', async () => {
    const model = await load()
    const continuations = [[1], [2, 3, 4], tokensOf(60, seededIntegers(2))]
    const expected = await model.score(PROMPT, continuations)
    const memory = model.memory()
    for (let failing = 0; failing < 5; failing++) {
      let runs = 0
      const call = whileRunsFail(
        // The first two begin the prefix and read it, the third copies its state.
        () => ++runs === 3 + failing,
        () => model.score(PROMPT, continuations),
      )
      await expect(call).rejects.toThrow(FAILURE)
      expect(model.memory()).toEqual(memory)
    }
    expect(await model.score(PROMPT, continuations)).toEqual(expected)
    await expectWhole(model)
  })

  it('in a piece of a prompt: a session that begins anew hears nothing of the piece behind it', async () => {
    const model = await load()
    using session = model.createSession()
    let runs = 0
    // The first is what the stream begins with.
    await whileRunsFail(
      () => ++runs === 2,
      async () => {
        await expect(session.prefill(tokensOf(600, seededIntegers(2)))).rejects.toThrow(FAILURE)
        session.reset()
        await expectIdle(model)
      },
    )
    expect(runs).toBe(3)
    expect(session.position).toBe(0)
    const { tokens } = await session.generate(PROMPT, OPTIONS)
    expect(tokens).toEqual((await model.generate(PROMPT, OPTIONS)).tokens)
  })

  it.each(['device', 'operation'] as const)('while the pool grows (%s): all reject', async (by) => {
    const model = await load()
    growFromOneSlot(model, 32)
    using session = model.createSession()
    await session.prefill(PROMPT)
    failNextRun({ withInputs: false, by })
    await expect(model.generate([3], { ...OPTIONS, maxTokens: 1000 })).rejects.toThrow(FAILURE)
    await expect(session.generate('', OPTIONS)).rejects.toThrow(SessionLostError)
    await expectWhole(model)
  })

  it.each(['device', 'operation'] as const)(
    'while the pool grows (%s): so does a copy of what did not get there',
    async (by) => {
      const model = await load()
      growFromOneSlot(model, 32)
      using session = model.createSession()
      await session.prefill(PROMPT)
      const release = occupy(model.device)
      failNextRun({ withInputs: false, by })
      const growing = expect(model.generate([3], OPTIONS)).rejects.toThrow(FAILURE)
      await vi.waitFor(() => expect(model.engine.load.streams).toBe(1), { interval: 1 })
      const copying = expect(session.checkpoint()).rejects.toThrow(FAILURE)
      await turn()
      await release()
      await Promise.all([growing, copying])
      await expectWhole(model)
    },
  )

  it('while the pool grows, and a session leaves its slot before that is known: it is lost', async () => {
    const model = await load({ maxStreams: 2 })
    growFromOneSlot(model, 2)
    using session = model.createSession()
    await session.prefill(PROMPT)
    const release = occupy(model.device)
    failNextRun({ withInputs: false })
    // The second needs the session's slot.
    const calls = [3, 4].map((token) =>
      expect(model.generate([token], OPTIONS)).rejects.toThrow(FAILURE),
    )
    await vi.waitFor(() => expect(model.engine.load.streams).toBe(2), { interval: 1 })
    await release()
    await Promise.all(calls)
    await expect(session.generate('', OPTIONS)).rejects.toThrow(SessionLostError)
    await expectWhole(model)
  })

  it('while a session leaves its slot: the session is lost', async () => {
    const model = await load({ maxStreams: 1 })
    using session = model.createSession()
    await session.prefill(PROMPT)
    failNextRun({ withInputs: false })
    expect((await model.generate([3], OPTIONS)).tokens).toHaveLength(30)
    await expect(session.prefill([1])).rejects.toThrow(SessionLostError)
    await expectWhole(model)
    session.reset()
    expect((await session.generate(PROMPT, OPTIONS)).tokens).toHaveLength(30)
  })

  it.each([1, 2])('while a session is rewound, %i places: it is lost', async (maxStreams) => {
    const model = await load({ maxStreams })
    using session = model.createSession()
    await session.prefill(PROMPT)
    using moment = await session.checkpoint()
    const before = await fingerprint(session)
    await session.prefill([9])
    // With one place, the session has to leave it.
    if (maxStreams === 1) await model.generate([3], OPTIONS)
    const freed = vi.spyOn(Snapshot.prototype, 'dispose')
    onTestFinished(() => freed.mockRestore())
    failNextRun({ withInputs: false })
    await expect(session.rewind(moment)).rejects.toThrow(FAILURE)
    // Outside of the pool: what the session was, and the copy that failed.
    expect(freed).toHaveBeenCalledTimes(maxStreams === 1 ? 2 : 0)
    await expect(session.prefill([1])).rejects.toThrow(SessionLostError)
    await session.rewind(moment)
    expect(await fingerprint(session)).toBe(before)
  })

  it('while the pool grows, and grows again before that is known: the pool is lost', async () => {
    const model = await load()
    const stream = await begin(model)
    failNextRun({ withInputs: false }) // the copy to the larger rows
    const longer = [12, 40].map((count) => {
      const stopTokens = Array.from({ length: count }, (_, i) => 200 + i)
      return model.generate([7, count], { ...OPTIONS, stopTokens })
    })
    const calls = [stream.result, ...longer]
    await Promise.all(calls.map((call) => expect(call).rejects.toThrow(FAILURE)))
    await expectWhole(model)
  })

  it('while a token is drawn again: the pool is not trusted any more', async () => {
    const model = await load()
    using session = model.createSession()
    using other = model.createSession()
    await session.prefill(PROMPT)
    await other.prefill(PROMPT)
    const { drawAgain } = EngineStream.prototype
    const spy = vi.spyOn(EngineStream.prototype, 'drawAgain')
    onTestFinished(() => spy.mockRestore())
    spy.mockImplementation(function (this: EngineStream) {
      failNextRun({ withInputs: true })
      return drawAgain.call(this)
    })
    const failing = session.generate('', OPTIONS)
    await expect(failing).rejects.toThrow(FAILURE)
    await expect(other.generate('', OPTIONS)).rejects.toThrow(SessionLostError)
    await expectWhole(model)
  })
})

it('whichever runs fail, what is given is right', async () => {
  const draw = seededIntegers(8)
  const fresh = await load()
  let failed = 0
  let given = 0
  for (let round = 0; round < 30; round++) {
    const model = await load({ maxStreams: 1 + draw(6) })
    const prompts = Array.from({ length: 12 }, () => tokensOf(1 + draw(300), draw))
    const ask = async (on: Model, i: number) => {
      const options = { ...OPTIONS, maxTokens: 5 + i, logprobs: 1 }
      if (i % 2 === 0) return [await on.generate(prompts[i]!, options)]
      using session = on.createSession()
      const first = await session.generate(prompts[i]!, options)
      using moment = await session.checkpoint()
      const second = await session.generate('', options)
      await session.rewind(moment)
      return [first, second, await session.generate(prompts[i]!.slice(0, 9), options)]
    }
    const outcomes = await whileRunsFail(
      () => draw(60) === 0,
      () => Promise.allSettled(prompts.map((_, i) => ask(model, i))),
    )
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome.status === 'rejected') {
        failed += 1
        const { message } = outcome.reason
        if (!(outcome.reason instanceof SessionLostError)) expect(message).toBe(FAILURE)
        continue
      }
      given += 1
      const heard = (results: GenerateResult[]) =>
        results.map(({ tokens, logprobs }) => ({ tokens, logprobs }))
      expect(heard(outcome.value), `round ${round}, call ${i}`).toEqual(heard(await ask(fresh, i)))
    }
    await expectWhole(model)
  }
  expect(failed).toBeGreaterThan(50)
  expect(given).toBeGreaterThan(50)
})

describe('memory that there is none of', () => {
  it.each(['decode', 'prefill'] as const)('for the list of %s', async (method) => {
    const model = await load()
    const spy = vi.spyOn(model.languageModel, method).mockImplementation(() => {
      throw new Error(NO_MEMORY)
    })
    const calls = [1, 2, 3].map((token) => model.generate([token], OPTIONS))
    for (const call of calls) await expect(call).rejects.toThrow(NO_MEMORY)
    spy.mockRestore()
    await expectWhole(model)
  })

  it('for what a stream begins with: its place is free again', async () => {
    const model = await load({ maxStreams: 1 })
    await model.generate([1], OPTIONS)
    refuseTensor(model, ([rows, cols]) => rows === 1 && cols === 8)
    await expect(model.generate(PROMPT, OPTIONS)).rejects.toThrow(NO_MEMORY)
    await expectWhole(model)
    using session = model.createSession()
    await session.prefill(PROMPT)
    refuseTensor(model, ([rows, cols]) => rows === 1 && cols === 8)
    await expect(session.prefill([1])).rejects.toThrow(NO_MEMORY)
    await expect(session.prefill([1])).rejects.toThrow(SessionLostError)
    await expectWhole(model)
  })

  it('for a larger pool: whoever is in the smaller one goes on, and slots are cleared', async () => {
    const model = await load()
    growFromOneSlot(model, 32)
    const running = await begin(model, 60)
    // The last one of the pool.
    refuseTensor(model, ([slots, cols]) => slots === 2 && cols === model.config.paddedVocabSize)
    await expect(model.generate(PROMPT, OPTIONS)).rejects.toThrow(NO_MEMORY)
    const { tokens } = await running.result
    const expected = await (await load()).generate([5], { ...OPTIONS, maxTokens: 60 })
    expect(tokens).toEqual(expected.tokens)
    await expectWhole(model)
  })
})

describe('a session that does not get its turn', () => {
  it('is as it was when the queue is full', async () => {
    const model = await load({ maxStreams: 1, maxQueue: 0 })
    using session = model.createSession()
    await session.generate(PROMPT, { ...OPTIONS, maxTokens: 3 })
    using twin = await session.fork()
    using behind = model.createSession()
    await behind.generate(PROMPT, { ...OPTIONS, maxTokens: 3 })
    const running = await begin(model)
    await expect(twin.prefill([7])).rejects.toThrow(QueueFullError)
    const calls = {
      prefill: () => session.prefill([7]),
      generate: () => session.generate([7], OPTIONS),
      // The last token that it gave has to be consumed first.
      checkpoint: () => behind.checkpoint(),
    }
    for (const [operation, call] of Object.entries(calls)) {
      await expect(call()).rejects.toThrow(QueueFullError)
      await expect(call()).rejects.toThrow(`[${operation}] the queue is full`)
    }
    await running.return()
    await session.prefill([7])
    await twin.prefill([7])
    expect(await fingerprint(session)).toBe(await fingerprint(twin))
  })

  it.each(['prefill', 'generate'] as const)('runs no %s when it is disposed of', async (method) => {
    const model = await load({ maxStreams: 1 })
    const session = model.createSession()
    const running = await begin(model)
    const call = session[method](PROMPT)
    const ended = expect(call).rejects.toThrow(`[${method}] this session was disposed`)
    await turn()
    session.dispose()
    const { runs, restore } = watchRuns()
    onTestFinished(restore)
    await running.return()
    await ended
    await expectWhole(model)
    expect(runs.filter(({ tokens }) => tokens === PROMPT.length)).toEqual([])
  })

  it.each(['prefill', 'generate'] as const)('ends when %s is aborted meanwhile', async (method) => {
    const model = await load({ maxStreams: 1 })
    using session = model.createSession()
    await session.generate(PROMPT, { ...OPTIONS, maxTokens: 3 })
    const before = Array.from(session.consumed)
    const running = await begin(model)
    const enough = new Error('enough')
    const controller = new AbortController()
    const call = session[method]([7], { signal: controller.signal })
    await turn()
    expect(model.engine.load.waiting).toBe(1)
    controller.abort(enough)
    await expect(call).rejects.toBe(enough)
    expect(model.engine.load.waiting).toBe(0)
    await running.return()
    expect(Array.from(session.consumed)).toEqual(before)
    await session.prefill([7])
  })
})

it('a session that is rewound while others need its slot holds the logits of that moment', async () => {
  const model = await load({ maxStreams: 1 })
  using session = model.createSession()
  await session.prefill(PROMPT)
  using moment = await session.checkpoint()
  const { tokens: expected } = await session.generate('', OPTIONS)
  const [, { tokens }] = await Promise.all([
    session.rewind(moment),
    model.generate([200], { ...OPTIONS, logprobs: 0 }),
  ])
  expect(tokens).toHaveLength(30)
  expect((await session.generate('', OPTIONS)).tokens).toEqual(expected)
})

describe('large numbers', () => {
  it.each([2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER])('maxTokens of %i', async (maxTokens) => {
    const model = await load()
    using session = model.createSession()
    const { tokens: expected } = await model.generate(PROMPT, OPTIONS)
    for (const source of [model, session]) {
      const tokens: unknown[] = []
      for await (const { token } of source.stream(PROMPT, { ...OPTIONS, maxTokens })) {
        if (tokens.push(token) === expected.length) break
      }
      expect(tokens).toEqual(expected)
    }
  })

  it('more stop tokens than the inputs of a run hold', async () => {
    const model = await load()
    const { tokens: expected } = await model.generate(PROMPT, OPTIONS)
    const stop = expected.findLast((token, i) => expected.indexOf(token) === i)!
    const stopTokens = new Set([...Array.from({ length: 5000 }, (_, i) => 1000 + i), stop])
    const prompt = Uint32Array.from(PROMPT)
    const sampler = samplerOf('test', { temperature: OPTIONS.temperature, seed: OPTIONS.seed })
    const options = {
      sampler,
      position: 0,
      history: prompt,
      maxTokens: 30,
      generated: 0,
      alternatives: undefined,
    }
    const stream = await model.engine.open('test', { ...options, stopTokens })
    const tokens = [(await stream.prefill(prompt)).token]
    while (tokens.at(-1) !== stop) tokens.push((await stream.decode()).token)
    await expect(stream.decode()).rejects.toThrow('This stream has ended')
    stream.close()
    expect(tokens).toEqual(expected.slice(0, tokens.length))
    expect(tokens.length).toBeGreaterThan(1)
  })
})

describe('whoever does not come back', () => {
  it('leaves the place when the signal aborts', async () => {
    const model = await load({ maxStreams: 1 })
    const controller = new AbortController()
    const stream = model.stream([5], { ...OPTIONS, signal: controller.signal })
    await stream.next()
    controller.abort(new Error('enough'))
    await expectWhole(model)
    await expect(stream.next()).rejects.toThrow('enough')
  })

  it('leaves the place when nobody holds the stream any more', async () => {
    const model = await load({ maxStreams: 2 })
    await (async () => {
      await begin(model)
      const session = model.createSession()
      await session.stream(PROMPT, OPTIONS).next()
    })()
    expect(model.engine.load.streams).toBe(2)
    await vi.waitFor(
      async () => {
        await collectGarbage()
        expect(model.engine.load).toMatchObject(IDLE)
      },
      { timeout: 10_000 },
    )
    await expectWhole(model)
  })
})

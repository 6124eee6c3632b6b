// Streams that are left, aborted or fail leave nothing behind, and nobody else notices.

import { getEventListeners } from 'node:events'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { loadModel, type Model, type SessionCheckpoint } from '../../lib/index.js'
import { fixture } from '../support/checkpoints.js'
import { expectIdle, tokensOf } from '../support/company.js'
import type { Draw } from '../support/session-cases.js'
import { seededIntegers } from '../unit/random.js'

const OPTIONS = { ignoreEos: true, temperature: 3 }

async function load(maxStreams = 32): Promise<Model> {
  const model = await loadModel(fixture('rene'), { device: 'cpu', maxStreams, promptCache: false })
  onTestFinished(() => model.dispose())
  return model
}

function unhandledRejections(): unknown[] {
  const seen: unknown[] = []
  const note = (reason: unknown) => void seen.push(reason)
  process.on('unhandledRejection', note)
  onTestFinished(() => void process.off('unhandledRejection', note))
  return seen
}

/** Starts a stream, and leaves it somewhere in one of the ways there are. Adds the promises that it gave. */
async function startAndLeave(
  model: Model,
  draw: Draw,
  { promises, shared }: { promises: Promise<unknown>[]; shared: AbortSignal },
): Promise<string> {
  const way = ['never', 'at once', 'later', 'break', 'return', 'result', 'await using'][draw(7)]!
  const controller = new AbortController()
  const isAborted = way === 'at once' || way === 'later'
  const stream = model.stream(tokensOf(1 + draw(700), draw), {
    ...OPTIONS,
    maxTokens: 1 + draw(40),
    seed: draw(1000),
    signal: isAborted ? controller.signal : shared,
    ...(draw(4) === 0 ? { logprobs: 1 } : {}),
    ...(draw(4) === 0 ? { stopTokens: tokensOf(1 + draw(20), draw) } : {}),
  })
  const most = 1 + draw(10)
  if (way === 'at once') {
    promises.push(stream.next(), stream.next())
    controller.abort()
  } else if (way === 'later') {
    promises.push(stream.result)
    await sleep(draw(12))
    controller.abort(new Error('enough'))
  } else if (way === 'break') {
    let seen = 0
    for await (const _ of stream) if (++seen === most) break
  } else if (way === 'return') {
    promises.push(...Array.from({ length: most }, () => stream.next()), stream.result)
    await sleep(draw(12))
    promises.push(stream.return())
  } else if (way === 'result') {
    promises.push(stream.result)
  } else if (way === 'await using') {
    await using left = stream
    if (draw(2) === 0) promises.push(left.next())
  }
  return way
}

it('a thousand streams that are left anywhere leave nothing behind', async () => {
  const model = await load(8)
  const probe = { ...OPTIONS, maxTokens: 20, seed: 9, logprobs: 2 }
  const before = await model.generate([1, 2, 3], probe)
  const draw = seededIntegers(11)
  const unhandled = unhandledRejections()
  const promises: Promise<unknown>[] = []
  const { signal: shared } = new AbortController()
  const ways = new Set<string>()
  const waited = new Set<number>()
  let memory: unknown
  for (let round = 0; round < 10; round++) {
    const started = Array.from({ length: 100 }, async () => {
      await sleep(draw(60))
      ways.add(await startAndLeave(model, draw, { promises, shared }))
      waited.add(model.engine.load.waiting)
    })
    await Promise.all(started)
    // That hangs where one does not settle.
    await Promise.allSettled(promises)
    await turn()
    await expectIdle(model)
    expect(model.engine.load.slots).toBe(8)
    if (round === 0) memory = model.memory()
    expect(model.memory()).toEqual(memory)
  }
  expect(ways.size).toBe(7)
  expect(Math.max(...waited)).toBeGreaterThan(5)
  const outcomes = await Promise.allSettled(promises)
  expect(new Set(outcomes.map(({ status }) => status)).size).toBe(2)
  for (const outcome of outcomes) {
    if (outcome.status === 'fulfilled') continue
    expect(String(outcome.reason)).toMatch(
      /^(Error: enough|AbortError: This operation was aborted)$/,
    )
  }
  expect(getEventListeners(shared, 'abort')).toEqual([])
  await sleep(10)
  expect(unhandled).toEqual([])
  const { tokens, logprobs } = await model.generate([1, 2, 3], probe)
  expect({ tokens, logprobs }).toEqual({ tokens: before.tokens, logprobs: before.logprobs })
})

it('an abort in company rejects with its reason, wherever it comes', async () => {
  const model = await load()
  const others = model.generate([1], { ...OPTIONS, maxTokens: 3000 })
  const draw = seededIntegers(4)
  for (let i = 0; i < 60; i++) {
    const controller = new AbortController()
    const reason = new Error(`enough ${i}`)
    const { signal } = controller
    const call = model.generate(tokensOf(1 + draw(300), draw), {
      ...OPTIONS,
      maxTokens: 2000,
      signal,
    })
    if (i % 2 === 0) await sleep(draw(5))
    else for (let turns = draw(20); turns > 0; turns--) await turn()
    controller.abort(reason)
    await expect(call).rejects.toBe(reason)
    expect(model.engine.load.streams).toBe(1)
  }
  expect((await others).tokens).toHaveLength(3000)
})

function poison({ snapshot }: SessionCheckpoint): void {
  for (const { tensor } of snapshot.fields) {
    if (tensor.dtype === 'float32') tensor.write(new Float32Array(tensor.elements).fill(Number.NaN))
  }
}

it('a row of NaN among 32 fails alone', async () => {
  const model = await load()
  const draw = seededIntegers(6)
  const prompts = Array.from({ length: 31 }, () => tokensOf(1 + draw(80), draw))
  const ask = (on: Model, prompt: number[], seed: number) =>
    on.generate(prompt, { ...OPTIONS, maxTokens: 200, seed, logprobs: 1 })
  using session = model.createSession()
  await session.prefill([1, 2, 3])
  using whole = await session.checkpoint()
  using poisoned = await session.checkpoint()
  poison(poisoned)
  await session.rewind(poisoned)

  const company = prompts.map((prompt, seed) => ask(model, prompt, seed))
  while (model.engine.load.streams < 31) await turn()
  await sleep(5)
  const ending = session.generate([4], { ...OPTIONS, maxTokens: 50 })
  await expect(ending).rejects.toThrow(/^\[sample\] logit \d+ is NaN: the weights or the state/)
  expect(model.engine.load.streams).toBe(31)
  const results = await Promise.all(company)
  const fresh = await load()
  for (const [seed, prompt] of prompts.entries()) {
    const { tokens, logprobs } = await ask(fresh, prompt, seed)
    const got = results[seed]!
    expect({ tokens: got.tokens, logprobs: got.logprobs }).toEqual({ tokens, logprobs })
  }
  // Its slot too is as good as another.
  await session.rewind(whole)
  const { tokens } = await session.generate([4], { ...OPTIONS, seed: 1, maxTokens: 20 })
  expect(tokens).toEqual(
    (await fresh.generate([1, 2, 3, 4], { ...OPTIONS, seed: 1, maxTokens: 20 })).tokens,
  )
})

it('a session that has NaN may try as often as it likes', async () => {
  const model = await load()
  const options = { ...OPTIONS, maxTokens: 400, seed: 2 }
  const expected = await (await load()).generate([7], options)
  const streams = Array.from({ length: 4 }, () => model.stream([7], options))
  for (const stream of streams) await stream.next()
  const running = streams.map(({ result }) => result.then(({ tokens }) => tokens))
  using session = model.createSession()
  await session.prefill([1])
  using moment = await session.checkpoint()
  poison(moment)
  for (let i = 0; i < 3; i++) {
    await session.rewind(moment)
    await expect(session.prefill([5])).rejects.toThrow('is NaN')
  }
  for (const tokens of await Promise.all(running)) expect(tokens).toEqual(expected.tokens)
})

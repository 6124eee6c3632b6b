// How many run at once, who waits, and sessions that share fewer slots than there are of them.

import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { DisposedError, QueueFullError } from '../../lib/support/errors.js'
import { loadModel, type Model, type Session } from '../../lib/index.js'
import { fixture } from '../support/checkpoints.js'
import { expectIdle, tokensOf } from '../support/company.js'
import { collectGarbage, growFromOneSlot } from '../support/failing-runs.js'
import { fingerprint } from '../support/session-cases.js'
import { seededIntegers } from '../unit/random.js'

const OPTIONS = { ignoreEos: true, maxTokens: 20, temperature: 3, seed: 4 }

async function load(options: { maxStreams?: number; maxQueue?: number } = {}): Promise<Model> {
  const model = await loadModel(fixture('rene'), { device: 'cpu', promptCache: false, ...options })
  onTestFinished(() => model.dispose())
  return model
}

async function begin(model: Model | Session, options = {}) {
  const stream = model.stream([5], { ...OPTIONS, maxTokens: 10_000, ...options })
  await stream.next()
  return stream
}

describe('a queue', () => {
  it('is served in order, one for each that ends', async () => {
    const model = await load({ maxStreams: 2 })
    const ended: number[] = []
    // Each longer than the last: whoever started first ends first.
    const calls = [10, 20, 30, 40, 50, 60].map(async (maxTokens, i) => {
      const result = await model.generate([i], { ...OPTIONS, maxTokens })
      ended.push(i)
      return result
    })
    await turn()
    expect(model.engine.load).toMatchObject({ streams: 2, waiting: 4 })
    const results = await Promise.all(calls)
    expect(ended).toEqual([0, 1, 2, 3, 4, 5])
    expect(model.engine.load).toMatchObject({ slots: 2, streams: 0, waiting: 0 })
    const waits = results.map(({ timings }) => timings.queueMs)
    expect(Math.max(...waits.slice(0, 2))).toBeLessThan(waits[2]!)
    expect(waits.slice(1)).toEqual(waits.slice(1).sort((a, b) => a - b))
    for (const { timings } of results) {
      expect(timings.promptMs).toBeCloseTo(timings.timeToFirstTokenMs - timings.queueMs, 6)
      expect(timings.promptMs).toBeGreaterThan(0)
    }
  })

  it('counts the whole wait of a session that has a token to consume first', async () => {
    const model = await load({ maxStreams: 1 })
    const session = model.createSession()
    await session.generate([1], OPTIONS)
    const running = await begin(model)
    const call = session.generate([2], OPTIONS)
    await sleep(400)
    await running.return()
    const { queueMs, promptMs } = (await call).timings
    expect(queueMs).toBeGreaterThan(350)
    expect(promptMs).toBeLessThan(350)
  })

  it('is waited in once, by a session that has a token to consume first too', async () => {
    const model = await load({ maxStreams: 1, maxQueue: 1 })
    const session = model.createSession()
    await session.generate([1], OPTIONS)
    const running = await begin(model)
    const order: string[] = []
    const first = session.generate([2], OPTIONS).then(() => order.push('first'))
    await running.return()
    const second = model.generate([3], OPTIONS).then(() => order.push('second'))
    await Promise.all([first, second])
    expect(order).toEqual(['first', 'second'])
    const third = session.prefill([4]).then(() => order.push('third'))
    await Promise.all([third, model.generate([3], OPTIONS).then(() => order.push('fourth'))])
    expect(order.slice(2)).toEqual(['third', 'fourth'])
    await expectIdle(model)
  })

  it('refuses whoever comes when it is full, and takes the next one when it is not', async () => {
    const model = await load({ maxStreams: 1, maxQueue: 2 })
    const running = await begin(model)
    const waiting = [model.generate([1], OPTIONS), model.generate([2], OPTIONS)]
    const refused = model.generate([3], OPTIONS)
    await expect(refused).rejects.toThrow(QueueFullError)
    await expect(refused).rejects.toMatchObject({ code: 'ERR_QUEUE_FULL', name: 'QueueFullError' })
    await expect(refused).rejects.toThrow(
      '[generate] the queue is full: 1 of 1 streams run and 2 of 2 calls wait. Try again later, or give loadModel a larger maxStreams or maxQueue',
    )
    await expect(model.stream([3], OPTIONS).next()).rejects.toThrow(
      /^\[stream\] the queue is full: 1 of 1/,
    )
    await running.return()
    for (const { tokens } of await Promise.all(waiting)) expect(tokens).toHaveLength(20)
    expect((await model.generate([3], OPTIONS)).tokens).toHaveLength(20)
  })

  it('without places to wait in refuses at once', async () => {
    const model = await load({ maxStreams: 1, maxQueue: 0 })
    const running = await begin(model)
    await expect(model.generate([3], OPTIONS)).rejects.toThrow(
      '1 of 1 streams run and 0 of 0 calls wait',
    )
    await running.return()
    expect((await model.generate([3], OPTIONS)).tokens).toHaveLength(20)
  })

  it('forgets who is aborted, and who was ready to run', async () => {
    const model = await load({ maxStreams: 1 })
    const running = await begin(model)
    const reason = new Error('enough')
    const controllers = [0, 1, 2, 3].map(() => new AbortController())
    const calls = controllers.map(({ signal }, i) => model.generate([i], { ...OPTIONS, signal }))
    const settled = Promise.allSettled(calls)
    await turn()
    expect(model.engine.load.waiting).toBe(4)
    controllers[1]!.abort(reason)
    controllers[3]!.abort(reason)
    expect(model.engine.load.waiting).toBe(2)
    // In the same moment as its place comes free.
    const left = running.return()
    controllers[0]!.abort(reason)
    await left
    const outcomes = (await settled).map((outcome) =>
      outcome.status === 'fulfilled' ? outcome.value.tokens.length : outcome.reason,
    )
    expect(outcomes).toEqual([reason, reason, 20, reason])
    await turn()
    await expectIdle(model)
  })

  it('ends when the model is disposed of: whoever runs or waits is told', async () => {
    const model = await load({ maxStreams: 2, maxQueue: 5 })
    const session = model.createSession()
    const streams = [await begin(model), await begin(session)]
    const waiting = [
      model.generate([1], OPTIONS),
      model.createSession().prefill([1, 2]),
      model.createSession().generate([1], OPTIONS),
    ]
    const results = streams.map(({ result }) => result)
    const settled = Promise.allSettled([...waiting, ...results])
    await turn()
    expect(model.engine.load).toMatchObject({ streams: 2, waiting: 3 })
    model.dispose()
    const reasons = (await settled).map((outcome) => (outcome as PromiseRejectedResult).reason)
    for (const reason of reasons) expect(reason).toBeInstanceOf(DisposedError)
    expect(reasons.map(({ message }) => message)).toEqual(
      ['generate', 'prefill', 'generate', 'stream', 'stream'].map(
        (operation) => `[${operation}] this model was disposed`,
      ),
    )
    await turn()
    await expectIdle(model)
    session.dispose()
  })

  it.each([
    [{ maxStreams: 0 }, 'maxStreams must be a whole number from 1 to 256 but is 0'],
    [{ maxStreams: 257 }, 'maxStreams must be a whole number from 1 to 256 but is 257'],
    [{ maxStreams: 1.5 }, 'maxStreams must be a whole number from 1 to 256 but is 1.5'],
    [{ maxQueue: -1 }, 'maxQueue must be a whole number from 0 to 1048576 but is -1'],
    [{ maxQueue: Number.POSITIVE_INFINITY }, 'maxQueue must be'],
  ])('%j is refused', async (options, message) => {
    await expect(load(options)).rejects.toThrow(RangeError)
    await expect(load(options)).rejects.toThrow(`[loadModel] ${message}`)
  })

  it.each([
    [{ maxStreams: '4' }, 'maxStreams must be a number'],
    [{ maxQueue: null }, 'maxQueue must be a number'],
  ])('%j is refused for its type', async (options, message) => {
    await expect(load(options as never)).rejects.toThrow(TypeError)
    await expect(load(options as never)).rejects.toThrow(`[loadModel] ${message}`)
  })
})

describe('more sessions than slots', () => {
  const COUNT = 7

  /** What a session does in its turns, and gives. */
  async function play(session: Session, seed: number, turns: number): Promise<string[]> {
    const draw = seededIntegers(seed)
    const told: string[] = []
    for (let i = 0; i < turns; i++) {
      const prompt = draw(3) === 0 && i > 0 ? '' : tokensOf(1 + draw(90), draw)
      const options = { ...OPTIONS, maxTokens: 1 + draw(6), logprobs: 1, seed }
      const { tokens, logprobs } = await session.generate(prompt, options)
      told.push(JSON.stringify([tokens, logprobs]))
    }
    return [...told, await fingerprint(session)]
  }

  it.each([1, 2, 3])('%i slots: each goes on as if it were alone', async (maxStreams) => {
    const model = await load({ maxStreams })
    const sessions = Array.from({ length: COUNT }, () => model.createSession())
    const told = await Promise.all(sessions.map((session, i) => play(session, i, 8)))
    const ample = await load()
    for (const [i, each] of told.entries()) {
      using session = ample.createSession()
      expect(each).toEqual(await play(session, i, 8))
    }
    // Each has a state somewhere: so many in slots, all others in memory of their own.
    using moment = await sessions[0]!.checkpoint()
    const one = moment.stateBytes
    expect(model.engine.load.slots).toBe(maxStreams)
    expect(model.memory().snapshotBytes).toBe((COUNT - maxStreams + 1) * one)
    for (const session of sessions) session.dispose()
    expect(model.memory().snapshotBytes).toBe(one)
  })

  it('whoever has not run for longest gives its slot up', async () => {
    const model = await load({ maxStreams: 2 })
    const [a, b, c] = [model.createSession(), model.createSession(), model.createSession()]
    const parked = () => [a, b, c].map(({ snapshotBytes }) => snapshotBytes > 0)
    await a.prefill([1])
    await b.prefill([2])
    expect(parked()).toEqual([false, false, false])
    await a.prefill([3])
    await c.prefill([4])
    expect(parked()).toEqual([false, true, false])
    await b.prefill([5])
    expect(parked()).toEqual([true, false, false])
    // A stream that runs keeps its slot, whoever comes.
    const stream = await begin(b)
    await a.prefill([6])
    await c.prefill([7])
    await a.prefill([8])
    expect(parked()).toEqual([false, false, true])
    await stream.return()
  })

  it('dispose, reset and rewind while others grow the pool', async () => {
    const model = await load({ maxStreams: 32 })
    growFromOneSlot(model, 32)
    const sessions = Array.from({ length: 6 }, () => model.createSession())
    const prompts = sessions.map((_, i) => tokensOf(70 + i, seededIntegers(i)))
    await Promise.all(sessions.map((session, i) => session.prefill(prompts[i]!)))
    const moments = await Promise.all(sessions.map((session) => session.checkpoint()))
    const prints = await Promise.all(sessions.map(fingerprint))
    const before = model.engine.load.slots
    const growing = Array.from({ length: 14 }, (_, i) => model.generate([i, 1], OPTIONS))
    const needy = model.generate([99], {
      ...OPTIONS,
      repetitionPenalty: 1.1,
      repetitionContextSize: 500,
      stopTokens: tokensOf(30, seededIntegers(1)),
    })
    const [a, b, c, d, e, f] = sessions as [Session, Session, Session, Session, Session, Session]
    a.dispose()
    b.reset()
    const rewound = (async () => {
      await c.prefill([1])
      await c.rewind(moments[2]!)
    })()
    const forked = d.fork()
    const back = e.rewind(moments[0]!)
    const read = f.generate('', { ...OPTIONS, logprobs: 2 })
    await Promise.all([...growing, needy, rewound, back, read])
    expect(model.engine.load.slots).toBeGreaterThan(before)
    expect(await fingerprint(c)).toBe(prints[2])
    expect(await fingerprint(await forked)).toBe(prints[3])
    expect(await fingerprint(e)).toBe(prints[0])
    const fresh = await load()
    const { tokens, logprobs } = await fresh.generate(prompts[5]!, { ...OPTIONS, logprobs: 2 })
    expect(await read).toMatchObject({ tokens, logprobs })
    await b.prefill(prompts[1]!)
    expect(await fingerprint(b)).toBe(prints[1])
  })

  it('that nobody holds any more leave their slots and memory', async () => {
    const model = await load({ maxStreams: 3 })
    await (async () => {
      for (let i = 0; i < 8; i++) await model.createSession().prefill([i, 1])
    })()
    expect(model.memory().snapshotBytes).toBeGreaterThan(0)
    for (let tries = 0; tries < 50 && model.memory().snapshotBytes > 0; tries++) {
      await collectGarbage()
      await sleep(5)
    }
    expect(model.memory().snapshotBytes).toBe(0)
    // Three slots are free: nobody has to give one up.
    const sessions = [0, 1, 2].map(() => model.createSession())
    for (const session of sessions) await session.prefill([5])
    expect(model.memory().snapshotBytes).toBe(0)
    const prints = await Promise.all(sessions.map(fingerprint))
    const fresh = (await load()).createSession()
    await fresh.prefill([5])
    expect(prints).toEqual(Array.from({ length: 3 }, () => prints[0]))
    expect(prints[0]).toBe(await fingerprint(fresh))
  })
})

// Sessions: what they promise, at random and one by one.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { CommandList } from '../../lib/operations/device.js'
import { SessionBusyError, SessionLostError } from '../../lib/support/errors.js'
import { loadModel, type Model, type Session } from '../../lib/index.js'
import { fingerprint, promptOf, SESSION_CASES } from '../support/session-cases.js'
import { expectClose } from '../tolerance.js'
import { seededIntegers } from '../unit/random.js'

const fixture = (name: string) =>
  fileURLToPath(new URL(`../fixtures/reference/${name}`, import.meta.url))
const MODELS = ['mamba2-hf', 'rene', 'edge-mlx-4bit', 'mamba2-mlx-lm-groups-8bit']
const CASES = 42 // of each kind and model: 504

describe.each(MODELS)('%s', (name) => {
  let model: Model
  beforeAll(async () => {
    model = await loadModel(fixture(name), { device: 'cpu' })
  })
  afterAll(() => model.dispose())

  test.each(Object.entries(SESSION_CASES))('%s, equal to the bit', async (_, play) => {
    for (let seed = 1; seed <= CASES; seed++) {
      try {
        await play(model, seededIntegers(seed * 7919), 300)
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
      }
    }
  })
})
describe('a session', () => {
  let model: Model
  beforeAll(async () => {
    model = await loadModel(fixture('rene'), { device: 'cpu' })
  })
  afterAll(() => model.dispose())
  const greedy = { ignoreEos: true }

  test('scores continuations as the model does after its tokens, and stays as it is', async () => {
    const [prefix, ...continuations] = [[1, 2, 3, 4, 5], [6, 7, 8], [9]] as const
    using session = model.createSession()
    await session.prefill(prefix)
    const before = await fingerprint(session)
    const scores = await session.score(continuations)
    const expected = await model.score(prefix, continuations)
    for (const [i, { logprobs, tokens, isGreedy, usage }] of scores.entries()) {
      expectClose(logprobs, expected[i]!.logprobs, 'float32')
      expect({ tokens, isGreedy }).toEqual({
        tokens: continuations[i],
        isGreedy: expected[i]!.isGreedy,
      })
      expect(usage).toEqual({ ...expected[i]!.usage, cachedTokens: prefix.length })
    }
    expect(await fingerprint(session)).toBe(before)
    // Also after a text, whose last token has not been consumed.
    const { tokens } = await session.generate([6], { maxTokens: 3, ...greedy })
    const [score] = await session.score([[7, 8]])
    const [whole] = await model.score([...prefix, 6, ...tokens], [[7, 8]])
    expectClose(score!.logprobs, whole!.logprobs, 'float32')
  })

  test('has nothing to score after at the beginning, and takes no empty continuation', async () => {
    using session = model.createSession()
    await expect(session.score([[1]])).rejects.toThrow(
      /\[score\] this session has nothing to go on/,
    )
    await session.prefill([1])
    await expect(session.score([])).rejects.toThrow(/there are no continuations/)
    await expect(session.score([[]])).rejects.toThrow(/\[score\] .*empty/)
  })

  test.each(['prefill', 'generate'] as const)(
    'holds the finished chunks when %s is aborted in a prompt',
    async (method) => {
      const prompt = promptOf(model, 4000, seededIntegers(3))
      const isPartial = (position: number) => position > 0 && position < 3000
      let position = 0
      for (let delay = 0; delay < 60 && !isPartial(position); delay++) {
        using session = model.createSession()
        const controller = new AbortController()
        const call = session[method](prompt, { signal: controller.signal })
        const timer = setTimeout(() => controller.abort(new Error('enough')), delay)
        const message = await call.then(
          () => 'no error',
          (error: Error) => error.message,
        )
        clearTimeout(timer)
        if (message === 'no error') break
        expect(message).toBe('enough')
        position = session.position
        if (!isPartial(position)) continue
        expect(position % 256).toBe(0)
        expect(Array.from(session.consumed)).toEqual(prompt.slice(0, position))
        // It goes on as if nothing had happened.
        await session.prefill(prompt.slice(position))
        using whole = model.createSession()
        await whole.prefill(prompt)
        expect(await fingerprint(session)).toBe(await fingerprint(whole))
      }
      expect(position, 'the abort came before the prompt or after it').toSatisfy(isPartial)
    },
  )

  test('an aborted signal leaves it untouched', async () => {
    using session = model.createSession()
    await session.prefill([1, 2, 3])
    const before = await fingerprint(session)
    const signal = AbortSignal.abort(new Error('no'))
    await expect(session.prefill([4, 5], { signal })).rejects.toThrow('no')
    await expect(session.generate([4, 5], { signal })).rejects.toThrow('no')
    expect(await fingerprint(session)).toBe(before)
    expect(await fingerprint(session)).toBe(before)
  })

  test('an abort before the first chunk of a prompt leaves something to go on from', async () => {
    using session = model.createSession()
    using whole = model.createSession()
    const { tokens } = await whole.generate([1, 2, 3], { ...greedy, maxTokens: 8 })
    for (const [call, first] of [
      ['prefill', 2],
      ['stream', 3],
    ] as const) {
      // Leaves a token, which is consumed before the prompt.
      session.reset()
      await session.generate([1, 2, 3], { ...greedy, maxTokens: first })
      const controller = new AbortController()
      const { signal } = controller
      const calling =
        call === 'prefill'
          ? session.prefill(promptOf(model, 600, seededIntegers(1)), { signal })
          : session.stream([4], { ...greedy, signal }).next()
      const ending = expect(calling).rejects.toThrow('enough')
      await Promise.resolve().then(() => {}) // until it has begun
      controller.abort(new Error('enough'))
      await ending
      expect(session.position).toBe(3 + first)
      const rest = await session.generate('', { ...greedy, maxTokens: 8 - first })
      expect(rest.tokens).toEqual(tokens.slice(first))
      expect(await fingerprint(session)).toBe(await fingerprint(whole))
    }
  })

  test('prefill refuses options that it does not have', async () => {
    using session = model.createSession()
    for (const [options, message] of [
      [{ maxTokens: 5 }, '[prefill] unknown option "maxTokens"'],
      [{ parseSpecials: true }, 'did you mean "parseSpecial"?'],
      [null, '[prefill] options must be an object'],
    ] as const) {
      await expect(session.prefill([1], options as never)).rejects.toThrow(message)
    }
    expect(session.position).toBe(0)
  })

  test('takes one call at a time, and a stream from its first token on', async () => {
    using session = model.createSession()
    const stream = session.stream([1, 2, 3], { ...greedy, maxTokens: 5 })
    await session.prefill([7]) // nobody has asked for a token yet
    await stream.next()
    expect(() => session.reset()).toThrow(SessionBusyError)
    await expect(session.prefill([4])).rejects.toThrow(
      '[prefill] this session is busy with stream: wait for its end, or fork the session before',
    )
    await expect(session.checkpoint()).rejects.toThrow(SessionBusyError)
    await expect(session.generate('', greedy)).rejects.toThrow(SessionBusyError)
    await stream.return()
    await session.prefill([4])
    expect(Array.from(session.consumed).slice(0, 4)).toEqual([7, 1, 2, 3])
    expect(session.consumed.at(-1)).toBe(4)
  })

  test('is lost after an error, until it is rewound or reset', async () => {
    using session = model.createSession()
    await session.prefill([1, 2, 3])
    using moment = await session.checkpoint()
    const before = await fingerprint(session)
    for (const mend of ['rewind', 'reset'] as const) {
      using bad = await session.checkpoint()
      const { tensor } = bad.snapshot.fields.find(({ name }) => name.endsWith('ssm'))!
      tensor.write(new Float32Array(tensor.elements).fill(Number.NaN))
      await session.rewind(bad)
      await expect(session.generate([5], greedy)).rejects.toThrow(/NaN/)
      await expect(session.generate([5], greedy)).rejects.toThrow(SessionLostError)
      await expect(session.prefill([5])).rejects.toMatchObject({
        code: 'ERR_SESSION_LOST',
        cause: expect.objectContaining({ message: expect.stringMatching(/NaN/) }),
      })
      await expect(session.checkpoint()).rejects.toThrow(/rewind it to a checkpoint, reset it/)
      if (mend === 'reset') session.reset()
      await session.rewind(moment)
      expect(await fingerprint(session)).toBe(before)
    }
    session.reset()
    expect(session.position).toBe(0)
    await session.prefill([1, 2, 3])
    expect(await fingerprint(session)).toBe(before)
  })

  test('has nothing to go on from before its first token', async () => {
    using session = model.createSession()
    await expect(session.generate()).rejects.toThrow(
      '[generate] the prompt is empty, and this session has nothing to go on from: give at least one token',
    )
    await session.prefill([1])
    expect((await session.generate('', { ...greedy, maxTokens: 2 })).tokens).toHaveLength(2)
  })

  test('counts what it had as cached', async () => {
    using session = model.createSession()
    await session.prefill([1, 2, 3])
    const { usage } = await session.generate([4, 5], { ...greedy, maxTokens: 4 })
    const whole = { promptTokens: 5, cachedTokens: 3, completionTokens: 4, totalTokens: 9 }
    expect(usage).toEqual(whole)
  })

  test('reports the log-probabilities that a generation reports', async () => {
    const options = { ...greedy, maxTokens: 6, logprobs: 2 }
    const { logprobs } = await model.generate([1, 2, 3], options)
    using session = model.createSession()
    const first = await session.generate([1, 2, 3], { ...options, maxTokens: 2 })
    const rest = await session.generate('', { ...options, maxTokens: 4 })
    expect([...first.logprobs!, ...rest.logprobs!]).toEqual(logprobs)
  })

  test('frees its memory, also under a stream, and the model says what is held', async () => {
    const { weightBytes } = model
    await model.generate([1], { maxTokens: 2 }) // one slot, and the list of a step
    const none = model.memory()
    expect(none).toMatchObject({ weightBytes, snapshotBytes: 0 })
    expect(none.slotBytes).toBeGreaterThan(model.stateBytes)
    expect(none.workspaceBytes).toBeGreaterThan(0)
    const session = model.createSession()
    expect(session.stateBytes).toBe(model.stateBytes)
    const stream = session.stream([1, 2], { ...greedy, maxTokens: 500 })
    await stream.next()
    const moments = []
    await stream.return()
    for (let i = 0; i < 3; i++) moments.push(await session.checkpoint())
    const held = { weightBytes, snapshotBytes: 3 * moments[0]!.stateBytes }
    expect(moments[0]!.stateBytes).toBeGreaterThan(model.stateBytes)
    expect(model.memory()).toMatchObject(held)
    // The session has the slot that the generation had.
    expect(model.memory().slotBytes).toBe(none.slotBytes)
    const again = session.stream([3], { ...greedy, maxTokens: 500 })
    await again.next()
    session.dispose()
    await expect(
      (async () => {
        for await (const _ of again);
      })(),
    ).rejects.toThrow(/\[stream\] this session was disposed/)
    for (const moment of moments) moment.dispose()
    expect(model.memory()).toMatchObject({ slotBytes: none.slotBytes, snapshotBytes: 0 })
    await expect(session.prefill([1])).rejects.toThrow('[prefill] this session was disposed')
  })

  test('starts no run once it was disposed of', async () => {
    const session = model.createSession()
    const stream = session.stream([1, 2], { ...greedy, maxTokens: 50 })
    await stream.next()
    await new Promise((resolve) => setTimeout(resolve, 100)) // the run that is under way ends with a token
    const runs = vi.spyOn(CommandList.prototype, 'run')
    onTestFinished(() => runs.mockRestore())
    session.dispose()
    const unheard: unknown[] = []
    const hear = (error: unknown) => unheard.push(error)
    process.on('unhandledRejection', hear)
    await expect(stream.next()).rejects.toThrow('[stream] this session was disposed')
    await new Promise((resolve) => setTimeout(resolve, 100))
    process.off('unhandledRejection', hear)
    expect(unheard).toEqual([])
    expect(runs).not.toHaveBeenCalled()
  })

  test('refuses what is no checkpoint of its model', async () => {
    using session = model.createSession()
    const other = await loadModel(fixture('mamba2-hf'), { device: 'cpu' })
    using foreign = other.createSession()
    await foreign.prefill([1])
    using moment = await foreign.checkpoint()
    await expect(session.rewind(moment)).rejects.toThrow(
      '[rewind] takes a checkpoint of a session of the same model',
    )
    await expect(session.rewind({} as never)).rejects.toThrow(TypeError)
    const gone = await session.checkpoint()
    gone.dispose()
    await expect(session.rewind(gone)).rejects.toThrow('[rewind] this checkpoint was disposed')
    other.dispose()
    await expect(foreign.prefill([1])).rejects.toThrow(/this model was disposed/)
  })
})

describe('text', () => {
  test('is marked as the beginning of a sequence where it is one, not where its stream was made', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ssm-metal-mark-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const json = JSON.parse(
      readFileSync(new URL('../fixtures/tokenizer-250/tokenizer.json', import.meta.url), 'utf8'),
    )
    const mark = json.added_tokens[0]
    json.post_processor = {
      type: 'TemplateProcessing',
      single: [
        { SpecialToken: { id: mark.content, type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
      ],
      pair: [],
      special_tokens: {
        [mark.content]: { id: mark.content, ids: [mark.id], tokens: [mark.content] },
      },
    }
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json))
    using model = await loadModel(fixture('rene'), { device: 'cpu', tokenizer: folder })
    const marks = ({ consumed }: Session) =>
      [...consumed.keys()].filter((i) => consumed[i] === mark.id)
    const options = { ignoreEos: true, maxTokens: 1 }
    using session = model.createSession()
    const first = session.stream('the state', options)
    const second = session.stream('of a', options)
    await first.result
    const { usage } = await second.result
    expect(marks(session)).toEqual([0])
    expect(usage.totalTokens).toBe(session.position)
    const third = session.stream('the state', options)
    session.reset()
    const { usage: again } = await third.result
    expect(marks(session)).toEqual([0])
    expect(again.totalTokens).toBe(session.position)
  })

  test('consumes a token that ends both a stop text and maxTokens', async () => {
    using model = await loadModel(undefined, { device: 'cpu' })
    const options = { ignoreEos: true, temperature: 1 }
    const most = 6
    let seed = 0
    let whole: Awaited<ReturnType<Model['generate']>>
    let text = ''
    // A text that the last of the first six tokens brings.
    do {
      seed += 1
      whole = await model.generate('The old man', { ...options, seed, maxTokens: most + 4 })
      text = model.tokenizer!.decode(whole.tokens.slice(0, most))
    } while (text.indexOf(text.slice(-2)) !== text.length - 2)
    using session = model.createSession()
    const ended = { ...options, seed, maxTokens: most, stop: text.slice(-2) }
    const result = await session.generate('The old man', ended)
    expect(result).toMatchObject({ finishReason: 'stop', tokens: whole.tokens.slice(0, most) })
    const rest = await session.generate('', { ...options, seed, maxTokens: 4 })
    expect(rest.tokens).toEqual(whole.tokens.slice(most))
  })

  test('in turns: the beginning of a sequence is marked once, and a stop text ends a turn', async () => {
    using model = await loadModel(undefined, { device: 'cpu' })
    using session = model.createSession()
    const whole = await model.generate('The old man', { maxTokens: 40 })
    const stop = whole.text.trim().split(' ')[4]!
    const first = await session.generate('The old man', { maxTokens: 40, stop })
    expect(first.finishReason).toBe('stop')
    const rest = await session.generate('', { maxTokens: 40 - first.tokens.length })
    expect([...first.tokens, ...rest.tokens]).toEqual(whole.tokens)
    const before = session.position
    await session.prefill(' and')
    const added = model.tokenizer!.encode(' and', { addSpecialTokens: false }).length
    expect(session.position).toBe(before + added)
  })
})

// What users of a model see of a run that failed: their own call, and the run as its cause.

import { describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  DeviceLostError,
  loadModel,
  type Model,
  OperationError,
  SessionLostError,
} from '../../lib/index.js'
import { callerOf, toldTo } from '../../lib/support/caller.js'
import {
  copyOfFixture,
  fixture,
  numbersOf,
  rawTensor,
  rewriteTensors,
  temporaryFolder,
} from '../support/checkpoints.js'
import { FAILURE, failNextRun, whileRunsFail } from '../support/failing-runs.js'
import { writeScriptedModel } from '../support/scripted-model.js'

vi.mock('../../lib/operations/addon.js', async (original) => {
  const { withFailures } = await import('../support/failing-runs.js')
  return withFailures(await original())
})

const PROMPT = [1, 2, 3]

async function load(folder = fixture('rene')): Promise<Model> {
  const model = await loadModel(folder, { device: 'cpu', promptCache: false })
  onTestFinished(() => model.dispose())
  return model
}

async function reasonOf(call: Promise<unknown>): Promise<OperationError & { cause?: unknown }> {
  return call.then(
    () => expect.unreachable('nothing failed'),
    (error) => error,
  )
}

/** What the call is rejected with when its run with that index fails. */
async function errorOf(index: number, call: () => Promise<unknown>) {
  let runs = 0
  return reasonOf(whileRunsFail(() => runs++ === index, call, 'operation'))
}

describe('the stack shows the call of the user', () => {
  const calls: Record<string, (model: Model) => Promise<unknown>> = {
    async generates(model) {
      await model.generate(PROMPT, { maxTokens: 9 })
    },
    async samples(model) {
      await model.generate(PROMPT, { n: 2, maxTokens: 9, temperature: 1 })
    },
    async iterates(model) {
      const stream = model.stream(PROMPT, { maxTokens: 9 })
      for await (const _ of stream);
    },
    async asksForTheResult(model) {
      await model.stream(PROMPT, { maxTokens: 9 }).result
    },
    async prefills(model) {
      await model.createSession().prefill(PROMPT)
    },
    async continues(model) {
      await model.createSession().generate(PROMPT)
    },
    async scores(model) {
      await model.score(PROMPT, [[4], [5]])
    },
    async classifies(model) {
      await model.classify(PROMPT, [[4], [5]])
    },
    async asksForLogits(model) {
      await model.logits(PROMPT)
    },
  }

  it.each(Object.entries(calls))('that %s', async (name, call) => {
    const model = await load()
    const error = await errorOf(name === 'asksForLogits' ? 0 : 1, () => call(model))
    expect(error).toBeInstanceOf(OperationError)
    expect(error.message).toBe(FAILURE)
    expect(error.stack).toMatch(new RegExp(`^OperationError: ${FAILURE}\n[^]* ${name} \\(`))
    const { cause } = error
    if (cause === undefined) return expect(name).toBe('asksForLogits')
    expect(cause).toMatchObject({ name: 'OperationError', message: FAILURE, code: error.code })
    expect((cause as Error).cause).toBeUndefined()
    expect((cause as Error).stack).toMatch(/lib\/engine\//)
  })
})

it('a session is lost by the error of the run itself', async () => {
  const model = await load()
  using session = model.createSession()
  const error = await errorOf(1, () => session.prefill(PROMPT))
  const lost = await session.prefill(PROMPT).catch((reason) => reason)
  expect(lost).toBeInstanceOf(SessionLostError)
  expect(lost.cause).toBe(error.cause)
})

it('streams that a run fails together have errors of their own, with one cause', async () => {
  const model = await load()
  const streams = [1, 2].map((token) => model.stream([token], { maxTokens: 60, ignoreEos: true }))
  await Promise.all(streams.map((stream) => stream.next()))
  // Both are in the next step, whatever is under way.
  const ends = await whileRunsFail(
    () => true,
    () => Promise.all(streams.map((stream) => stream.result.catch((error) => error))),
    'operation',
  )
  expect(ends[0]).toBeInstanceOf(OperationError)
  expect(ends[0]).not.toBe(ends[1])
  expect(ends[0].cause).toBeInstanceOf(OperationError)
})

describe('logits of which no token can be drawn', () => {
  // At temperature 0 an infinite logit is simply the largest one.
  const DRAW = { temperature: 1 }
  const NAN = '[sample] logit 0 is NaN: the weights or the state hold NaN or overflow'
  const INFINITE = '[sample] the largest logit is infinite: no token can be drawn'

  async function loadNaN(): Promise<Model> {
    const folder = await copyOfFixture('rene')
    await rewriteTensors(folder, (tensors) => {
      const norm = new Float32Array(64).fill(Number.NaN)
      return tensors.set('backbone.norm_f.weight', rawTensor('float32', [64], norm))
    })
    return load(folder)
  }

  /** A model that gives an infinite logit after token 1. */
  async function loadInfinite(): Promise<Model> {
    const folder = await temporaryFolder()
    await writeScriptedModel(folder, [1, 2, 3])
    await rewriteTensors(folder, (tensors) => {
      const name = 'lm_head.weight'
      const tensor = tensors.get(name)!
      const values = numbersOf(tensor).map((value) => (value > 0 ? 3e38 : value))
      return tensors.set(name, rawTensor(tensor.dtype, tensor.shape, values))
    })
    return load(folder)
  }

  const calls: Record<string, (model: Model) => Promise<unknown>> = {
    async generates(model) {
      await model.generate([1], DRAW)
    },
    async samples(model) {
      await model.generate([1], { n: 2, ...DRAW })
    },
    async iterates(model) {
      const stream = model.stream([1], DRAW)
      for await (const _ of stream);
    },
    async asksForTheResult(model) {
      await model.stream([1], DRAW).result
    },
    async continues(model) {
      await model.createSession().generate([1], DRAW)
    },
    async iteratesInASession(model) {
      const stream = model.createSession().stream([1], DRAW)
      for await (const _ of stream);
    },
  }

  it.each([
    ['NaN', NAN, loadNaN],
    ['infinite', INFINITE, loadInfinite],
  ])('%s: each call is told with its place in the stack', async (_, message, loadBad) => {
    const model = await loadBad()
    for (const [name, call] of Object.entries(calls)) {
      const error = await reasonOf(call(model))
      expect(error).toBeInstanceOf(OperationError)
      expect({ ...error }).toEqual({
        code: 'ERR_BAD_DATA',
        operation: 'sample',
        layer: undefined,
      })
      expect(error.message).toBe(message)
      const [first, ...frames] = error.stack!.split('\n')
      expect(first).toBe(`OperationError: ${message}`)
      expect(frames.join('\n')).toMatch(new RegExp(` ${name} \\(`))
      expect(error.cause).toBeInstanceOf(OperationError)
      expect(error.cause).toMatchObject({ message, code: 'ERR_BAD_DATA', operation: 'sample' })
      expect((error.cause as Error).cause).toBeUndefined()
    }
  })

  it('lose a session by the error of the draw', async () => {
    const model = await loadNaN()
    using session = model.createSession()
    const error = await reasonOf(session.generate([1], DRAW))
    const lost = await session.prefill([1]).catch((reason) => reason)
    expect(lost).toBeInstanceOf(SessionLostError)
    expect(lost.cause).toBe(error.cause)
  })
})

it('the layer of a model is named', async () => {
  const model = await load()
  const layers = new Map<string | undefined, string[]>()
  for (let operation = 0; operation < 12; operation++) {
    failNextRun({ withInputs: true, by: 'operation', operation })
    const error = await model.logits(PROMPT).catch((reason) => reason)
    layers.set(error.layer, [...(layers.get(error.layer) ?? []), error.operation])
  }
  expect([...layers.keys()].slice(0, 3)).toEqual([undefined, 'layers.0', 'layers.1'])
  expect(layers.get(undefined)).toEqual(['resolveRows', 'embedding'])
  expect(layers.get('layers.0')).toContain('ssdChunkScan')
})

describe('an error that is told', () => {
  const caller = callerOf(describe)

  it('is told once, with what it says of the operation', () => {
    const place = { operation: 'rmsNorm', layer: 'layers.3' }
    const error = new OperationError('no', { code: 'ERR_BAD_DATA', ...place })
    const told = toldTo(caller, error)
    expect(told).not.toBe(error)
    expect(told).toBeInstanceOf(OperationError)
    expect(told).toMatchObject({ message: 'no', code: 'ERR_BAD_DATA', ...place, cause: error })
    expect(toldTo(caller, told)).toBe(told)
  })

  it('stays lost where the device is', () => {
    const error = new DeviceLostError('gone')
    const told = toldTo(caller, error)
    expect(told).toBeInstanceOf(DeviceLostError)
    expect(told).toMatchObject({ message: 'gone', code: 'ERR_DEVICE_LOST', cause: error })
  })

  it.each([new Error('another'), 'enough', undefined])('is what it was: %s', (reason) => {
    expect(toldTo(caller, reason)).toBe(reason)
  })
})

// Several consumers of one stream, its disposal, and signals that many runs share.

import { getEventListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { onAbort, reasonOf, throwIfAborted } from '../../lib/support/abort.js'
import { CommandList } from '../../lib/operations/device.js'
import { loadModel, type Model, type TextChunk } from '../../lib/index.js'
import { fixture } from '../support/checkpoints.js'

let model: Model
beforeAll(async () => {
  model = await loadModel(fixture('rene'), { device: 'cpu' })
})
afterAll(() => model.dispose())

const OPTIONS = { maxTokens: 20, ignoreEos: true, temperature: 2, seed: 3, logprobs: 1 }
const PROMPT = [1, 2, 3]

async function collect(stream: AsyncIterable<TextChunk>, pause = 0): Promise<TextChunk[]> {
  const chunks: TextChunk[] = []
  for await (const chunk of stream) {
    if (pause) await sleep(pause)
    chunks.push(chunk)
  }
  return chunks
}

const tokensOf = (chunks: readonly TextChunk[]) => chunks.map(({ token }) => token)

describe('result and a loop both see everything', () => {
  it.each([
    ['result first', 0],
    ['result first, the loop slow', 3],
  ])('%s', async (_, pause) => {
    const expected = await collect(model.stream(PROMPT, OPTIONS))
    const stream = model.stream(PROMPT, OPTIONS)
    const whole = stream.result
    expect(await collect(stream, pause)).toEqual(expected)
    expect((await whole).tokens).toEqual(tokensOf(expected))
    expect(await stream.next()).toEqual({ value: undefined, done: true })
  })

  it('the loop after the result', async () => {
    const stream = model.stream(PROMPT, OPTIONS)
    const { tokens } = await stream.result
    expect(tokens).toHaveLength(OPTIONS.maxTokens)
    expect(tokensOf(await collect(stream))).toEqual(tokens)
  })

  it('the result awaited inside the loop', async () => {
    const stream = model.stream(PROMPT, OPTIONS)
    const seen: TextChunk[] = []
    for await (const chunk of stream) {
      seen.push(chunk)
      if (seen.length === 2) expect((await stream.result).tokens).toHaveLength(OPTIONS.maxTokens)
    }
    expect(tokensOf(seen)).toEqual((await stream.result).tokens)
  })

  it('some taken by hand, the rest left alone', async () => {
    const stream = model.stream(PROMPT, OPTIONS)
    const first = await stream.next()
    expect((await stream.result).tokens[0]).toBe((first.value as TextChunk).token)
  })

  it('calls of next() that do not wait for one another come in order', async () => {
    const stream = model.stream(PROMPT, OPTIONS)
    const asked = Array.from({ length: 22 }, () => stream.next())
    const { tokens } = await stream.result
    const results = await Promise.all(asked)
    expect(results.slice(0, 20).map(({ value }) => (value as TextChunk).token)).toEqual(tokens)
    expect(results.slice(20).every(({ done }) => done)).toBe(true)
  })

  it('a failure too: the loop gets what there was, then the error, once', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const stream = model.stream(PROMPT, { ...OPTIONS, maxTokens: 1e6, signal: controller.signal })
    const whole = stream.result
    const seen: TextChunk[] = []
    const loop = async () => {
      for await (const chunk of stream) if (seen.push(chunk) === 5) controller.abort(reason)
    }
    await expect(loop()).rejects.toBe(reason)
    await expect(whole).rejects.toBe(reason)
    expect(tokensOf(seen)).toEqual(stream.partial.tokens)
    expect(await stream.next()).toEqual({ value: undefined, done: true })
  })
})

describe('a stream that is left', () => {
  it('by break stops although its result was asked for', async () => {
    const stream = model.stream(PROMPT, { ...OPTIONS, maxTokens: 1e6 })
    const whole = stream.result
    let seen = 0
    for await (const _ of stream) if (++seen === 4) break
    const { finishReason, tokens } = await whole
    expect(finishReason).toBe('abort')
    expect(tokens.length).toBeGreaterThanOrEqual(4)
    expect(tokens.length).toBeLessThan(100)
  })

  it('by the end of its block is stopped and frees what it holds', async () => {
    const runs = vi.spyOn(CommandList.prototype, 'run')
    try {
      let left: ReturnType<Model['stream']>
      {
        await using stream = model.stream(PROMPT, { ...OPTIONS, maxTokens: 1e6 })
        left = stream
        await stream.next()
      }
      expect(await left.result).toMatchObject({
        finishReason: 'abort',
        tokens: [expect.any(Number)],
      })
      const count = runs.mock.calls.length
      await sleep(20)
      expect(runs.mock.calls.length).toBe(count)
    } finally {
      runs.mockRestore()
    }
  })

  it('while its next token is on its way', async () => {
    const stream = model.stream(PROMPT, { ...OPTIONS, maxTokens: 1e6 })
    const pending = stream.next()
    await stream[Symbol.asyncDispose]()
    expect(await pending).toEqual({ value: undefined, done: true })
    expect((await stream.result).finishReason).toBe('abort')
    // The model is as good as before.
    expect((await model.generate(PROMPT, { maxTokens: 2, ignoreEos: true })).tokens).toHaveLength(2)
  })
})

describe('a signal that many share', () => {
  it('gets one listener while they run and none afterwards, and nobody is warned', async () => {
    const warnings: Error[] = []
    const warned = (warning: Error) => void warnings.push(warning)
    process.on('warning', warned)
    const { signal } = new AbortController()
    const add = vi.spyOn(signal, 'addEventListener')
    let most = 0
    const streams = Array.from({ length: 15 }, () =>
      model.stream(PROMPT, { ...OPTIONS, maxTokens: 4, signal }),
    )
    await Promise.all(
      streams.map(async (stream) => {
        for await (const _ of stream)
          most = Math.max(most, getEventListeners(signal, 'abort').length)
      }),
    )
    await sleep(20)
    process.off('warning', warned)
    expect(add).toHaveBeenCalled()
    expect(most).toBe(1)
    expect(getEventListeners(signal, 'abort')).toEqual([])
    expect(warnings).toEqual([])
  })

  it('keeps none of runs that were aborted, failed or were left', async () => {
    const controller = new AbortController()
    const { signal } = controller
    await expect(model.logits([1e9], { signal })).rejects.toThrow(RangeError)
    for await (const _ of model.stream(PROMPT, { ...OPTIONS, signal })) break
    expect(getEventListeners(signal, 'abort')).toEqual([])
    const running = model.generate(PROMPT, { ...OPTIONS, maxTokens: 1e6, signal })
    const reason = new Error('enough')
    setTimeout(() => controller.abort(reason), 20)
    await expect(running).rejects.toBe(reason)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  it('may be of a library that knows the event only', async () => {
    const listeners = new Set<() => void>()
    const signal = {
      aborted: false,
      addEventListener: (_: 'abort', listener: () => void) => void listeners.add(listener),
      removeEventListener: (_: 'abort', listener: () => void) => void listeners.delete(listener),
    }
    const running = model.generate(PROMPT, { ...OPTIONS, maxTokens: 1e6, signal })
    await sleep(20)
    signal.aborted = true
    for (const listener of listeners) listener()
    expect(listeners.size).toBe(0)
    await expect(running).rejects.toMatchObject({ name: 'AbortError' })
    await expect(model.generate(PROMPT, { signal })).rejects.toMatchObject({ name: 'AbortError' })
    expect(() => throwIfAborted(signal)).toThrow(DOMException)
    expect(reasonOf(AbortSignal.abort(7))).toBe(7)
  })

  it('calls all that wait, each once, and not those that forgot', () => {
    const controller = new AbortController()
    const [first, second, third] = [vi.fn(), vi.fn(), vi.fn()]
    onAbort(controller.signal, first)
    const forget = onAbort(controller.signal, second)
    onAbort(controller.signal, third)
    forget()
    forget()
    controller.abort()
    expect([first, second, third].map((each) => each.mock.calls.length)).toEqual([1, 0, 1])
  })
})

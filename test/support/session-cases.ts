// Sessions against the same tokens in one go: what is promised to be equal to the bit, tried at random.

import { createHash } from 'node:crypto'
import { expect } from 'vitest'
import type { GenerateOptions, Model } from '../../lib/index.js'
import { savedPages } from '../../lib/sessions/session-saving.js'
import type { Session } from '../../lib/sessions/session.js'

/** A number from 0 to n - 1: `seededIntegers`. */
export type Draw = (n: number) => number

/** Everything that a session remembers, as one short text. */
export async function fingerprint(session: Session): Promise<string> {
  return session.withSnapshot('fingerprint', async (snapshot, history, engine) => {
    const { fields, logits, hasLogits } = snapshot
    const hash = createHash('sha1')
    for (const { data } of await savedPages(engine, snapshot)) hash.update(data)
    for (const { tensor } of fields) hash.update(bytesOf(tensor.read()))
    hash.update(hasLogits ? bytesOf(logits.read()) : 'no logits')
    hash.update(bytesOf(history.all()))
    return hash.digest('hex')
  })
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  new Uint8Array(buffer, byteOffset, byteLength)

export function promptOf(model: Model, length: number, draw: Draw): number[] {
  const vocabulary = Math.min(model.config.paddedVocabSize, 200)
  return Array.from({ length }, () => draw(vocabulary))
}

const settings = (draw: Draw): GenerateOptions => ({
  ignoreEos: true,
  ...(draw(2) === 0 ? {} : { temperature: 0.5 + draw(10) / 10, seed: draw(1000) }),
  ...(draw(3) === 0 ? { repetitionPenalty: 1.3, repetitionContextSize: 1 + draw(70) } : {}),
  ...(draw(3) === 0 ? { presencePenalty: 1.5 } : {}),
  ...(draw(3) === 0 ? { frequencyPenalty: 0.7 } : {}),
})

/** A prompt in parts of multiples of 64 leaves what the whole leaves. */
export async function splits(model: Model, draw: Draw, longest: number): Promise<void> {
  const prompt = promptOf(model, 1 + draw(longest), draw)
  using whole = model.createSession()
  await whole.prefill(prompt)
  using parts = model.createSession()
  for (let first = 0; first < prompt.length; ) {
    const length = 64 * (1 + draw(5))
    await parts.prefill(prompt.slice(first, first + length))
    first += length
  }
  expect(await fingerprint(parts)).toBe(await fingerprint(whole))
}

/** A checkpoint does not change, comes back whole, and forks go their own ways. */
export async function branches(model: Model, draw: Draw, longest: number): Promise<void> {
  const options = { ...settings(draw), maxTokens: 1 + draw(12) }
  using session = model.createSession()
  await session.prefill(promptOf(model, 1 + draw(longest), draw))
  if (draw(2) === 0) await session.generate('', options)
  using moment = await session.checkpoint()
  const before = await fingerprint(session)
  const more = draw(2) === 0 ? '' : promptOf(model, 1 + draw(80), draw)
  const first = await session.generate(more, options)
  using fork = await session.fork()
  expect(await fingerprint(fork)).toBe(await fingerprint(session))
  const onwards = await session.generate('', options)
  await session.rewind(moment)
  expect(await fingerprint(session)).toBe(before)
  expect(session.position).toBe(moment.position)
  const again = await session.generate(more, options)
  expect(again.tokens).toEqual(first.tokens)
  expect((await fork.generate('', options)).tokens).toEqual(onwards.tokens)
  expect((await session.generate('', options)).tokens).toEqual(onwards.tokens)
  expect(await fingerprint(fork)).toBe(await fingerprint(session))
}

/** However a call ends, going on gives what never stopping gives. */
export async function stops(model: Model, draw: Draw, longest: number): Promise<string> {
  const options = settings(draw)
  const prompt = promptOf(model, 1 + draw(longest), draw)
  const count = 6 + draw(20)
  const all = await model.generate(prompt, { ...options, maxTokens: count })
  const at = 1 + draw(count - 2) // tokens before the end
  using session = model.createSession()
  const ends = ['maxTokens', 'break', 'stop token', 'abort', 'return'] as const
  const end = ends[draw(ends.length)]!
  const tokens: number[] = []
  if (end === 'maxTokens') {
    tokens.push(...(await session.generate(prompt, { ...options, maxTokens: at })).tokens)
  } else if (end === 'stop token') {
    const stopTokens = [all.tokens[at]!]
    const result = await session.generate(prompt, { ...options, stopTokens })
    expect(result.finishReason).toBe('stop')
    tokens.push(...result.tokens)
  } else {
    const controller = new AbortController()
    const stream = session.stream(prompt, {
      ...options,
      signal: controller.signal,
      maxTokens: count,
    })
    try {
      for await (const { token } of stream) {
        tokens.push(token!)
        if (tokens.length < at) continue
        if (end === 'break') break
        if (end === 'abort') controller.abort(new Error('enough'))
        else await stream.return()
      }
    } catch (error) {
      expect((error as Error).message).toBe('enough')
    }
  }
  expect(tokens).toEqual(all.tokens.slice(0, tokens.length))
  expect(Array.from(session.consumed)).toEqual([...prompt, ...tokens])
  const left = count - tokens.length
  if (left > 0) {
    const rest = await session.generate('', { ...options, maxTokens: left })
    expect([...tokens, ...rest.tokens]).toEqual(all.tokens)
    expect(Array.from(session.consumed)).toEqual([...prompt, ...all.tokens])
    // The state too: that of all tokens in one go.
    using whole = model.createSession()
    await whole.generate(prompt, { ...options, maxTokens: count })
    expect(await fingerprint(session)).toBe(await fingerprint(whole))
  }
  return end
}

export const SESSION_CASES = { splits, branches, stops }

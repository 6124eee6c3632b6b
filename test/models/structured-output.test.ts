// Texts that keep to a format, whatever the options and the company, and however they end.

import { Ajv2020 } from 'ajv/dist/2020.js'
import formatsOf from 'ajv-formats'
import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { PLAIN_CHAT_TEMPLATE } from '../../lib/chat/plain-template.js'
import { DisposedError, TokenizerNotFoundError } from '../../lib/support/errors.js'
import { GrammarEngine } from '../../lib/grammar/grammar.js'
import type { GrammarRequest } from '../../lib/grammar/grammar-thread.js'
import type { ConstrainedFormat } from '../../lib/grammar/response-format.js'
import {
  type GenerateOptions,
  type GenerateResult,
  loadModel,
  type Model,
} from '../../lib/index.js'
import { IsolatedThread } from '../../lib/support/isolated-thread.js'
import { fixture } from '../support/checkpoints.js'
import { expectIdle, watchRuns } from '../support/company.js'
import { randomSchema } from '../support/random-schema.js'
import { allowedTokens } from '../unit/grammar-walk.js'
import { seededIntegers } from '../unit/random.js'

type Integers = (below: number) => number

const PROMPT = 'The old man, as JSON: '
const END = 0

let model: Model
let grammars: GrammarEngine
beforeAll(async () => {
  model = await loadModel(undefined, { device: 'cpu', promptCache: false })
  const { tokenizer, config } = model
  grammars = new GrammarEngine({ tokenizer: tokenizer!, vocabulary: config.paddedVocabSize })
})
afterAll(() => {
  grammars.dispose()
  model.dispose()
})

/** Matchers that grammar threads hold, and how many they were asked for. */
function watchMatchers(): { held: Set<number>; compiled: number } {
  const watched = { held: new Set<number>(), compiled: 0 }
  const { held } = watched
  const { ask } = IsolatedThread.prototype
  const spy = vi.spyOn(IsolatedThread.prototype, 'ask').mockImplementation(async function (
    this: IsolatedThread<unknown, unknown>,
    request,
    timeoutMs,
  ) {
    const asked = request as GrammarRequest
    if (asked.kind === 'dispose') held.delete(asked.matcher)
    if (asked.kind === 'compile') {
      watched.compiled += 1
      held.add(asked.matcher)
    }
    try {
      return await ask.call(this, request, timeoutMs)
    } catch (error) {
      if (asked.kind === 'compile') held.delete(asked.matcher)
      throw error
    }
  })
  onTestFinished(() => spy.mockRestore())
  return watched
}

const addFormats = formatsOf as unknown as (ajv: Ajv2020) => void

function isValid(schema: object | boolean, text: string): boolean {
  const ajv = new Ajv2020({ strict: false })
  addFormats(ajv)
  return ajv.validate(schema, JSON.parse(text))
}

/** A pass that was started ahead may still be ending. */

/** Goes through the tokens of a result, which a format allows one after another. */
async function follow(format: ConstrainedFormat, { tokens }: GenerateResult): Promise<void> {
  const matcher = await grammars.compile('test', format, { stopTokens: new Set([END]) })
  try {
    for (const token of tokens) {
      expect(allowedTokens(matcher.step.mask)).toContain(token)
      await matcher.accept(token)
    }
  } finally {
    matcher.dispose()
  }
}

function drawOptions(integer: Integers): GenerateOptions {
  const isGreedy = integer(2) === 0
  const sampled = {
    temperature: 0.5 + integer(20) / 10,
    seed: integer(1000),
    ...(integer(2) === 0 ? { topP: 0.8 } : {}),
    ...(integer(3) === 0 ? { topK: 1 + integer(50) } : {}),
    ...(integer(4) === 0 ? { minP: 0.05 } : {}),
  }
  return {
    maxTokens: [1, 4, 15, 40, 80][integer(5)]!,
    ...(isGreedy ? {} : sampled),
    ...(integer(3) === 0 ? { repetitionPenalty: 1.2 } : {}),
    ...(integer(3) === 0 ? { presencePenalty: 1, frequencyPenalty: 0.5 } : {}),
    // Tokens that the format may leave nothing of, and the end of text.
    ...(integer(3) === 0 ? { logitBias: new Map([END, 3, 700].map((id) => [id, -50])) } : {}),
    ...(integer(4) === 0 ? { logprobs: integer(3) } : {}),
    ...(integer(4) === 0 ? { ignoreEos: true } : {}),
  }
}

describe('200 random schemas', () => {
  it('give valid JSON or the beginning of it, beside streams that nobody constrains', async () => {
    const integer = seededIntegers(7)
    const unconstrained = Array.from({ length: 6 }, (_, seed) => ({
      maxTokens: 20 + 15 * seed,
      ignoreEos: true,
      ...(seed % 2 === 0 ? {} : { temperature: 1, seed, logprobs: 1 }),
    }))
    const alone: GenerateResult[] = []
    for (const options of unconstrained) alone.push(await model.generate(PROMPT, options))
    const ends = { stop: 0, length: 0, impossible: 0 }
    const one = async () => {
      const schema = randomSchema(integer)
      const strict = integer(2) === 0
      const format: ConstrainedFormat = { type: 'json_schema', schema, strict }
      const options = drawOptions(integer)
      let result: GenerateResult
      try {
        result = await model.generate(PROMPT, { ...options, responseFormat: format })
      } catch (error) {
        // Some of these schemas ask for what cannot be.
        expect(String(error)).toContain('can never be met')
        ends.impossible += 1
        return
      }
      const { text, tokens, finishReason, logprobs } = result
      const shown = `${JSON.stringify(schema)} ${JSON.stringify(options)} ${text}`
      expect(logprobs?.length, shown).toBe(
        options.logprobs === undefined ? undefined : tokens.length,
      )
      if (finishReason === 'stop') {
        expect(isValid(schema, text), shown).toBe(true)
      } else {
        expect(tokens.length, shown).toBe(options.maxTokens)
        await follow(format, result)
      }
      ends[finishReason as 'stop' | 'length'] += 1
    }
    for (let batch = 0; batch < 25; batch++) {
      const beside = batch % unconstrained.length
      const [other] = await Promise.all([
        model.generate(PROMPT, unconstrained[beside]),
        ...Array.from({ length: 8 }, one),
      ])
      expect(other.tokens).toEqual(alone[beside]!.tokens)
      expect(other.logprobs).toEqual(alone[beside]!.logprobs)
      await expectIdle(model)
    }
    expect(ends.stop + ends.length + ends.impossible).toBe(200)
    expect(ends.stop).toBeGreaterThan(50)
    expect(ends.length).toBeGreaterThan(40)
  }, 240_000)
})

describe('the other formats', () => {
  it('json', async () => {
    const options: GenerateOptions = { responseFormat: { type: 'json' }, maxTokens: 200 }
    const texts: string[] = []
    for (let seed = 0; seed < 6; seed++) {
      const result = await model.generate(PROMPT, { ...options, temperature: 1, topP: 0.7, seed })
      await follow({ type: 'json' }, result)
      if (result.finishReason === 'stop') texts.push(result.text)
    }
    expect(texts.length).toBeGreaterThan(0)
    for (const text of texts) expect(typeof JSON.parse(text)).toBe('object')
  })

  it('regex and grammar', async () => {
    const pattern = '(?:[A-Z][a-z]{2,8} ){2}\\d{4}'
    const grammar = 'root ::= sum "\\n"\nsum ::= [0-9]{1,3} ([+*] [0-9]{1,3}){1,4}'
    for (let seed = 0; seed < 5; seed++) {
      const options = { maxTokens: 60, temperature: 1.5, seed }
      const matched = await model.generate(PROMPT, {
        ...options,
        responseFormat: { type: 'regex', pattern },
      })
      expect(matched.text).toMatch(new RegExp(`^${pattern}$`))
      const sum = await model.generate(PROMPT, {
        ...options,
        responseFormat: { type: 'grammar', grammar },
      })
      expect(sum.text).toMatch(/^\d{1,3}([+*]\d{1,3}){1,4}\n$/)
      expect([matched.finishReason, sum.finishReason]).toEqual(['stop', 'stop'])
    }
  })

  it('text is as none', async () => {
    const options = { maxTokens: 10, temperature: 1, seed: 3 }
    const { tokens } = await model.generate(PROMPT, options)
    const responseFormat = { type: 'text' } as const
    expect((await model.generate(PROMPT, { ...options, responseFormat })).tokens).toEqual(tokens)
    await using bare = await loadModel(fixture('rene'), { device: 'cpu' })
    expect((await bare.generate([1], { maxTokens: 2, responseFormat })).tokens).toHaveLength(2)
  })
})

const LETTERS: ConstrainedFormat = { type: 'regex', pattern: '[ab]{5}' }
const letter = (text: string) => model.encode(text)[0]!

describe('other options', () => {
  it('logprobs are those of the model, of tokens that may come', async () => {
    const options = { responseFormat: LETTERS, maxTokens: 10 }
    const { tokens, logprobs } = await model.generate(PROMPT, { ...options, logprobs: 3 })
    expect(logprobs).toHaveLength(tokens.length)
    const prompt = [...model.encode(PROMPT)]
    const { data, shape } = await model.logits([...prompt, ...tokens])
    for (const [i, { logprob, topLogprobs }] of logprobs!.entries()) {
      expect(topLogprobs).toHaveLength(3)
      const row = data.subarray((prompt.length + i - 1) * shape[1], (prompt.length + i) * shape[1])
      const largest = Math.max(...row)
      const sum = row.reduce((total, x) => total + Math.exp(x - largest), 0)
      expect(logprob).toBeCloseTo(row[tokens[i]!]! - largest - Math.log(sum), 3)
    }
  })

  it('a stop string inside ends the text before it', async () => {
    const responseFormat: ConstrainedFormat = { type: 'regex', pattern: '[a-z]{3},[a-z]{3}' }
    const { text, finishReason } = await model.generate(PROMPT, { responseFormat, stop: ',' })
    expect(text).toMatch(/^[a-z]{3}$/)
    expect(finishReason).toBe('stop')
  })

  it('a stop token that the format would allow comes at the end only', async () => {
    const stopTokens = [letter('a')]
    const { text, finishReason } = await model.generate(PROMPT, {
      responseFormat: LETTERS,
      stopTokens,
    })
    expect(text.replaceAll(/ab|ba|aa+/g, '')).not.toContain('a')
    expect(text).toMatch(/^[ab]{5}$/)
    expect(finishReason).toBe('stop')
  })

  it('a penalty or a bias against all that may come does not lead away from it', async () => {
    const ids = ['a', 'b', 'aa', 'ab', 'ba', 'bb'].flatMap((text) => [...model.encode(text)])
    const logitBias = new Map(ids.map((id) => [id, -100]))
    const options = { logitBias, presencePenalty: 2, frequencyPenalty: 2, repetitionPenalty: 100 }
    const { text } = await model.generate(PROMPT, { responseFormat: LETTERS, ...options })
    expect(text).toMatch(/^[ab]{5}$/)
    await expectIdle(model)
  })

  it('maxTokens of 1', async () => {
    const { tokens, finishReason } = await model.generate(PROMPT, {
      responseFormat: { type: 'json' },
      maxTokens: 1,
    })
    expect(model.tokenizer!.decode(tokens)).toMatch(/^\{/)
    expect(finishReason).toBe('length')
  })

  it('n samples each keep to it', async () => {
    const results = await model.generate(PROMPT, {
      n: 5,
      temperature: 2,
      seed: 4,
      responseFormat: LETTERS,
    })
    for (const { text } of results) expect(text).toMatch(/^[ab]{5}$/)
    const again = await model.generate(PROMPT, { temperature: 2, seed: 6, responseFormat: LETTERS })
    expect(results[2]!.tokens).toEqual(again.tokens)
    expect(new Set(results.map(({ text }) => text)).size).toBeGreaterThan(1)
  })
})
describe('sessions', () => {
  it.each([
    ['an end token', {}],
    ['an end without a token', { ignoreEos: true }],
    ['maxTokens', { maxTokens: 3 }],
    ['a stop string', { stop: ' ' }],
  ] as const)('go on from the whole text after %s', async (_, end) => {
    using session = model.createSession()
    const responseFormat: ConstrainedFormat = {
      type: 'regex',
      pattern: '[A-Z][a-z]{4,9} the [a-z]{3,5}',
    }
    const { tokens, finishReason } = await session.generate(PROMPT, { responseFormat, ...end })
    expect(finishReason).toBe('maxTokens' in end ? 'length' : 'stop')
    const consumed = [...model.encode(PROMPT), ...tokens]
    expect([...session.consumed]).toEqual(consumed)
    using other = model.createSession()
    await other.prefill(consumed)
    for (const prompt of ['', ' and then']) {
      const options = { maxTokens: 6, ignoreEos: true, logprobs: 0 }
      const onwards = await session.generate(prompt, options)
      const expected = await other.generate(prompt, options)
      expect(onwards.tokens).toEqual(expected.tokens)
      for (const [i, { logprob }] of expected.logprobs!.entries()) {
        expect(onwards.logprobs![i]!.logprob).toBeCloseTo(logprob, 2)
      }
    }
  })

  it('draw under a format from the logits that they hold', async () => {
    using session = model.createSession()
    await session.prefill(PROMPT)
    const { tokens } = await session.generate('', { responseFormat: LETTERS })
    expect(tokens).toEqual((await model.generate(PROMPT, { responseFormat: LETTERS })).tokens)
    expect([...session.consumed]).toEqual([...model.encode(PROMPT), ...tokens])
  })

  it('may be left in the middle', async () => {
    using session = model.createSession()
    const responseFormat: ConstrainedFormat = { type: 'regex', pattern: '[a-z ]{40,60}' }
    let seen = 0
    for await (const _ of session.stream(PROMPT, { responseFormat })) if (++seen === 4) break
    const { length } = session.consumed
    expect(length).toBe(model.encode(PROMPT).length + 4)
    const { text } = await session.generate('', { responseFormat: LETTERS })
    expect(text).toMatch(/^[ab]{5}$/)
  })
})

it('chats answer in the format, turn after turn', async () => {
  using chat = model.createChat({ template: PLAIN_CHAT_TEMPLATE })
  const schema = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] }
  const responseFormat: ConstrainedFormat = { type: 'json_schema', schema }
  for (const question of ['Are you there?', 'And now?']) {
    const { text } = await chat.send(question, { responseFormat })
    expect(isValid(schema, text), text).toBe(true)
  }
  expect((await chat.send('Say more.', { maxTokens: 5 })).text).not.toBe('')
})

it('a prompt that is cached whole draws its first token under the mask', async () => {
  await using caching = await loadModel(undefined, { device: 'cpu' })
  const options: GenerateOptions = {
    responseFormat: LETTERS,
    temperature: 2,
    seed: 5,
    ignoreEos: true,
  }
  const first = await caching.generate(PROMPT, options)
  const second = await caching.generate(PROMPT, options)
  expect(second.usage.cachedTokens).toBe(second.usage.promptTokens)
  expect(second.tokens).toEqual(first.tokens)
  expect(second.tokens).toEqual((await model.generate(PROMPT, options)).tokens)
  // What it ended with is cached too, though no token ended it.
  const greedy = { maxTokens: 4 }
  const onwards = await caching.generate(PROMPT + first.text, greedy)
  expect(onwards.usage.cachedTokens).toBe(onwards.usage.promptTokens)
  using session = model.createSession()
  await session.generate(PROMPT, options)
  expect(onwards.tokens).toEqual((await session.generate('', greedy)).tokens)
})

describe('what ends early', () => {
  it('leaves nothing behind wherever an abort comes, while the format compiles too', async () => {
    const watched = watchMatchers()
    const reason = new Error('enough')
    for (let turns = 0; turns < 60; turns += 3) {
      const controller = new AbortController()
      const { signal } = controller
      // Compiled by nobody before.
      const pattern = `[a-z ]{60,90}${'x'.repeat(turns)}`
      const responseFormat: ConstrainedFormat = { type: 'regex', pattern }
      const call = model.generate(PROMPT, { responseFormat, maxTokens: 500, signal })
      call.catch(() => {})
      for (let i = 0; i < turns; i++) await turn()
      controller.abort(reason)
      await expect(call).rejects.toBe(reason)
      await expectIdle(model)
    }
    // Those of aborted compilations are freed once they are there.
    await model.generate(PROMPT, { responseFormat: LETTERS })
    expect(watched.held).toEqual(new Set())
  })

  it('leaves nothing behind at a break or a return', async () => {
    const watched = watchMatchers()
    const responseFormat: ConstrainedFormat = { type: 'regex', pattern: '[a-z ]{60,90}' }
    for (let most = 1; most < 8; most++) {
      let seen = 0
      for await (const _ of model.stream(PROMPT, { responseFormat })) if (++seen === most) break
      expect(model.engine.load).toMatchObject({ streams: 0, waiting: 0 })
    }
    const stream = model.stream(PROMPT, { responseFormat })
    const next = stream.next()
    await stream.return()
    await next
    expect(watched.held).toEqual(new Set())
  })

  it('gives its place back when the text is over, though its reader is far behind', async () => {
    await using narrow = await loadModel(undefined, { device: 'cpu', maxStreams: 1 })
    const options: GenerateOptions = { responseFormat: LETTERS, ignoreEos: true }
    const stream = narrow.stream(PROMPT, options)
    await stream.next()
    // That waits for the only place.
    const { text } = await narrow.generate(PROMPT, options)
    expect(text).toMatch(/^[ab]{5}$/)
    expect((await stream.result).text).toBe(text)
  })

  it('frees the matchers of 1,000 generations', async () => {
    const watched = watchMatchers()
    for (let round = 0; round < 40; round++) {
      const calls = Array.from({ length: 25 }, (_, seed) =>
        model.generate([1 + seed], { responseFormat: LETTERS, maxTokens: 1 + (seed % 2) }),
      )
      expect(await Promise.all(calls)).toHaveLength(25)
    }
    expect(watched.held).toEqual(new Set())
    await expectIdle(model)
  })

  it.each([0, 1, 20, 200])('says that the model was disposed of after %i turns', async (turns) => {
    const own = await loadModel(undefined, { device: 'cpu', promptCache: false })
    const format: ConstrainedFormat = { type: 'regex', pattern: '[a-z ]{200,250}' }
    const streams = Array.from({ length: 3 }, () => own.stream(PROMPT, { responseFormat: format }))
    const late = own.stream(PROMPT, { responseFormat: format })
    const results = streams.map(({ result }) => result)
    for (const result of results) result.catch(() => {})
    for (let i = 0; i < turns; i++) await turn()
    own.dispose()
    for (const result of results) await expect(result).rejects.toThrow(DisposedError)
    const watched = watchMatchers()
    await expect(late.next()).rejects.toThrow(DisposedError)
    expect(watched.compiled).toBe(0)
  })
})

describe('formats that are none', () => {
  it.each([
    [null, 'must be an object'],
    ['json', 'must be an object'],
    [{ type: 'xml' }, 'is of type "xml"'],
    [{ type: 'json', schema: {} }, 'has no "schema"'],
    [{ type: 'regex' }, 'pattern must be a string'],
  ])('%j is refused by the call', async (responseFormat, message) => {
    const options = { responseFormat } as unknown as GenerateOptions
    const watched = watchRuns()
    onTestFinished(() => watched.restore())
    expect(() => model.stream(PROMPT, options)).toThrow(message)
    await expect(model.generate(PROMPT, options)).rejects.toThrow(message)
    expect(watched.runs).toEqual([])
  })

  it.each([
    [{ type: 'json_schema', schema: { not: {} } }, 'uses "not"'],
    [{ type: 'regex', pattern: 'a(?=b)' }, 'responseFormat.pattern'],
    [{ type: 'grammar', grammar: 'root ::= other' }, 'responseFormat.grammar'],
  ] as const)('%j is refused before anything runs', async (responseFormat, message) => {
    const watched = watchRuns()
    onTestFinished(() => watched.restore())
    await expect(model.stream(PROMPT, { responseFormat }).next()).rejects.toThrow(message)
    await expect(model.generate(PROMPT, { responseFormat })).rejects.toThrow(message)
    using session = model.createSession()
    await expect(session.generate(PROMPT, { responseFormat })).rejects.toThrow(message)
    expect(watched.runs).toEqual([])
    await expectIdle(model)
    expect((await session.generate(PROMPT, { maxTokens: 2 })).tokens).toHaveLength(2)
  })

  it('a model without a tokenizer says so', async () => {
    await using bare = await loadModel(fixture('rene'), { device: 'cpu' })
    const call = bare.generate([1, 2], { responseFormat: { type: 'json' } })
    await expect(call).rejects.toThrow(TokenizerNotFoundError)
  })
})

// Continuations of a prefix: each gets what `logits` says of the whole, whoever is scored beside it.

import { getEventListeners } from 'node:events'
import { cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { CommandList } from '../../lib/operations/device.js'
import { logSumExp } from '../../lib/engine/logprobs.js'
import {
  DisposedError,
  loadModel,
  type Model,
  type Prompt,
  type Score,
  TokenizerNotFoundError,
  UnsupportedOptionError,
} from '../../lib/index.js'
import {
  copyOfFixture,
  FIXTURES,
  fixture,
  numbersOf,
  rawTensor,
  STATE_CHECKPOINTS,
  rewriteTensors,
  temporaryFolder,
} from '../support/checkpoints.js'
import { writeScriptedModel } from '../support/scripted-model.js'
import { expectIdle, tokensOf, watchRuns } from '../support/company.js'
import { watchMemory } from '../support/live-memory.js'
import { expectClose } from '../tolerance.js'
import { seededIntegers } from '../unit/random.js'

/** What `logits` says of each token of a continuation. */
async function expectedScore(model: Model, prefix: number[], continuation: number[]) {
  const { data, shape } = await model.logits([...prefix, ...continuation])
  const rows = continuation.map((token, i) => {
    const first = (prefix.length - 1 + i) * shape[1]
    const row = data.subarray(first, first + shape[1])
    return { logprob: row[token]! - logSumExp(row), isBest: row[token] === Math.max(...row) }
  })
  const logprobs = rows.map(({ logprob }) => logprob)
  return { logprobs, isGreedy: rows.every(({ isBest }) => isBest) }
}

async function expectScores(
  model: Model,
  {
    prefix,
    continuations,
    scores,
  }: { prefix: number[]; continuations: number[][]; scores: Score[] },
) {
  expect(scores).toHaveLength(continuations.length)
  for (const [i, continuation] of continuations.entries()) {
    const { logprobs, isGreedy } = await expectedScore(model, prefix, continuation)
    const score = scores[i]!
    expect(score.tokens).toEqual(continuation)
    expectClose(score.logprobs, logprobs, 'float32')
    const sum = logprobs.reduce((a, b) => a + b)
    expectClose([score.logprob], [sum], 'float32')
    expect(score.isGreedy).toBe(isGreedy)
    expect(score.usage).toEqual({
      promptTokens: prefix.length,
      cachedTokens: i === 0 ? 0 : prefix.length,
      completionTokens: continuation.length,
      totalTokens: prefix.length + continuation.length,
    })
  }
}

describe.each(STATE_CHECKPOINTS)('%s scores as its logits say', (name) => {
  let model: Model
  beforeAll(async () => {
    model = await loadModel(fixture(name), { device: 'cpu', promptCache: false })
  })
  afterAll(() => model.dispose())

  it.each<[string, number[]]>([
    ['one token', [1]],
    ['two', [2]],
    ['a long one', [300]],
    ['all lengths', [33, 1, 300, 2, 70, 2, 1]],
    ['31 short ones', Array.from({ length: 31 }, (_, i) => 1 + (i % 4))],
    ['32 of one length', Array<number>(32).fill(3)],
    ['33, two of them long', Array.from({ length: 33 }, (_, i) => (i % 20 === 7 ? 70 : 2))],
  ])('%s', async (_, lengths) => {
    // In the first of these texts two experts of one token differ by less than rounding: either may be chosen.
    const hasExperts = model.config.layers.some(({ kind }) => kind === 'experts')
    const draw = seededIntegers(hasExperts ? lengths.length + 1 : lengths.length)
    const prefix = tokensOf(1 + draw(90), draw)
    const continuations = lengths.map((length) => tokensOf(length, draw))
    const scores = await model.score(prefix, continuations)
    await expectScores(model, { prefix, continuations, scores })
  })
})

describe('rene', () => {
  let model: Model
  beforeAll(async () => {
    model = await loadModel(fixture('rene'), {
      device: 'cpu',
      promptCache: false,
      tokenizer: join(FIXTURES, 'tokenizer-250'),
    })
  })
  afterAll(() => model.dispose())

  it('scores seeded cases of any number and length, in chunks of any size', async () => {
    const draw = seededIntegers(77)
    for (let i = 0; i < 12; i++) {
      const prefix = tokensOf(1 + draw(300), draw)
      const count = 1 + draw(70)
      const most = 1 + draw(2 ** draw(7))
      const continuations = Array.from({ length: count }, () => tokensOf(1 + draw(most), draw))
      const prefillChunkSize = [1, 7, 64, 200, 960, undefined][draw(6)]
      const scores = await model.score(prefix, continuations, { prefillChunkSize })
      await expectScores(model, { prefix, continuations, scores })
    }
  })

  it('knows what greedy generation says', async () => {
    const prefix = [5, 6, 7]
    const options = { maxTokens: 12, ignoreEos: true }
    const { tokens } = await model.generate(prefix, options)
    const other = [...tokens.slice(0, -1), (tokens.at(-1)! + 1) % 250]
    const scores = await model.score(prefix, [tokens, other, tokens.slice(0, 1), [tokens[0]! ^ 1]])
    expect(scores.map(({ isGreedy }) => isGreedy)).toEqual([true, false, true, false])
  })

  it('gives each continuation what it gets alone, to the bit, where it takes the same way', async () => {
    const draw = seededIntegers(3)
    const prefix = tokensOf(40, draw)
    const continuations = Array.from({ length: 100 }, () => tokensOf(1 + draw(2), draw))
    const together = await model.score(prefix, continuations)
    for (const i of [0, 31, 32, 99]) {
      const [alone] = await model.score(prefix, [continuations[i]!])
      expect(alone!.logprobs).toEqual(together[i]!.logprobs)
    }
  })

  it('scores the same one twice alike', async () => {
    const [a, b, c] = await model.score([1, 2], [[3, 4], [9], [3, 4]])
    expect(c!.logprobs).toEqual(a!.logprobs)
    expect(b!.logprobs).not.toEqual(a!.logprobs)
  })

  it('reads a prefix of 100 labels once, and steps a bounded number of times', async () => {
    const draw = seededIntegers(5)
    const prefix = tokensOf(500, draw)
    const labels = Array.from({ length: 100 }, () => tokensOf(1 + draw(4), draw))
    const watch = watchRuns()
    const { probabilities, usage } = await model.classify(prefix, labels)
    watch.restore()
    expect(probabilities).toHaveLength(100)
    const prefills = watch.runs.filter(({ slots }) => slots.length === 1)
    const ofPrefix = prefills.reduce((sum, { tokens = 0 }) => sum + (tokens > 1 ? tokens : 0), 0)
    expect(ofPrefix).toBe(500)
    // Sorted by length, the four groups of up to 32 take at most 3 steps each.
    const passes = watch.runs.filter(({ tokens = 0, slots }) => slots.length > 1 || tokens === 1)
    expect(passes.length).toBeLessThanOrEqual(3 * 4)
    expect(passes.length).toBeGreaterThanOrEqual(3)
    const completionTokens = labels.reduce((sum, { length }) => sum + length, 0)
    // No row runs beyond its label's end: the last token of each is not consumed.
    const rows = passes.reduce((sum, { slots }) => sum + slots.length, 0)
    expect(rows).toBe(completionTokens - 100)
    expect(usage).toEqual({
      promptTokens: 500,
      cachedTokens: 0,
      completionTokens,
      totalTokens: 500 + completionTokens,
    })
  })

  it('runs nothing for labels of one token but the prefix', async () => {
    const watch = watchRuns()
    await model.classify(
      [4, 5, 6],
      Array.from({ length: 250 }, (_, i) => [i]),
    )
    watch.restore()
    expect(watch.runs).toEqual([{ slots: [0], tokens: 3 }])
  })

  describe('classify', () => {
    const labels = [' the', ' of the state', ' x', ' the']

    it.each(['none', 'tokens', 'bytes'] as const)('compares labels by %s', async (by) => {
      const prefix = 'The state'
      const scores = await model.score(prefix, labels)
      const length = {
        none: () => 1,
        tokens: (i: number) => scores[i]!.tokens.length,
        bytes: (i: number) => labels[i]!.length,
      }
      const weights = scores.map(({ logprob }, i) => Math.exp(logprob / length[by](i)))
      const total = weights.reduce((a, b) => a + b)
      const { label, probabilities } = await model.classify(prefix, labels, {
        lengthNormalization: by,
      })
      const expected = labels
        .map((label, i) => ({
          label,
          logprob: scores[i]!.logprob,
          probability: weights[i]! / total,
        }))
        .sort((a, b) => b.probability - a.probability)
      expect(probabilities.map(({ label }) => label)).toEqual(expected.map(({ label }) => label))
      expectClose(
        probabilities.map(({ probability }) => probability),
        expected.map(({ probability }) => probability),
        'float32',
      )
      expect(probabilities.map(({ logprob }) => logprob)).toEqual(
        expected.map(({ logprob }) => logprob),
      )
      expect(label).toBe(expected[0]!.label)
      expect(probabilities.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(
        1,
        12,
      )
    })

    it('stays sure of labels that are all unlikely', async () => {
      const draw = seededIntegers(8)
      const labels = [tokensOf(300, draw), tokensOf(300, draw)]
      const { probabilities } = await model.classify([1], labels)
      expect(probabilities[0]!.logprob).toBeLessThan(-1000)
      expect(probabilities[0]!.probability + probabilities[1]!.probability).toBe(1)
    })

    it('compares ids by tokens, not by bytes', async () => {
      await expect(
        model.classify('x', ['a', [1]], { lengthNormalization: 'bytes' }),
      ).rejects.toThrow(UnsupportedOptionError)
      const { label } = await model.classify('x', [[1, 2], [3]], { lengthNormalization: 'tokens' })
      expect([1, 3]).toContain(label[0])
    })
  })

  describe('text', () => {
    const encode = (text: string, parseSpecial = true) =>
      Array.from(model.tokenizer!.encode(text, { parseSpecial }))

    // The tokenizer merges "he", " t", " the" and others; its text is normalised to NFC.
    const borders = [
      ['x t', 'he', 1],
      ['th', 'e state', 1],
      ['xx ', 'the', 2],
      ['xe', '\u0301', 1],
    ] as const

    it.each(borders)('%j and %j are tokenised together', async (prefix, continuation, border) => {
      const context = encode(prefix).slice(0, border)
      expect(encode(prefix).length).toBe(border + 1)
      const own = encode(prefix + continuation).slice(border)
      const scores = await model.score(prefix, ['|', continuation, continuation])
      expect(scores[1]!.tokens).toEqual(own)
      const expected = await expectedScore(model, context, own)
      expectClose(scores[1]!.logprobs, expected.logprobs, 'float32')
      expect(scores[1]!.isGreedy).toBe(expected.isGreedy)
      const usage = { cachedTokens: border, completionTokens: own.length }
      expect(scores[2]!.usage).toMatchObject({ promptTokens: border, ...usage })
      // The one beside it does not change what another one has.
      expect(scores[0]!.tokens).toEqual(encode('|'))
      expect(scores[0]!.usage).toMatchObject({ promptTokens: border + 1, cachedTokens: 0 })
      const ofOther = await expectedScore(model, encode(prefix), encode('|'))
      expectClose(scores[0]!.logprobs, ofOther.logprobs, 'float32')
      expect(scores[0]!.isGreedy).toBe(ofOther.isGreedy)
    })

    it('is compared from where the tokens of all labels part', async () => {
      const { probabilities } = await model.classify('x t', ['|', 'he'])
      const context = encode('x')
      for (const label of ['|', 'he']) {
        const tokens = encode(`x t${label}`).slice(1)
        const { logprobs } = await expectedScore(model, context, tokens)
        const found = probabilities.find((each) => each.label === label)!
        expectClose([found.logprob], [logprobs.reduce((a, b) => a + b)], 'float32')
      }
    })

    it('must leave a token before it', async () => {
      await expect(model.score(' t', ['o', 'he'])).rejects.toThrow(
        /\[score\] the tokenizer merges all of the prefix with continuation 1: give a longer prefix/,
      )
      expect(await model.score(' t', ['o'])).toHaveLength(1)
    })

    it('may have special tokens written out, unless parseSpecial is false', async () => {
      const [parsed] = await model.score('a', ['<|endoftext|>'])
      expect(parsed!.tokens).toEqual([0])
      const [plain] = await model.score('a', ['<|endoftext|>'], { parseSpecial: false })
      expect(plain!.tokens).toEqual(encode('a<|endoftext|>', false).slice(1))
      expect(plain!.tokens.length).toBeGreaterThan(1)
    })

    it('is encoded in slices: an abort between two of them ends it', async () => {
      const encode = vi.spyOn(model.tokenizer!, 'encode')
      onTestFinished(() => encode.mockRestore())
      const controller = new AbortController()
      const prefix = 'the state of a sequence '.repeat(1000)
      const continuations = Array<string>(200).fill('x')
      const call = model.score(prefix, continuations, { signal: controller.signal })
      await turn()
      controller.abort()
      await expect(call).rejects.toThrow(/abort/)
      expect(encode.mock.calls.length).toBeLessThan(100)
    })

    it('stands after ids, and ids after text', async () => {
      const [afterIds] = await model.score([1, 2], ['the state'])
      expect(afterIds!.tokens).toEqual(encode('the state'))
      const [afterText] = await model.score('the state', [[1, 2]])
      expect(afterText!.tokens).toEqual([1, 2])
      expect(afterText!.usage.promptTokens).toBe(encode('the state').length)
    })
  })

  it.each<[string, Prompt, unknown, object, RegExp]>([
    [
      'an empty prefix',
      '',
      ['a'],
      {},
      /\[score\] the prefix is empty, .* begin with one, such as .*endOfText/,
    ],
    ['no prefix', [], [[1]], {}, /the prefix is empty/],
    [
      'an empty continuation',
      'a',
      ['b', ''],
      {},
      /\[score\] continuation 1 is empty: it adds no token/,
    ],
    ['an empty one of ids', [1], [[2], []], {}, /continuation 1 is empty/],
    ['no continuation', 'a', [], {}, /there are no continuations: give at least one/],
    ['a text', 'a', 'bc', {}, /must be an array of texts or token ids but are "bc"/],
    ['a number', 'a', [7], {}, /continuation 0 must be a text or token ids but is 7/],
    [
      'nothing',
      undefined as never,
      ['a'],
      {},
      /the prefix must be a text or token ids but is undefined/,
    ],
    [
      'an id beyond the vocabulary',
      [1],
      [[2, 256]],
      {},
      /token 1 of continuation 0 is 256, .*vocabulary of 256/,
    ],
    ['an odd id', [1.5], [[2]], {}, /token 0 of the prefix is 1.5/],
    ['an odd option', [1], [[2]], { chunk: 1 }, /unknown option "chunk"/],
    ['an odd chunk', [1], [[2]], { prefillChunkSize: 0 }, /prefillChunkSize must be/],
    ['an odd signal', [1], [[2]], { signal: 1 }, /signal must be an AbortSignal/],
    ['parseSpecial without text', [1], [[2]], { parseSpecial: true }, /parseSpecial is for text/],
    ['an odd parseSpecial', 'a', ['b'], { parseSpecial: 1 }, /parseSpecial must be true or false/],
  ])('refuses %s', async (_, prefix, continuations, options, message) => {
    await expect(model.score(prefix, continuations as Prompt[], options)).rejects.toThrow(message)
    await expectIdle(model)
  })

  it('refuses an odd normalisation, and labels that are none', async () => {
    await expect(
      model.classify('a', ['b'], { lengthNormalization: 'mean' as 'none' }),
    ).rejects.toThrow(/must be one of none, tokens, bytes but is "mean"/)
    for (const lengthNormalization of ['none', 'bytes'] as const) {
      await expect(model.classify('a', 'bc' as never, { lengthNormalization })).rejects.toThrow(
        /\[classify\] the labels must be an array/,
      )
    }
  })

  it('does not see what becomes of its arguments while it runs', async () => {
    const prefix = [1, 2, 3]
    const ids = [4, 5]
    const continuations: Prompt[] = [ids, 'the state']
    const expected = await model.score(prefix, continuations)
    const scores = model.score(prefix, continuations)
    prefix[0] = 9
    ids[0] = 9
    continuations.pop()
    expect(await scores).toEqual(expected)
    const labels = ['a', 'b']
    const classification = model.classify('x', labels)
    labels.reverse()
    const { probabilities } = await model.classify('x', ['a', 'b'])
    expect((await classification).probabilities).toEqual(probabilities)
  })
})

describe('in company', () => {
  const load = async () => {
    const model = await loadModel(fixture('rene'), { device: 'cpu', promptCache: false })
    onTestFinished(() => model.dispose())
    return model
  }

  it('changes no token of streams, nor they its numbers', async () => {
    const model = await load()
    const draw = seededIntegers(21)
    const options = { maxTokens: 40, ignoreEos: true, temperature: 2, seed: 4, logprobs: 1 }
    const prompts = Array.from({ length: 6 }, () => tokensOf(1 + draw(300), draw))
    const prefix = tokensOf(200, draw)
    const continuations = Array.from({ length: 50 }, () => tokensOf(1 + draw(12), draw))
    const told = async (prompt: number[]) => {
      const { tokens, logprobs } = await model.generate(prompt, options)
      return { tokens, logprobs }
    }
    const alone: unknown[] = []
    for (const prompt of prompts) alone.push(await told(prompt))
    const expected = await model.score(prefix, continuations)
    const streams = Promise.all(prompts.map(told))
    const scores = Promise.all([1, 2, 3].map(() => model.score(prefix, continuations)))
    expect(await streams).toEqual(alone)
    for (const each of await scores) expect(each).toEqual(expected)
  })

  it('runs one call after another, so that one holds copies of the state', async () => {
    const model = await load()
    const draw = seededIntegers(51)
    const continuations = Array.from({ length: 40 }, () => tokensOf(1 + draw(9), draw))
    const watch = watchRuns()
    await model.score([1, 2, 3], continuations)
    const ofOne = watch.runs.splice(0)
    await Promise.all([1, 2, 3].map(() => model.score([1, 2, 3], continuations)))
    watch.restore()
    expect(watch.runs).toEqual([...ofOne, ...ofOne, ...ofOne])
  })

  it('ends with the run at hand where it is aborted', async () => {
    const model = await load()
    const draw = seededIntegers(61)
    // 3 runs of the prefix with the copy of its state, one that copies that, one for each of 29 tokens.
    const continuations = Array.from({ length: 30 }, () => tokensOf(30, draw))
    for (const last of [1, 2, 3, 4, 5, 20, 32]) {
      const controller = new AbortController()
      const reason = new Error(`enough ${last}`)
      const { run } = CommandList.prototype
      let runs = 0
      const spy = vi.spyOn(CommandList.prototype, 'run').mockImplementation(function (
        this: CommandList,
        options,
      ) {
        const running = run.call(this, options)
        if (++runs === last) controller.abort(reason)
        return running
      })
      const { signal } = controller
      await expect(model.score([1, 2], continuations, { signal })).rejects.toBe(reason)
      spy.mockRestore()
      // The next two are refused as they are asked for.
      expect(runs).toBeLessThanOrEqual(last + 2)
    }
  })

  it('frees what it allocates, also where it is aborted', async () => {
    const model = await load()
    const draw = seededIntegers(71)
    const continuations = Array.from({ length: 5 }, () => tokensOf(1 + draw(70), draw))
    await model.score([1, 2], continuations)
    let most = 0
    const alive = watchMemory(undefined, () => {
      most = Math.max(most, alive.size)
    })
    const lists = new Set<CommandList>()
    const record = model.device.record.bind(model.device)
    vi.spyOn(model.device, 'record').mockImplementation((operations) => {
      const list = record(operations)
      lists.add(list)
      return list
    })
    const disposeList = CommandList.prototype.dispose
    vi.spyOn(CommandList.prototype, 'dispose').mockImplementation(function (this: CommandList) {
      lists.delete(this)
      disposeList.call(this)
    })
    onTestFinished(() => void vi.restoreAllMocks())
    await model.score([1, 2], continuations)
    expect(most).toBeGreaterThan(5)
    expect(alive.size + lists.size).toBe(0)
    const controller = new AbortController()
    const { run } = CommandList.prototype
    let atAbort = 0
    vi.spyOn(CommandList.prototype, 'run').mockImplementation(function (
      this: CommandList,
      options,
    ) {
      const running = run.call(this, options)
      // The first pass over candidates is under way.
      if (options?.inputs?.targets && !controller.signal.aborted) {
        atAbort = alive.size
        controller.abort()
      }
      return running
    })
    await expect(
      model.score([1, 2], continuations, { signal: controller.signal }),
    ).rejects.toThrow()
    expect(atAbort).toBeGreaterThan(5)
    expect(alive.size + lists.size).toBe(0)
  })

  it('leaves nothing: neither calls that end nor those that are aborted anywhere', async () => {
    const model = await load()
    const draw = seededIntegers(31)
    const continuations = Array.from({ length: 40 }, () => tokensOf(1 + draw(30), draw))
    const prefix = tokensOf(400, draw)
    const expected = await model.score(prefix, continuations)
    const before = model.memory()
    const shared = new AbortController()
    const ends = new Set<string>()
    for (let i = 0; i < 25; i++) {
      const controller = new AbortController()
      const reason = new Error(`enough ${i}`)
      const call = model.score(prefix, continuations, { signal: controller.signal }).then(
        () => 'done',
        (error: unknown) => {
          expect(error).toBe(reason)
          return 'aborted'
        },
      )
      const other =
        draw(3) === 0 ? model.score([1], [[2, 3]], { signal: shared.signal }) : undefined
      await sleep(draw(60))
      controller.abort(reason)
      ends.add(await call)
      await other
      expect(getEventListeners(controller.signal, 'abort')).toEqual([])
    }
    expect(ends).toContain('aborted')
    expect(getEventListeners(shared.signal, 'abort')).toEqual([])
    expect(model.memory()).toEqual(before)
    await expectIdle(model)
    expect(await model.score(prefix, continuations)).toEqual(expected)
    const aborted = AbortSignal.abort(new Error('before'))
    await expect(model.score([1], [[2]], { signal: aborted })).rejects.toThrow('before')
  })

  it('rejects those that run and those that wait where the model is disposed of', async () => {
    const model = await load()
    const draw = seededIntegers(41)
    const continuations = Array.from({ length: 40 }, () => tokensOf(60, draw))
    const calls = [1, 2, 3].map(() => model.score(tokensOf(300, draw), continuations))
    const outcomes = Promise.allSettled(calls)
    await sleep(20)
    model.dispose()
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(DisposedError) })
    }
    await expect(model.score([1], [[2]])).rejects.toThrow(/\[score\] this model was disposed/)
    await expect(model.classify([1], [[2]])).rejects.toThrow(/\[classify\] this model was disposed/)
  })

  it('says so where the model is disposed of between its runs', async () => {
    const model = await load()
    const continuations = Array.from({ length: 40 }, () => tokensOf(60, seededIntegers(42)))
    const { runs, restore } = watchRuns()
    onTestFinished(restore)
    const call = model.score([1], continuations)
    const outcome = expect(call).rejects.toThrow('[score] this model was disposed')
    // The first one is that of the prefix.
    while (runs.length < 5) await turn()
    model.dispose()
    await outcome
  })

  it('needs a tokenizer for text only', async () => {
    const model = await load()
    await expect(model.score([1], ['a'])).rejects.toThrow(TokenizerNotFoundError)
    expect(await model.score([1], [[2]])).toHaveLength(1)
  })
})

it('begins with the token that the tokenizer puts in front of a text, and ends with none', async () => {
  const folder = await copyOfFixture('rene')
  await cp(join(FIXTURES, 'tokenizer-250'), folder, { recursive: true })
  const settings = { add_bos_token: true, add_eos_token: true, bos_token: 'T', eos_token: 'q' }
  await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(settings))
  using model = await loadModel(folder, { device: 'cpu', promptCache: false })
  const tokenizer = model.tokenizer!
  const [T, q] = [tokenizer.tokenToId('T')!, tokenizer.tokenToId('q')!]
  expect(Array.from(tokenizer.encode('x'))).toEqual([T, tokenizer.tokenToId('x'), q])
  const [score] = await model.score('', ['x'])
  expect(score!.tokens).toEqual([tokenizer.tokenToId('x')])
  expectClose(score!.logprobs, (await expectedScore(model, [T], score!.tokens)).logprobs, 'float32')
  const [later] = await model.score([5], ['x'])
  expect(later!.tokens).toEqual([tokenizer.tokenToId('x')])
})

it('rejects where a token makes a state NaN, and says of which continuation', async () => {
  const folder = await temporaryFolder()
  await writeScriptedModel(folder, [1, 2, 3])
  await rewriteTensors(folder, (tensors) => {
    const name = 'backbone.embedding.weight'
    const { dtype, shape, data } = tensors.get(name)!
    const values = numbersOf({ dtype, shape, data })
    values.fill(Number.NaN, 9 * shape[1]!, 10 * shape[1]!)
    return tensors.set(name, rawTensor(dtype, shape, values))
  })
  using model = await loadModel(folder, { device: 'cpu', promptCache: false })
  expect(await model.score([1], [[2], [2, 9]])).toHaveLength(2)
  await expect(model.score([1], [[2], [2, 9, 4]])).rejects.toThrow(
    '[score] a log-probability of continuation 1 is NaN: the weights or the state hold NaN',
  )
  await expect(model.classify([1], [[9, 4]])).rejects.toThrow('[classify] a log-probability')
})

// Where a generation ends: the tokens that a model's files name, special tokens as stop texts, and what
// special tokens in a prompt are.

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { UnsupportedOptionError } from '../../lib/support/errors.js'
import { loadModel } from '../../lib/load-model.js'
import type { Model } from '../../lib/model.js'
import type { Notice } from '../../lib/support/notices.js'
import { perplexity } from '../../lib/scoring/perplexity.js'
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js'
import { copyOfFixture, FIXTURES, temporaryFolder } from '../support/checkpoints.js'
import { writeScriptedModel } from '../support/scripted-model.js'

const tokenizer = await Tokenizer.fromFolder(join(FIXTURES, 'tokenizer-250'))
const idOf = (text: string) => tokenizer.encode(text)[0]!
const SCRIPT = 'The quick-fox'
// Of the 256 rows of the model, the tokenizer uses 250.
const IM_END = 251

type Changes = Readonly<Record<string, object | string>>

async function changeJson(file: string, changes: object): Promise<void> {
  const json = JSON.parse(await readFile(file, 'utf8').catch(() => '{}'))
  await writeFile(file, JSON.stringify({ ...json, ...changes }))
}

/** A model that says the script, with its JSON files changed; a text replaces the file. */
async function folderSaying(script: ArrayLike<number>, changes: Changes = {}): Promise<string> {
  const folder = await temporaryFolder()
  await writeScriptedModel(folder, script)
  for (const [name, change] of Object.entries(changes)) {
    if (typeof change === 'string') await writeFile(join(folder, name), change)
    else await changeJson(join(folder, name), change)
  }
  return folder
}

const ask = async (model: Model, options = {}) => {
  const { text, finishReason } = await model.generate('T', { maxTokens: 30, ...options })
  return { text, finishReason }
}

describe('the ends of a text', () => {
  it.each<[string, Changes, string]>([
    ['config.json', {}, 'he quick-fox'],
    ['a number in generation_config.json', gen(idOf('-')), 'he quick'],
    ['a list in generation_config.json', gen([idOf('x'), idOf('c')]), 'he qui'],
    // An ordinary token serves as well as a special one, which would not be in the script.
    ['eos_token of tokenizer_config.json', { 'tokenizer_config.json': { eos_token: 'q' } }, 'he '],
    [
      'eos_token of special_tokens_map.json',
      { 'special_tokens_map.json': { eos_token: { content: 'k' } } },
      'he quic',
    ],
    [
      'all of them, whichever comes first',
      {
        'config.json': { eos_token_id: [idOf('x'), idOf('o')] },
        ...gen([idOf('f')]),
        'tokenizer_config.json': { eos_token: '-' },
      },
      'he quick',
    ],
  ])('%s', async (_, changes, text) => {
    using model = await loadModel(await folderSaying(tokenizer.encode(SCRIPT), changes), {
      device: 'cpu',
    })
    expect(await ask(model)).toEqual({ text, finishReason: 'stop' })
    const on = await ask(model, { ignoreEos: true })
    expect(on.finishReason).toBe('length')
    expect(on.text.startsWith('he quick-fox')).toBe(true)
  })

  it('are told with what names them', async () => {
    const changes = {
      'config.json': { eos_token_id: 5 },
      ...gen([7, 5]),
      'tokenizer_config.json': { eos_token: '<|endoftext|>' },
      'special_tokens_map.json': { eos_token: '<|endoftext|>' },
    }
    using model = await loadModel(await folderSaying([9], changes), { device: 'cpu' })
    expect(model.endOfText).toEqual([
      { id: 5, sources: ['config.json', 'generation_config.json'] },
      { id: 7, sources: ['generation_config.json'] },
      { id: 0, sources: ['tokenizer_config.json', 'special_tokens_map.json'] },
    ])
    expect(Object.isFrozen(model.endOfText)).toBe(true)
  })

  it.each([
    ['text', '{"eos_token_id": '],
    ['a negative id', '{"eos_token_id": -1}'],
    ['a name', '{"eos_token_id": ["</s>"]}'],
  ])('a generation_config.json with %s is left out with a notice', async (_, text) => {
    const folder = await folderSaying(tokenizer.encode(SCRIPT), { 'generation_config.json': text })
    const notices: Notice[] = []
    using model = await loadModel(folder, { device: 'cpu', onNotice: (n) => notices.push(n) })
    expect(await ask(model)).toEqual({ text: 'he quick-fox', finishReason: 'stop' })
    expect(notices.map(({ code }) => code)).toEqual(['FILE_NOT_USED'])
    expect(notices[0]!.message).toContain(join(folder, 'generation_config.json'))
  })

  it("the format's own counts only where no tokenizer is at hand", async () => {
    const ends = async (change: (folder: string) => Promise<void>, tokenizer?: string) => {
      const folder = await copyOfFixture('mamba2-state-spaces')
      await change(folder)
      const cacheDir = join(folder, 'cache')
      using model = await loadModel(folder, { device: 'cpu', cacheDir, tokenizer })
      return model.endOfText
    }
    const own = join(FIXTURES, 'tokenizer-250')
    const bySettings = { eos_token: '</s>', added_tokens_decoder: { 3: { content: '</s>' } } }
    const format = { id: 0, sources: ['the format'] }
    expect(await ends(async () => {})).toEqual([format])
    expect(await ends(async () => {}, own)).toEqual([{ id: 0, sources: [expect.any(String)] }])
    expect(await ends(async () => {}, own)).not.toEqual([format])
    // Settings without a tokenizer.json, as beside a tokenizer.model.
    expect(
      await ends((folder) => changeJson(join(folder, 'tokenizer_config.json'), bySettings)),
    ).toEqual([{ id: 3, sources: ['tokenizer_config.json'] }])
    // A configuration that says so counts beside both.
    expect(
      await ends((folder) => changeJson(join(folder, 'config.json'), { eos_token_id: 8 }), own),
    ).toEqual([{ id: 8, sources: ['config.json'] }, expect.objectContaining({ id: 0 })])
  })

  it('perplexity begins with the first of them', async () => {
    using plain = await loadModel(await folderSaying(tokenizer.encode(SCRIPT)), { device: 'cpu' })
    const changed = { 'config.json': { eos_token_id: idOf('T') } }
    using model = await loadModel(await folderSaying(tokenizer.encode(SCRIPT), changed), {
      device: 'cpu',
    })
    // After T the model is sure of the script's second token.
    const text = tokenizer.decode([tokenizer.encode(SCRIPT)[1]!])
    expect((await perplexity(model, text)).perplexity).toBeCloseTo(1, 3)
    expect((await perplexity(plain, text)).perplexity).toBeGreaterThan(2)
  })

  it('perplexity passes over one that the model does not have', async () => {
    const saying = async (eos_token_id: number[]) =>
      loadModel(await folderSaying(tokenizer.encode(SCRIPT), { 'config.json': { eos_token_id } }), {
        device: 'cpu',
      })
    using model = await saying([3_000_000_000, idOf('T')])
    using plain = await saying([idOf('T')])
    const { perplexity: expected } = await perplexity(plain, 'he quick')
    expect((await perplexity(model, 'he quick')).perplexity).toBe(expected)
  })

  it('perplexity refuses what is no text and no signal', async () => {
    using model = await loadModel(await folderSaying(tokenizer.encode(SCRIPT)), { device: 'cpu' })
    await expect(perplexity(model, [1, 2] as never)).rejects.toThrow(/must be a string but is/)
    await expect(perplexity(model, 'x', { signal: 5 as never })).rejects.toThrow(
      /\[perplexity\] signal must be an AbortSignal but is 5/,
    )
  })
})

function gen(eos_token_id: number | number[]): Changes {
  return { 'generation_config.json': { eos_token_id } }
}

describe('special tokens', () => {
  /** With special tokens that the fixture's tokenizer does not have. */
  async function modelWithSpecial(script: ArrayLike<number>, content: string): Promise<Model> {
    const json = JSON.parse(await readFile(join(FIXTURES, 'tokenizer-250/tokenizer.json'), 'utf8'))
    const added = { id: IM_END, content, special: true, normalized: false }
    const changes = { 'tokenizer.json': { added_tokens: [...json.added_tokens, added] } }
    return loadModel(await folderSaying(script, changes), { device: 'cpu' })
  }
  const chatModel = () =>
    modelWithSpecial(
      [...tokenizer.encode('The quick'), IM_END, ...tokenizer.encode('-fox')],
      '<|im_end|>',
    )

  it('as a stop text end the generation at that token', async () => {
    using model = await chatModel()
    expect(await ask(model)).toEqual({ text: 'he quick-fox', finishReason: 'stop' })
    for (const stop of ['<|im_end|>', ['never', '<|im_end|>']]) {
      const result = await model.generate('T', { stop })
      expect(result.text).toBe('he quick')
      expect(result.finishReason).toBe('stop')
      expect(result.tokens).not.toContain(IM_END)
    }
    // The end of text too, where it is not to end the text otherwise.
    const last = await ask(model, { stop: '<|endoftext|>', ignoreEos: true })
    expect(last).toEqual({ text: 'he quick-fox', finishReason: 'stop' })
  })

  it('as a stop text also end it where ordinary tokens spell them', async () => {
    const script = [...tokenizer.encode('T'), ...tokenizer.encode('a<eot>b')]
    using model = await modelWithSpecial(script, '<eot>')
    expect((await ask(model)).text).toBe('a<eot>b')
    expect(await ask(model, { stop: '<eot>' })).toEqual({ text: 'a', finishReason: 'stop' })
  })

  it('in a longer stop text are refused: it would never come', async () => {
    using model = await chatModel()
    const call = model.generate('T', { stop: ['x', '<|im_end|>\n'] })
    await expect(call).rejects.toThrow(UnsupportedOptionError)
    await expect(call).rejects.toThrow(
      '[generate] stop holds "<|im_end|>\\n", which never comes: the special token "<|im_end|>"',
    )
  })

  it('in a prompt are tokens, or text with parseSpecial: false', async () => {
    using model = await chatModel()
    const prompt = 'T<|im_end|>'
    const plain = [...tokenizer.encode('T<|im_end|>')]
    expect([...model.encode(prompt)]).toEqual([idOf('T'), IM_END])
    expect([...model.encode(prompt, { parseSpecial: false })]).toEqual(plain)
    const options = { maxTokens: 1, parseSpecial: false }
    expect((await model.generate(prompt, options)).usage.promptTokens).toBe(plain.length)
    expect((await model.stream(prompt, options).result).usage.promptTokens).toBe(plain.length)
    expect((await model.logits(prompt, { parseSpecial: false })).shape[0]).toBe(plain.length)
    expect((await model.logits(prompt)).shape[0]).toBe(2)
    expect((await perplexity(model, prompt, { parseSpecial: false })).tokens).toBe(plain.length)
  })

  it('parseSpecial with token ids, and of another kind, is refused', async () => {
    using model = await chatModel()
    for (const parseSpecial of [true, false]) {
      expect(() => model.encode([1], { parseSpecial })).toThrow(UnsupportedOptionError)
      await expect(model.generate([1], { parseSpecial })).rejects.toThrow(
        '[generate] parseSpecial is for a prompt of text',
      )
      await expect(model.logits([1], { parseSpecial })).rejects.toThrow(/^\[logits\] parseSpecial/)
    }
    const wrong = { parseSpecial: 'no' } as object
    await expect(model.generate('T', wrong)).rejects.toThrow(/must be true or false but is "no"/)
  })
})

describe('options that would change nothing are errors', () => {
  it.each<[string, object, RegExp]>([
    ['topK', { topK: 40 }, /topK changes nothing without a temperature above 0/],
    ['topP', { topP: 0.9, temperature: 0 }, /topP changes nothing without a temperature above 0/],
    ['minP', { minP: 0.05 }, /minP changes nothing without a temperature above 0/],
    [
      'repetitionContextSize',
      { repetitionContextSize: 20 },
      /repetitionContextSize changes nothing without a repetitionPenalty other than 1/,
    ],
  ])('%s', async (_, options, message) => {
    using model = await loadModel(await folderSaying([9]), { device: 'cpu' })
    const call = model.generate([1], options)
    await expect(call).rejects.toThrow(UnsupportedOptionError)
    await expect(call).rejects.toThrow(message)
    await expect(call).rejects.toThrow(/^\[generate\] /)
  })

  it('but not those that switch off what is off, nor a seed', async () => {
    using model = await loadModel(await folderSaying([9]), { device: 'cpu' })
    const off = { topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 3 }
    const options = { ...off, maxTokens: 1, ignoreEos: true }
    expect((await model.generate([1], options)).tokens).toHaveLength(1)
  })
})

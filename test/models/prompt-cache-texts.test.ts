// Prompts of text whose beginning was generated: found by their text, where its tokens are other ones.

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { loadModel, type LoadOptions, type Model } from '../../lib/index.js'
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js'
import { fixture, FIXTURES, temporaryFolder } from '../support/checkpoints.js'
import { writeScriptedModel } from '../support/scripted-model.js'

const TOKENIZER = join(FIXTURES, 'tokenizer-250')
const END = '<|endoftext|>'
const PROMPT = 'xy'
// As the model spells " the", which is a token.
const SPELLED = [' ', 't', 'h', 'e']

const tokenizer = await Tokenizer.fromFolder(TOKENIZER)
const tokensOf = (texts: readonly string[]) => texts.flatMap((text) => [...tokenizer.encode(text)])

/** A model that goes on with `said`, each a token, after the prompt. */
async function scripted(
  said: readonly number[],
  promptCache: LoadOptions['promptCache'] = {},
): Promise<Model> {
  const folder = await temporaryFolder()
  await writeScriptedModel(folder, [...tokenizer.encode(PROMPT), ...said])
  const model = await loadModel(folder, { device: 'cpu', promptCache })
  onTestFinished(() => model.dispose())
  return model
}

/** A turn, and how much of a second prompt was known. */
async function followUp(
  model: Model,
  more: string,
  { first = {}, second = {}, told = (text: string) => text } = {},
) {
  const { text, tokens } = await model.generate(PROMPT, { maxTokens: 9, ...first })
  const prompt = PROMPT + told(text) + more
  const { usage } = await model.generate(prompt, { maxTokens: 1, ignoreEos: true, ...second })
  return { usage, tokens, encoded: tokenizer.encode(prompt).length }
}

it('a text that is encoded otherwise finds the state of its turn', async () => {
  const { usage, tokens, encoded } = await followUp(await scripted(tokensOf(SPELLED)), `${END}ab`)
  expect(tokens).toEqual(tokensOf(SPELLED))
  expect(usage).toMatchObject({ cachedTokens: 6, promptTokens: 6 + 3 })
  expect(encoded).toBe(6 + 3 - 3)
})

it('the whole text of a turn finds it too', async () => {
  const { usage } = await followUp(await scripted(tokensOf(SPELLED)), '')
  expect(usage).toMatchObject({ cachedTokens: 6, promptTokens: 6 })
})

it('the last token of maxTokens is not part of what is found', async () => {
  const options = { first: { maxTokens: 3 }, told: (text: string) => text.slice(0, -1) }
  const { usage, tokens } = await followUp(await scripted(tokensOf(SPELLED)), `${END}ab`, options)
  expect(tokens).toEqual(tokensOf(SPELLED.slice(0, 3)))
  expect(usage).toMatchObject({ cachedTokens: 4, promptTokens: 4 + 3 })
})

// What the ids themselves share with the prompt.
it.each([
  ['where the text goes on without a special token', 'ab', {}, {}],
  ['where special tokens are not read', `${END}ab`, {}, { second: { parseSpecial: false } }],
  ['where they were not read before', `${END}ab`, {}, { first: { parseSpecial: false } }],
  ['in another text', `${END}ab`, {}, { told: (text: string) => `${text}!` }],
])('nothing is found by text %s', async (_, more, promptCache, options) => {
  const model = await scripted(tokensOf(SPELLED), promptCache)
  const { usage, encoded } = await followUp(model, more, options)
  expect(usage.cachedTokens).toBe(2)
  if (!('second' in options)) expect(usage.promptTokens).toBe(encoded)
})

it('nothing is found by text with exact', async () => {
  const model = await scripted(tokensOf(SPELLED), { exact: true })
  const { usage, encoded } = await followUp(model, `${END}ab`)
  expect(usage).toMatchObject({ cachedTokens: 0, promptTokens: encoded })
})

it('a special token that was drawn is part of the text', async () => {
  const said = [...tokensOf(SPELLED.slice(0, 2)), 0, ...tokensOf(['q'])]
  const options = { first: { ignoreEos: true, maxTokens: 5 } }
  const without = await followUp(await scripted(said), `${END}ab`, options)
  expect(without.usage).toMatchObject({ cachedTokens: 2, promptTokens: without.encoded })
  const told = (text: string) => `${text.slice(0, 2)}${END}${text.slice(2)}`
  const written = await followUp(await scripted(said), `${END}ab`, { ...options, told })
  expect(written.usage.cachedTokens).toBe(6)
})

it('text in which special tokens were not read has other tokens than the same text where they are', async () => {
  const model = await loadModel(fixture('rene'), { device: 'cpu', tokenizer: TOKENIZER })
  onTestFinished(() => model.dispose())
  const prompt = `one ${END} two`
  const ask = async (parseSpecial: boolean) =>
    (await model.generate(prompt, { maxTokens: 1, parseSpecial })).usage.promptTokens
  const plain = tokenizer.encode(prompt, { parseSpecial: false }).length
  const special = tokenizer.encode(prompt).length
  expect(special).toBeLessThan(plain)
  expect([await ask(false), await ask(true), await ask(false)]).toEqual([plain, special, plain])
})

describe('a tokenizer that puts a token before a text', () => {
  const before = { SpecialToken: { id: END, type_id: 0 } }
  const single = [before, { Sequence: { id: 'A', type_id: 0 } }]

  async function load(start: readonly number[]): Promise<Model> {
    const folder = await temporaryFolder()
    const script = [...start, ...tokenizer.encode(PROMPT), ...tokensOf(SPELLED)]
    await writeScriptedModel(folder, script)
    const json = JSON.parse(await readFile(join(TOKENIZER, 'tokenizer.json'), 'utf8'))
    const special_tokens = { [END]: { id: END, ids: [0], tokens: [END] } }
    const post_processor = { type: 'TemplateProcessing', single, pair: single, special_tokens }
    await writeFile(join(folder, 'tokenizer.json'), JSON.stringify({ ...json, post_processor }))
    const model = await loadModel(folder, { device: 'cpu' })
    onTestFinished(() => model.dispose())
    return model
  }

  it('puts it there unless told otherwise', async () => {
    const model = await load([0])
    const plain = [...tokenizer.encode(PROMPT)]
    expect([...model.encode(PROMPT)]).toEqual([0, ...plain])
    expect([...model.encode(PROMPT, { addSpecialTokens: false })]).toEqual(plain)
    expect(() => model.encode([1], { addSpecialTokens: false })).toThrow(
      '[encode] addSpecialTokens is for a prompt of text: leave it out with token ids',
    )
  })

  it.each([
    [true, [0], 3],
    [false, [], 6],
  ])(
    'is found by text without it alone: addSpecialTokens %s',
    async (addSpecialTokens, start, cachedTokens) => {
      const given = { first: { addSpecialTokens }, second: { addSpecialTokens } }
      const { usage, tokens } = await followUp(await load(start), `${END}ab`, given)
      expect(tokens).toEqual(tokensOf(SPELLED))
      expect(usage.cachedTokens).toBe(cachedTokens)
    },
  )
})

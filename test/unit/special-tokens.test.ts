// What stands around a text, and which tokens end one, by the files beside a tokenizer.json.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CorruptFileError } from '../../lib/support/errors.js'
import type { Notice } from '../../lib/support/notices.js'
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'special-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

interface Files {
  json?: object
  config?: object | string
  map?: object | string
}

const special = (id: number, content: string) => ({ id, content, special: true })

/** A tokenizer with a = 0, b = 1, and the special tokens <s> = 2, </s> = 3, <end> = 4. */
async function writeFiles({ json, config, map }: Files): Promise<string> {
  const place = await mkdtemp(join(folder, 'tokenizer-'))
  const whole = {
    added_tokens: [special(2, '<s>'), special(3, '</s>'), special(4, '<end>')],
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] },
    ...json,
  }
  const write = (name: string, value: object | string) =>
    writeFile(join(place, name), typeof value === 'string' ? value : JSON.stringify(value))
  await write('tokenizer.json', whole)
  if (config) await write('tokenizer_config.json', config)
  if (map !== undefined) await write('special_tokens_map.json', map)
  return place
}

const load = async (files: Files) => Tokenizer.fromFolder(await writeFiles(files))

const A = { Sequence: { id: 'A', type_id: 0 } }
const piece = (id: string) => ({ SpecialToken: { id, type_id: 0 } })
const template = (single: unknown, special_tokens: object = {}) => ({
  type: 'TemplateProcessing',
  single,
  pair: [],
  special_tokens,
})
const byteLevel = { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false }
const names = { bos_token: '<s>', eos_token: '</s>' }
const wrapped = template([piece('<s>'), A, piece('</s>')])

describe('around a text', () => {
  it.each<[string, unknown, Files, number[]]>([
    // The post-processor alone.
    ['no post-processor', null, {}, [0, 1]],
    ['ByteLevel', byteLevel, {}, [0, 1]],
    ['a template', wrapped, { config: names }, [2, 0, 1, 3]],
    ['a template after ByteLevel', sequence(byteLevel, wrapped), {}, [2, 0, 1, 3]],
    ['two templates', sequence(template([piece('<s>'), A]), wrapped), {}, [2, 2, 0, 1, 3]],
    [
      'a template whose token is several ids',
      template([piece('x'), A], { x: { id: 'x', ids: [4, 2], tokens: ['<end>', '<s>'] } }),
      {},
      [4, 2, 0, 1],
    ],
    [
      'BertProcessing',
      { type: 'BertProcessing', cls: ['<s>', 2], sep: ['</s>', 3] },
      {},
      [2, 0, 1, 3],
    ],
    [
      'RobertaProcessing',
      { type: 'RobertaProcessing', cls: ['<s>', 2], sep: ['<end>', 4] },
      {},
      [2, 0, 1, 4],
    ],
    // The flags alone, as soon as one is there.
    ['add_eos alone', byteLevel, { config: { ...names, add_eos_token: true } }, [0, 1, 3]],
    ['add_bos: null', wrapped, { config: { ...names, add_bos_token: null } }, [0, 1]],
    [
      'both against Bert',
      { type: 'BertProcessing', cls: ['<end>', 4], sep: ['<end>', 4] },
      { config: { ...names, add_bos_token: true, add_eos_token: true } },
      [2, 0, 1, 3],
    ],
    [
      'a token that is an object',
      null,
      { config: { add_bos_token: true, bos_token: { content: '<end>', lstrip: false } } },
      [4, 0, 1],
    ],
    // Which token: as transformers, by the config or the older special_tokens_map.json.
    ['the map', null, { config: { add_bos_token: true }, map: { bos_token: '<s>' } }, [2, 0, 1]],
    [
      'the map before the config',
      null,
      { config: { ...names, add_bos_token: true }, map: { bos_token: '<end>' } },
      [4, 0, 1],
    ],
    [
      'the config with added_tokens_decoder before the map',
      null,
      {
        config: { ...names, add_bos_token: true, added_tokens_decoder: {} },
        map: { bos_token: '<end>' },
      },
      [2, 0, 1],
    ],
    // A token that no file names.
    ['none: null', wrapped, { config: { add_bos_token: true, bos_token: null } }, [0, 1]],
    ['none at all', null, { config: { add_bos_token: true, add_eos_token: true } }, [0, 1]],
  ])('%s', async (_, post_processor, files, ids) => {
    const tokenizer = await load({ ...files, json: { post_processor } })
    expect([...tokenizer.encode('ab')]).toEqual(ids)
    expect([...tokenizer.encode('ab', { addSpecialTokens: true })]).toEqual(ids)
    expect([...tokenizer.encode('ab', { addSpecialTokens: false })]).toEqual([0, 1])
    // What the files add is not the text's.
    expect([...tokenizer.encode('ab', { parseSpecial: false })]).toEqual(ids)
  })

  it.each<[string, Files, RegExp]>([
    [
      'a flag that is none',
      { config: { ...names, add_bos_token: 'yes' } },
      /tokenizer_config\.json: add_bos_token must be true or false but is "yes"/,
    ],
    [
      'a token outside the vocabulary',
      { config: { add_eos_token: true, eos_token: '<nowhere>' } },
      /add_eos_token is true but eos_token "<nowhere>" is not in the vocabulary/,
    ],
    [
      'a template of two texts',
      { json: { post_processor: template([A, A]) } },
      /tokenizer\.json: post_processor\.single must be a list of special tokens around one/,
    ],
    [
      'a template without its token',
      { json: { post_processor: template([piece('<nowhere>'), A]) } },
      /the special token "<nowhere>" must have token ids/,
    ],
    [
      'a template with a negative id',
      { json: { post_processor: template([piece('x'), A], { x: { ids: [-1] } }) } },
      /the special token "x" must have token ids/,
    ],
    [
      'BertProcessing without ids',
      { json: { post_processor: { type: 'BertProcessing', cls: '<s>', sep: '</s>' } } },
      /post_processor\.cls must be a token and its id but is "<s>"/,
    ],
    [
      'an unknown post-processor',
      { json: { post_processor: { type: 'Magic' } } },
      /post_processor\.type must be one of .* but is "Magic"/,
    ],
  ])('refuses %s', async (_, files, message) => {
    await expect(load(files)).rejects.toThrow(CorruptFileError)
    await expect(load(files)).rejects.toThrow(message)
  })
})

function sequence(...processors: object[]): object {
  return { type: 'Sequence', processors }
}

describe('the end of a text', () => {
  it.each<[string, Files, [number, string][]]>([
    ['the config', { config: names }, [[3, 'tokenizer_config.json']]],
    ['the map', { map: { eos_token: { content: '<end>' } } }, [[4, 'special_tokens_map.json']]],
    [
      'both',
      { config: names, map: { eos_token: '<end>' } },
      [
        [3, 'tokenizer_config.json'],
        [4, 'special_tokens_map.json'],
      ],
    ],
    ['a usual name', {}, [[3, 'tokenizer.json']]],
    [
      'a usual name where the one named is no token',
      { config: { eos_token: '<nowhere>' } },
      [[3, 'tokenizer.json']],
    ],
    [
      'no usual name that is not special',
      { json: { added_tokens: [{ id: 2, content: '</s>', special: false }] } },
      [],
    ],
    // Of no use with this vocabulary, but said by the tokenizer itself.
    [
      'added_tokens_decoder',
      { config: { eos_token: '<e>', added_tokens_decoder: { 9: { content: '<e>' } } } },
      [[9, 'tokenizer_config.json']],
    ],
  ])('by %s', async (_, files, ends) => {
    const { endsOfText, endOfTextToken } = await load(files)
    expect(endsOfText.map(({ id, source }) => [id, source])).toEqual(ends)
    expect(endOfTextToken).toBe(ends[0]?.[0])
  })

  it('leaves out a special_tokens_map.json that cannot be used, with a notice', async () => {
    const place = await writeFiles({ config: names, map: '{"eos_token": ' })
    const notices: Notice[] = []
    const tokenizer = await Tokenizer.fromFolder(place, { onNotice: (n) => notices.push(n) })
    expect(tokenizer.endOfTextToken).toBe(3)
    expect([...tokenizer.encode('ab')]).toEqual([0, 1])
    expect(notices.map(({ code }) => code)).toEqual(['FILE_NOT_USED'])
    expect(notices[0]!.message).toMatch(/special_tokens_map\.json: must be JSON but is not/)
  })
})

it('tokens that tokenizer_config.json declares special are no part of the text', async () => {
  const added = [{ id: 2, content: '<img>', special: false }]
  for (const declared of [
    { additional_special_tokens: ['<img>'] },
    { extra_special_tokens: [{ content: '<img>' }] },
    { extra_special_tokens: { image_token: '<img>' } },
  ]) {
    const tokenizer = await load({ json: { added_tokens: added }, config: declared })
    expect(tokenizer.decode([0, 2, 1])).toBe('ab')
  }
  const tokenizer = await load({ json: { added_tokens: added } })
  expect(tokenizer.decode([0, 2, 1])).toBe('a<img>b')
})

it.each([
  ['Infinity, as Python writes it', '{"model_max_length": Infinity, "eos_token": "<end>"}'],
  ['a byte order mark', '\ufeff{"eos_token": "<end>"}'],
])('reads a tokenizer_config.json with %s', async (_, config) => {
  expect((await load({ config })).endsOfText).toEqual([
    { id: 4, content: '<end>', source: 'tokenizer_config.json' },
  ])
})

describe('tokens that only tokenizer_config.json has', () => {
  const added = (content: string, special = true) => ({ content, special, lstrip: false })

  it('are tokens, special or not', async () => {
    const config = { added_tokens_decoder: { 5: added('<|im_end|>'), 6: added('<tool>', false) } }
    const tokenizer = await load({ config })
    expect([...tokenizer.encode('a<|im_end|><tool>b')]).toEqual([0, 5, 6, 1])
    expect(tokenizer.specialTokenId('<|im_end|>')).toBe(5)
    expect(tokenizer.specialTokenId('<tool>')).toBeUndefined()
    expect(tokenizer.decode([0, 5, 6, 1])).toBe('a<tool>b')
    expect(tokenizer.vocabSize).toBe(7)
  })

  it('are special where either file says so, or where they end a text', async () => {
    const json = { added_tokens: [5, 6].map((id) => ({ id, content: `<${id}>`, special: false })) }
    const config = { added_tokens_decoder: { 5: added('<5>') }, eos_token: '<6>' }
    const tokenizer = await load({ json, config })
    for (const id of [5, 6]) {
      expect(tokenizer.specialTokenId(`<${id}>`)).toBe(id)
      expect(tokenizer.decode([0, id, 1])).toBe('ab')
    }
  })

  it('are left out where their id is that of another, or is none', async () => {
    const config = {
      added_tokens_decoder: {
        0: added('<x>'),
        '-1': added('<y>'),
        999999999: added('<z>'),
        5: 'b',
      },
    }
    const tokenizer = await load({ config })
    expect(tokenizer.decode([0])).toBe('a')
    for (const content of ['<x>', '<y>', '<z>'])
      expect(tokenizer.tokenToId(content)).toBeUndefined()
    expect(tokenizer.vocabSize).toBe(5)
  })
})

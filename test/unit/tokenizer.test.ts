import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  CorruptFileError,
  TokenizerNotFoundError,
  UnsupportedArchitectureError,
} from '../../lib/support/errors.js'
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js'

const fixtures = join(import.meta.dirname, '..', 'fixtures')

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tokenizer-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** The smallest tokenizer.json there can be, with some of it replaced. */
async function writeTokenizer(name: string, changes: object, config?: object): Promise<string> {
  const path = await mkdtemp(join(folder, name))
  const json = {
    added_tokens: [],
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab: { a: 0, b: 1, ab: 2 }, merges: ['a b'] },
    ...changes,
  }
  await writeFile(join(path, 'tokenizer.json'), JSON.stringify(json))
  if (config) await writeFile(join(path, 'tokenizer_config.json'), JSON.stringify(config))
  return path
}

const texts = [
  '',
  ' ',
  'The state of a sequence',
  "they've said it isn't , is it ? 128 tokens",
  '  leading,\n\n\ttabs   and runs     of spaces  ',
  'Übermaß, voilà, Привет, 日本語の文, 🙂👩‍👩‍👧',
  '\ufeffbyte order mark\u0000 and nul',
]

describe.each(['tokenizer', 'tokenizer-250'])('Tokenizer on fixtures/%s', (name) => {
  it.each(texts)('round-trips %j', async (text) => {
    const tokenizer = await Tokenizer.fromFolder(join(fixtures, name))
    const tokens = tokenizer.encode(text)
    expect(tokens).toBeInstanceOf(Int32Array)
    expect(tokens.every((token) => token < tokenizer.vocabSize)).toBe(true)
    expect(tokenizer.decode(tokens)).toBe(text.normalize('NFC'))
  })

  it('ends texts with <|endoftext|>, id 0, which it leaves out of the text by default', async () => {
    const tokenizer = await Tokenizer.fromFile(join(fixtures, name, 'tokenizer.json'))
    expect(tokenizer.endOfTextToken).toBe(0)
    expect(tokenizer.tokenToId('<|endoftext|>')).toBe(0)
    const tokens = [...tokenizer.encode('a<|endoftext|>b')]
    expect(tokens).toContain(0)
    expect(tokenizer.decode(tokens)).toBe('ab')
    expect(tokenizer.decode(tokens, { skipSpecialTokens: false })).toBe('a<|endoftext|>b')
  })

  it('adds no special tokens', async () => {
    const tokenizer = await Tokenizer.fromFolder(join(fixtures, name))
    expect(tokenizer.encode('')).toHaveLength(0)
    expect([...tokenizer.encode('state')]).not.toContain(0)
  })
})

describe('Tokenizer', () => {
  it('merges as trained', async () => {
    const tokenizer = await Tokenizer.fromFolder(join(fixtures, 'tokenizer'))
    expect(tokenizer.vocabSize).toBe(389)
    expect([...tokenizer.encode(' the state')]).toEqual([
      tokenizer.tokenToId('Ġthe'),
      tokenizer.tokenToId('Ġstate'),
    ])
    expect([...tokenizer.encode('x    y')]).toContain(tokenizer.tokenToId('    '))
    expect(tokenizer.tokenToId('no such token')).toBeUndefined()
  })

  it('fits the tiny reference checkpoints with all of ASCII', async () => {
    const tokenizer = await Tokenizer.fromFolder(join(fixtures, 'tokenizer-250'))
    expect(tokenizer.vocabSize).toBe(250)
    const ascii = String.fromCharCode(...Array.from({ length: 128 }, (_, code) => code))
    expect(tokenizer.decode(tokenizer.encode(ascii))).toBe(ascii)
  })

  it('decodes nothing, and ids without a token, to the empty string', async () => {
    const tokenizer = await Tokenizer.fromFolder(join(fixtures, 'tokenizer-250'))
    expect(tokenizer.decode([])).toBe('')
    expect(tokenizer.decode(new Int32Array([250, 255, 50_280]))).toBe('')
  })

  it('refuses what is no token id and what is no text', async () => {
    const tokenizer = await Tokenizer.fromFolder(join(fixtures, 'tokenizer'))
    expect(() => tokenizer.decode([-1])).toThrow(
      '[detokenizer] token must be a non-negative integer but is -1',
    )
    expect(() => tokenizer.decode([0.5])).toThrow(RangeError)
    expect(() => tokenizer.encode(3 as unknown as string)).toThrow(TypeError)
  })

  it('never cleans up spaces, whatever tokenizer_config.json says', async () => {
    const tokenizer = await Tokenizer.fromFolder(join(fixtures, 'tokenizer'))
    expect(tokenizer.decode(tokenizer.encode("a , b . it 's"))).toBe("a , b . it 's")
  })

  it('takes the end-of-text token from tokenizer_config.json first', async () => {
    const added_tokens = [
      { id: 3, content: '</s>', special: true },
      { id: 4, content: '<end>', special: true },
    ]
    const load = async (config?: object) =>
      (await Tokenizer.fromFolder(await writeTokenizer('eos', { added_tokens }, config)))
        .endOfTextToken
    expect(await load()).toBe(3)
    expect(await load({ eos_token: '<end>' })).toBe(4)
    expect(await load({ eos_token: { content: '<end>' } })).toBe(4)
    expect(await load({ eos_token: 'not in the vocabulary' })).toBe(3)
    expect((await Tokenizer.fromFolder(await writeTokenizer('no-eos', {}))).endOfTextToken).toBe(
      undefined,
    )
  })

  it('follows the post-processor unless tokenizer_config.json switches it off', async () => {
    const changes = {
      added_tokens: [{ id: 3, content: '<s>', special: true }],
      post_processor: {
        type: 'TemplateProcessing',
        single: [
          { SpecialToken: { id: '<s>', type_id: 0 } },
          { Sequence: { id: 'A', type_id: 0 } },
        ],
        pair: [],
        special_tokens: {},
      },
    }
    const load = async (config?: object) =>
      Tokenizer.fromFolder(await writeTokenizer('template', changes, config))
    const tokenizer = await load()
    expect([...tokenizer.encode('ab')]).toEqual([3, 2])
    expect([...tokenizer.encode('ab', { addSpecialTokens: false })]).toEqual([2])
    expect([...(await load({ add_bos_token: true })).encode('ab')]).toEqual([3, 2])
    expect([...(await load({ add_bos_token: false })).encode('ab')]).toEqual([2])
  })

  it('says which file is missing and which tokenizer to name', async () => {
    const missing = Tokenizer.fromFolder(join(folder, 'nowhere'))
    await expect(missing).rejects.toThrow(TokenizerNotFoundError)
    await expect(missing).rejects.toThrow(/nowhere.tokenizer\.json: no such file.*--tokenizer/)
  })

  it.each([
    ['model', { model: 1 }, 'model must be an object but is 1'],
    ['vocab', { model: { vocab: 'x' } }, 'model.vocab must be an object of token ids by token'],
    ['id', { model: { vocab: { a: -1 } } }, 'model.vocab["a"] must be an integer from 0 to'],
    ['huge id', { model: { vocab: { a: 1e12 } } }, 'model.vocab["a"] must be an integer from 0'],
    [
      'twice',
      { model: { vocab: { a: 0, b: 0 } } },
      'must give each id once but gives 0 to "a" and',
    ],
    ['merges', { model: { type: 'BPE', vocab: { a: 0 } } }, 'model.merges must be a list but is'],
    [
      'merge',
      { model: { type: 'BPE', vocab: { a: 0 }, merges: ['a'] } },
      'model.merges[0] must be a pair of tokens but is "a"',
    ],
    ['empty', { model: { type: 'BPE', vocab: {}, merges: [] } }, 'model.vocab must be non-empty'],
    [
      'added',
      { added_tokens: [{ id: 'x', content: 'y' }] },
      'added_tokens[0].id must be an integer',
    ],
    ['pre', { pre_tokenizer: { type: 'Magic' } }, 'not a tokenizer that can be used: '],
  ])('refuses a bad %s', async (name, changes, message) => {
    const loading = Tokenizer.fromFolder(await writeTokenizer(name, changes))
    await expect(loading).rejects.toThrow(CorruptFileError)
    await expect(loading).rejects.toThrow(`tokenizer.json: `)
    await expect(loading).rejects.toThrow(message)
  })

  it('refuses what is not JSON, not an object, and not a file', async () => {
    const text = await mkdtemp(join(folder, 'text'))
    await writeFile(join(text, 'tokenizer.json'), 'version https://git-lfs')
    await expect(Tokenizer.fromFolder(text)).rejects.toThrow('must be JSON but is not')
    await writeFile(join(text, 'tokenizer.json'), '[]')
    await expect(Tokenizer.fromFolder(text)).rejects.toThrow(
      'the file must be a JSON object but is a list of 0',
    )
    await expect(Tokenizer.fromFile(text)).rejects.toThrow('must be a file but is a folder')
    const path = await writeTokenizer('config', {})
    await writeFile(join(path, 'tokenizer_config.json'), '{')
    await expect(Tokenizer.fromFolder(path)).rejects.toThrow('tokenizer_config.json: must be JSON')
  })

  it.each([
    [null],
    [{ type: 'WordPiece', prefix: '##' }],
    [{ type: 'Sequence', decoders: [{ type: 'CTC' }] }],
    [{ type: 'Strip', content: ' ', start: 1, stop: 1 }],
    [{ type: 'Replace', pattern: { Regex: '.*' }, content: '' }],
  ])('refuses the decoder %j, which cannot be streamed', async (decoder) => {
    const loading = Tokenizer.fromFolder(await writeTokenizer('decoder', { decoder }))
    await expect(loading).rejects.toThrow(UnsupportedArchitectureError)
    await expect(loading).rejects.toThrow(/tokenizer\.json: decoder.* must be .* but is /)
  })
})

// Encoding as Hugging Face's tokenizers in Rust do it: which characters are white space, and what a
// text is split into before the vocabulary comes in.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js'

const fixtures = join(import.meta.dirname, '..', 'fixtures', 'tokenizer')

interface RustTokens {
  tokenizers: {
    name: string
    preTokenizer: object
    /** `plain` where it differs from `ids`: with special tokens encoded as text. */
    cases: { text: string; ids: number[]; plain?: number[] }[]
  }[]
}

const { tokenizers } = JSON.parse(
  await readFile(join(fixtures, 'rust-tokens.json'), 'utf8'),
) as RustTokens

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'encoder-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function tokenizerWith(changes: object): Promise<Tokenizer> {
  const json = JSON.parse(await readFile(join(fixtures, 'tokenizer.json'), 'utf8'))
  const place = await mkdtemp(join(folder, 'tokenizer-'))
  await writeFile(join(place, 'tokenizer.json'), JSON.stringify({ ...json, ...changes }))
  return Tokenizer.fromFolder(place)
}

describe.each(tokenizers)('$name', ({ preTokenizer, cases }) => {
  it('gives the ids of the tokenizers in Rust', async () => {
    const tokenizer = await tokenizerWith({ pre_tokenizer: preTokenizer })
    for (const { text, ids } of cases) {
      expect({ text, ids: [...tokenizer.encode(text)] }).toEqual({ text, ids })
    }
  })

  it('also of special tokens as text', async () => {
    const tokenizer = await tokenizerWith({ pre_tokenizer: preTokenizer })
    let differ = 0
    for (const { text, ids, plain = ids } of cases) {
      if (plain !== ids) differ += 1
      const actual = [...tokenizer.encode(text, { parseSpecial: false })]
      expect({ text, ids: actual }).toEqual({ text, ids: plain })
    }
    expect(differ).toBeGreaterThan(2)
  })
})

it('many different words and then common ones: their tokens, and nothing is moved to find them', async () => {
  const tokenizer = await Tokenizer.fromFolder(fixtures)
  const common = 'the house and the garden '.repeat(20)
  const many = Array.from({ length: 12_000 }, (_, i) => `w${i.toString(36)}x`).join(' ')
  tokenizer.encode(many)
  const fresh = await Tokenizer.fromFolder(fixtures)
  expect(tokenizer.encode(common)).toEqual(fresh.encode(common))
  const deleted = vi.spyOn(Map.prototype, 'delete')
  onTestFinished(() => deleted.mockRestore())
  tokenizer.encode(common)
  expect(deleted).not.toHaveBeenCalled()
})

describe('parseSpecial: false', () => {
  it('is the text again when decoded, and has none of the special tokens', async () => {
    const tokenizer = await Tokenizer.fromFolder(fixtures)
    const text = 'a<|endoftext|>b<|padding|>'
    const ids = [...tokenizer.encode(text, { parseSpecial: false })]
    expect(ids).not.toContain(0)
    expect(ids).not.toContain(1)
    expect(tokenizer.decode(ids)).toBe(text)
    // An encoder of its own: the other one is as before.
    expect([...tokenizer.encode(text)]).toContain(0)
  })

  it('keeps added tokens that are not special', async () => {
    const tokenizer = await Tokenizer.fromFolder(fixtures)
    const spaces = tokenizer.tokenToId('    ')
    expect([...tokenizer.encode('x    y', { parseSpecial: false })]).toContain(spaces)
  })

  it('finds no special piece of a Unigram vocabulary either', async () => {
    const pieces = ['<unk>', '</s>', '<', '/', 's', '>', 'a']
    const tokenizer = await tokenizerWith({
      added_tokens: [
        { id: 0, content: '<unk>', special: true },
        { id: 1, content: '</s>', special: true },
      ],
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder: { type: 'Fuse' },
      model: { type: 'Unigram', unk_id: 0, vocab: pieces.map((piece) => [piece, -1]) },
    })
    expect([...tokenizer.encode('a</s>')]).toEqual([6, 1])
    expect([...tokenizer.encode('a</s>', { parseSpecial: false })]).toEqual([6, 2, 3, 4, 5])
    expect([...tokenizer.encode('a?', { parseSpecial: false })]).toEqual([6, 0])
  })

  it('must be true or false, and no misspelt option is ignored', async () => {
    const tokenizer = await Tokenizer.fromFolder(fixtures)
    expect(() => tokenizer.encode('a', { parseSpecial: 0 as unknown as boolean })).toThrow(
      '[tokenizer.encode] parseSpecial must be true or false but is 0',
    )
    const misspelt = { parseSpecials: false } as object
    expect(() => tokenizer.encode('a', misspelt)).toThrow('did you mean "parseSpecial"?')
    expect(() => tokenizer.decode([1], { skipSpecial: false } as object)).toThrow(/skipSpecial/)
  })
})

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js'
import { seededIntegers } from './random.js'
import { llamaDecoder, sentencePieceDefinition } from './sentence-piece.js'

const fixtures = join(import.meta.dirname, '..', 'fixtures')

interface Oracle {
  decode(
    tokens: number[],
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: false },
  ): string
}

async function loadOracle(path: string): Promise<Oracle> {
  const json = JSON.parse(await readFile(path, 'utf8')) as object
  return new LibraryTokenizer(
    { normalizer: null, pre_tokenizer: null, post_processor: null, ...json },
    {},
  ) as Oracle
}

let folder = ''
const files: Record<string, string> = {
  'byte-level': join(fixtures, 'tokenizer', 'tokenizer.json'),
  'byte-level, 250 ids': join(fixtures, 'tokenizer-250', 'tokenizer.json'),
}
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'detokenizer-'))
  const definitions = {
    'byte fallback': sentencePieceDefinition(llamaDecoder),
    metaspace: sentencePieceDefinition({ type: 'Metaspace', replacement: '\u2581' }),
  }
  for (const [name, definition] of Object.entries(definitions)) {
    files[name] = join(folder, `${name}.json`)
    await writeFile(files[name], JSON.stringify(definition))
  }
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const names = ['byte-level', 'byte-level, 250 ids', 'byte fallback', 'metaspace']

describe.each(names)('DetokenizerStream, %s', (name) => {
  it('gives the text of decode, and of the library, for random tokens', async () => {
    const tokenizer = await Tokenizer.fromFile(files[name]!)
    const oracle = await loadOracle(files[name]!)
    const integer = seededIntegers(7)
    const stream = tokenizer.createStream()
    const whole = tokenizer.createStream({ skipSpecialTokens: false })
    for (let trial = 0; trial < 3000; trial++) {
      const length = 1 + integer(12)
      const tokens = Array.from({ length }, () => integer(tokenizer.vocabSize))
      // Special tokens, and ids of padding rows of a model's vocabulary.
      if (trial % 4 === 1) tokens[integer(length)] = tokenizer.endOfTextToken!
      if (trial % 4 === 2) tokens[integer(length)] = tokenizer.vocabSize + integer(30)
      const known = tokens.filter((token) => hasToken(tokenizer, token))

      const streamed = tokens.map((token) => stream.push(token)).join('') + stream.flush()
      expect(streamed).toBe(tokenizer.decode(tokens))
      const unskipped = tokens.map((token) => whole.push(token)).join('') + whole.flush()
      expect(unskipped).toBe(tokenizer.decode(tokens, { skipSpecialTokens: false }))
      if (known.length === 0) continue
      expect(streamed).toBe(oracle.decode(known, options(true)))
      expect(unskipped).toBe(oracle.decode(known, options(false)))
    }
  })

  // The vocabulary of the metaspace one spells bytes, but its decoder does not.
  it.skipIf(name === 'metaspace')(
    'gives random Unicode text back, and never half a character',
    async () => {
      const tokenizer = await Tokenizer.fromFile(files[name]!)
      const integer = seededIntegers(11)
      const ranges = [0x20, 0x7f, 0xa1, 0x2ff, 0x3041, 0x3090, 0x1f600, 0x1f640] as const
      for (let trial = 0; trial < 300; trial++) {
        const points = Array.from({ length: 1 + integer(20) }, () => {
          const range = 2 * integer(4)
          return ranges[range]! + integer(ranges[range + 1]! - ranges[range]!)
        })
        const text = String.fromCodePoint(...points).normalize('NFC')
        const stream = tokenizer.createStream({ keepLeadingSpace: true })
        let streamed = ''
        for (const token of tokenizer.encode(text)) {
          const part = stream.push(token)
          expect(part).not.toContain('\ufffd')
          expect(() => encodeURIComponent(part)).not.toThrow() // throws for a lone surrogate
          streamed += part
          expect(text.startsWith(streamed)).toBe(true)
        }
        expect(stream.flush()).toBe('')
        expect(streamed).toBe(text)
      }
    },
  )
})

const options = (skip: boolean) =>
  ({ skip_special_tokens: skip, clean_up_tokenization_spaces: false }) as const

function hasToken(tokenizer: Tokenizer, token: number): boolean {
  const stream = tokenizer.createStream({ skipSpecialTokens: false, keepLeadingSpace: true })
  return stream.push(token) + stream.flush() !== ''
}

describe('DetokenizerStream', () => {
  /** Tokens for bytes, from the fixture whose alphabet has all of them. */
  async function byteTokens() {
    const tokenizer = await Tokenizer.fromFile(files['byte-level']!)
    const alphabet = Array.from({ length: 256 }, (_, index) => index + 2)
    const probe = (byte: number) => {
      let shifted = 0
      for (let other = 0; other < byte; other++) if (isShifted(other)) shifted++
      return String.fromCharCode(isShifted(byte) ? 256 + shifted : byte)
    }
    const isShifted = (byte: number) =>
      !((byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad))
    return {
      tokenizer,
      bytes: (...values: number[]) =>
        values.map((byte) => {
          const token = tokenizer.tokenToId(probe(byte))!
          expect(alphabet).toContain(token)
          return token
        }),
    }
  }

  it('holds a character back until it is complete', async () => {
    const { tokenizer, bytes } = await byteTokens()
    const stream = tokenizer.createStream()
    const parts = bytes(0x61, 0xf0, 0x9f, 0x99, 0x82, 0x62).map((token) => stream.push(token))
    expect(parts).toEqual(['a', '', '', '', '🙂', 'b'])
  })

  it('releases a broken character at once when it can no longer be completed', async () => {
    const { tokenizer, bytes } = await byteTokens()
    const stream = tokenizer.createStream()
    const parts = bytes(0xe6, 0x97, 0x61, 0xff, 0x80, 0xe6).map((token) => stream.push(token))
    expect(parts).toEqual(['', '', '\ufffda', '\ufffd', '\ufffd', ''])
    expect(stream.flush()).toBe('\ufffd')
    expect(stream.flush()).toBe('')
  })

  it('decodes every sequence of awkward bytes as TextDecoder does', async () => {
    const { tokenizer, bytes } = await byteTokens()
    const awkward = [0x41, 0x80, 0xbf, 0xc2, 0xe0, 0xa0, 0xed, 0xf0, 0x90, 0xf4, 0xef, 0xbb, 0xff]
    const integer = seededIntegers(3)
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    for (let trial = 0; trial < 5000; trial++) {
      const values = Array.from({ length: 1 + integer(8) }, () => awkward[integer(awkward.length)]!)
      expect(tokenizer.decode(bytes(...values))).toBe(decoder.decode(Uint8Array.from(values)))
    }
  })

  it('joins bytes across padding ids and skipped special tokens', async () => {
    const { tokenizer, bytes } = await byteTokens()
    const [first, second] = bytes(0xc3, 0xa9)
    const tokens = [first!, 50_280, tokenizer.endOfTextToken!, second!]
    expect(tokenizer.decode(tokens)).toBe('é')
    expect(tokenizer.decode(tokens, { skipSpecialTokens: false })).toBe('\ufffd<|endoftext|>\ufffd')
  })

  it('drops the first space of a SentencePiece text only, and only if asked to', async () => {
    const tokenizer = await Tokenizer.fromFile(files['byte fallback']!)
    const tokens = ['<s>', '\u2581the', '\u2581\u2581a'].map((token) => tokenizer.tokenToId(token)!)
    expect(tokenizer.decode(tokens)).toBe('the  a')
    expect(tokenizer.decode(tokens, { keepLeadingSpace: true })).toBe(' the  a')
    const stream = tokenizer.createStream()
    expect(tokens.map((token) => stream.push(token)).join('|') + stream.flush()).toBe('|the|  a')
    expect(stream.push(tokens[1]!)).toBe('the')
  })

  it('takes the same time a token however long the text is', async () => {
    const { tokenizer, bytes } = await byteTokens()
    const stream = tokenizer.createStream()
    // Bytes that never make a character are the worst case for detokenizers that decode again.
    const [broken] = bytes(0xff)
    let length = 0
    for (let count = 0; count < 200_000; count++) length += stream.push(broken!).length
    expect(length).toBe(200_000)
  })
})

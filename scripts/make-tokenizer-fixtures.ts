// Writes the two tokenizer.json in test/fixtures: `npx tsx scripts/make-tokenizer-fixtures.ts`.
// Both are GPT-NeoX-style byte-level BPE, trained on the few sentences below. The output is the same
// every time.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const corpus = `
The state of a sequence has a fixed size, however long the text becomes. The model reads a token,
updates the state, and then the token is forgotten; the state is what the model remembers of it.
There is nothing else to keep, so the state can be copied, stored, and used again later.
Once upon a time there was a small machine that read the same story every evening, and every
evening it told the story in a slightly different way. "What happened then?" asked the children.
"That depends on the seed," said the machine, and they didn't understand, but they laughed.
In 2024 we measured 128 tokens in 3 seconds; 7 + 5 = 12, and it's what they've been told we'll see.
Das Übermaß an Größe ist nicht die Lösung. Être ou ne pas être, voilà la question où l'été naît.
Привет, мир. Это маленький пример. 日本語の文と中文的句子。 Ελληνικά επίσης.
🙂🙃 👩‍👩‍👧 — “quoted”, … and so on: naïve café, jalapeño.
    for (let index = 0; index < tokens.length; index++) {
        state = update(state, tokens[index])
    }
`

const pattern = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu

/** GPT-2's spelling of bytes as characters that are neither spaces nor controls. */
function byteCharacters(): string[] {
  let shifted = 0
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad)
    return String.fromCharCode(printable ? byte : 256 + shifted++)
  })
}

const characters = byteCharacters()

/** The most frequent pair, merged again and again; ties go to the pair that sorts first. */
function trainMerges(count: number): [string, string][] {
  const words = (corpus.match(pattern) ?? []).map((word) =>
    Array.from(new TextEncoder().encode(word), (byte) => characters[byte]!),
  )
  const merges: [string, string][] = []
  while (merges.length < count) {
    const counts = new Map<string, number>()
    for (const word of words) {
      for (let index = 0; index + 1 < word.length; index++) {
        const pair = `${word[index]} ${word[index + 1]}`
        counts.set(pair, (counts.get(pair) ?? 0) + 1)
      }
    }
    const [best] = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    if (best === undefined || best[1] < 2) break
    const [left, right] = best[0].split(' ') as [string, string]
    merges.push([left, right])
    for (const word of words) {
      for (let index = 0; index + 1 < word.length; index++) {
        if (word[index] === left && word[index + 1] === right) word.splice(index, 2, left + right)
      }
    }
  }
  return merges
}

interface Plan {
  folder: string
  bytes: number[]
  merges: number
  special: string[]
  /** Added tokens that are not special, at the end of the vocabulary, as GPT-NeoX's runs of spaces. */
  added: string[]
  config: object | undefined
}

function writeTokenizer({ folder, bytes, merges: count, special, added, config }: Plan): void {
  const tokens = [...special, ...bytes.map((byte) => characters[byte]!)]
  const merges = trainMerges(count)
  for (const [left, right] of merges) {
    if (!tokens.includes(left + right)) tokens.push(left + right)
  }
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]))
  const addedToken = (content: string, id: number, isSpecial: boolean) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: !isSpecial,
    special: isSpecial,
  })
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true }
  const tokenizer = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      ...special.map((content, id) => addedToken(content, id, true)),
      ...added.map((content, index) => addedToken(content, tokens.length + index, false)),
    ],
    normalizer: { type: 'NFC' },
    pre_tokenizer: byteLevel,
    post_processor: byteLevel,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      vocab,
      merges: merges.map((pair) => pair.join(' ')),
    },
  }
  const path = join(import.meta.dirname, '..', 'test', 'fixtures', folder)
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, 'tokenizer.json'), `${JSON.stringify(tokenizer, null, 1)}\n`)
  if (config !== undefined) {
    writeFileSync(join(path, 'tokenizer_config.json'), `${JSON.stringify(config, null, 2)}\n`)
  }
  console.log(`${folder}: ${tokens.length + added.length} ids`)
}

const allBytes = Array.from({ length: 256 }, (_, byte) => byte)

writeTokenizer({
  folder: 'tokenizer',
  bytes: allBytes,
  merges: 200,
  special: ['<|endoftext|>', '<|padding|>'],
  added: ['    ', '   ', '  '],
  config: {
    tokenizer_class: 'GPTNeoXTokenizer',
    add_bos_token: false,
    add_eos_token: false,
    bos_token: '<|endoftext|>',
    eos_token: '<|endoftext|>',
    pad_token: '<|padding|>',
    clean_up_tokenization_spaces: true,
  },
})

// 13 bytes never occur in UTF-8: without them a whole byte alphabet fits in 250 ids, the vocabulary
// of the smallest reference checkpoints, with a few merges besides.
writeTokenizer({
  folder: 'tokenizer-250',
  bytes: allBytes.filter((byte) => byte !== 0xc0 && byte !== 0xc1 && byte < 0xf5),
  merges: 6,
  special: ['<|endoftext|>'],
  added: [],
  config: undefined,
})

// Checks .work/tokenizer.json with the library that the package uses: over the whole validation split,
// the same ids as tokenizer.py wrote, and decoding gives the text back. Prints one line; exits 1 on a difference.
import { readFileSync } from 'node:fs'
import { Tokenizer } from '@huggingface/tokenizers'

const work = new URL('.work/', import.meta.url)
const tokenizer = new Tokenizer(
  JSON.parse(readFileSync(new URL('tokenizer.json', work), 'utf8')),
  {},
)
const raw = readFileSync(new URL('tokens/validation.bin', work))
const expected = new Uint16Array(raw.buffer, raw.byteOffset, raw.byteLength / 2)
let at = 0
let documents = 0
for (const line of readFileSync(new URL('corpus/validation.jsonl', work), 'utf8').split('\n')) {
  if (!line) continue
  const { id, text } = JSON.parse(line)
  const { ids } = tokenizer.encode(`<|endoftext|>${text}`)
  for (const [i, value] of ids.entries()) {
    if (expected[at + i] !== value) {
      console.error(`${id}: token ${i} is ${value}, tokenizer.py wrote ${expected[at + i]}`)
      process.exit(1)
    }
  }
  at += ids.length
  if (
    tokenizer.decode(ids, { skip_special_tokens: true, clean_up_tokenization_spaces: false }) !==
    text
  ) {
    console.error(`${id}: decoding does not give the text back`)
    process.exit(1)
  }
  documents++
}
if (at !== expected.length) {
  console.error(`${at} tokens, but tokenizer.py wrote ${expected.length}`)
  process.exit(1)
}
console.log(`${documents} documents, ${at} tokens: same ids, exact round trip`)

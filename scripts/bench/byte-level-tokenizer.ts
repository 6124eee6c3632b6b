// A tokenizer.json for models with random weights: a byte-level vocabulary of any size, made of what looks like words.

import { randomTokens } from '../../lib/bench/random-prompt.js'
import { byteLevelText } from '../../lib/tokenizer/token-pieces.js'

const LETTERS = 'eeeeetttaaaooiinnsshhrrddllucmwfgypbvkjxqz'
const MARKS = ['"', '",', '":', '{"', '"}', '},', '],', '["', '...', '//', '()', '=', ' =', ' {']

/**
 * The definition of a tokenizer whose vocabulary has `size` tokens: an end of text (0), all bytes, digits, marks of
 * code, and words, half of them with a space in front. It has no merges: texts are read byte by byte.
 */
export function byteLevelTokenizer(size: number): object {
  const numbers = randomTokens(1, 2 ** 31)
  const integer = (below: number) => numbers(1)[0]! % below
  const end = '<|endoftext|>'
  const bytes = Array.from({ length: 256 }, (_, byte) => byteLevelText(Uint8Array.of(byte)))
  const tokens = new Set([end, ...bytes])
  const add = (text: string) => tokens.add(byteLevelText(new TextEncoder().encode(text)))
  for (let number = 0; number < 1000; number++) add(String(number))
  for (const mark of MARKS) add(mark)
  while (tokens.size < size) {
    const letters = Array.from({ length: 2 + integer(8) }, () => LETTERS[integer(LETTERS.length)])
    const word = letters.join('')
    const capitalized = integer(4) === 0 ? word[0]!.toUpperCase() + word.slice(1) : word
    add(integer(2) === 0 ? ` ${capitalized}` : capitalized)
  }
  return {
    version: '1.0',
    added_tokens: [
      {
        id: 0,
        content: end,
        special: true,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
      },
    ],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries([...tokens].map((token, id) => [token, id])),
      merges: [],
    },
  }
}

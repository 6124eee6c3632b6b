// The tokens of a model as bytes of text, in memory that the grammar thread sees too.

import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { NO_TEXT, specialTokenBytes } from './special-bytes.js'

/** The bytes of all tokens one after another. */
export interface SharedVocabulary {
  readonly bytes: SharedArrayBuffer
  /** Uint32: where each token ends. One without bytes is never allowed. */
  readonly ends: SharedArrayBuffer
}

/** What is read of a tokenizer. */
export type TokenSource = Pick<Tokenizer, 'vocabSize' | 'bytesOf'>

/**
 * What each token adds to a text, for ids below `size`; a model may have fewer rows than its tokenizer ids. Special
 * tokens are spelt as grammars name them.
 */
export function sharedVocabulary(tokenizer: TokenSource, size: number): SharedVocabulary {
  const count = Math.min(tokenizer.vocabSize, size)
  const tokens = Array.from({ length: count }, (_, token) => {
    const bytes = tokenizer.bytesOf(token)
    // Bytes of text must not spell a special token.
    if (bytes?.includes(NO_TEXT)) return undefined
    return bytes ?? specialTokenBytes(token)
  })
  const length = tokens.reduce((sum, token) => sum + (token?.length ?? 0), 0)
  const bytes = new Uint8Array(new SharedArrayBuffer(length))
  const ends = new Uint32Array(new SharedArrayBuffer(count * Uint32Array.BYTES_PER_ELEMENT))
  let end = 0
  for (const [index, token] of tokens.entries()) {
    if (token) bytes.set(token, end)
    end += token?.length ?? 0
    ends[index] = end
  }
  return { bytes: bytes.buffer, ends: ends.buffer }
}

/** The bytes of each token. */
export function tokensOf({ bytes, ends }: SharedVocabulary): Uint8Array[] {
  const all = new Uint8Array(bytes)
  const tokens: Uint8Array[] = []
  let start = 0
  for (const end of new Uint32Array(ends)) {
    tokens.push(all.subarray(start, end))
    start = end
  }
  return tokens
}

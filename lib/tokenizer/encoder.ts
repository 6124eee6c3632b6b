// Text to tokens, by @huggingface/tokenizers: what it is given so that it does as Hugging Face's own
// tokenizers in Rust do.

import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers'
import { CorruptFileError } from '../support/errors.js'
import { isObject } from './json-file.js'
import { messageOf } from '../support/realms.js'

/** The part of the library used here; its own declarations do not resolve under `nodenext`. */
export interface Encoder {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] }
}

type Json = Readonly<Record<string, unknown>>

/**
 * The encoder of a tokenizer.json, which adds nothing around a text.
 *
 * @throws CorruptFileError, led by `file`, for a part that cannot be used.
 * @example newEncoder(json, file).encode('Hello', { add_special_tokens: false }).ids
 */
export function newEncoder(json: Json, file: string): Encoder {
  const given = {
    ...json,
    pre_tokenizer: withWrittenPattern(json.pre_tokenizer),
    post_processor: null,
  }
  try {
    const encoder = new LibraryTokenizer(given, {}) as Encoder & { model: { cache?: PieceCache } }
    if (encoder.model.cache) encoder.model.cache = new PieceCache()
    return encoder
  } catch (error) {
    const reason = messageOf(error)
    throw new CorruptFileError(`${file}: not a tokenizer that can be used: ${reason}`, {
      cause: error,
    })
  }
}

// As many as the library's own cache holds.
const MOST_PIECES = 10_000

/**
 * What the library's BPE keeps of the pieces it has seen. Its own cache puts a piece at the end of a Map whenever it is
 * read, and V8 walks through what is deleted from a Map until that has grown: once the cache was full, a text of few
 * different words took ten times as long.
 */
class PieceCache {
  readonly #tokens = new Map<string, readonly string[]>()

  get(piece: string): readonly string[] | undefined {
    return this.#tokens.get(piece)
  }

  put(piece: string, tokens: readonly string[]): void {
    if (this.#tokens.size === MOST_PIECES) this.#tokens.clear()
    this.#tokens.set(piece, tokens)
  }
}

// What ByteLevel splits a text by unless `use_regex` is false (GPT-2's pattern; in Rust it is compiled by
// Oniguruma).
const BYTE_LEVEL_PATTERN = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

/**
 * A pre-tokenizer with the pattern that is built into ByteLevel written out as a Split. The library has that
 * pattern as a regular expression of JavaScript, whose \s is another set than Rust's: without U+0085, with
 * U+FEFF. The pattern of a Split it translates.
 */
function withWrittenPattern(preTokenizer: unknown): unknown {
  if (!isObject(preTokenizer)) return preTokenizer
  if (preTokenizer.type === 'Sequence' && Array.isArray(preTokenizer.pretokenizers)) {
    return { ...preTokenizer, pretokenizers: preTokenizer.pretokenizers.map(withWrittenPattern) }
  }
  if (preTokenizer.type !== 'ByteLevel' || preTokenizer.use_regex === false) return preTokenizer
  // Put before the whole text, not before each part of it.
  const space = { type: 'Metaspace', replacement: ' ', prepend_scheme: 'always' }
  const split = {
    type: 'Split',
    pattern: { Regex: BYTE_LEVEL_PATTERN },
    behavior: 'Isolated',
    invert: false,
  }
  const bytes = { ...preTokenizer, use_regex: false, add_prefix_space: false }
  const steps = [split, bytes]
  return {
    type: 'Sequence',
    pretokenizers: preTokenizer.add_prefix_space === true ? [space, ...steps] : steps,
  }
}

/**
 * A tokenizer.json that knows its special tokens no more, so that they are text like any other.
 *
 * @param special Ids of the special tokens.
 */
export function withoutSpecialTokens(json: Json, special: ReadonlySet<number>): Json {
  const added = json.added_tokens as readonly { id: number }[]
  const kept = { ...json, added_tokens: added.filter(({ id }) => !special.has(id)) }
  const model = json.model as Json
  if (!Array.isArray(model.vocab)) return kept
  // Unigram chooses among all pieces of its vocabulary: special ones must not be found in a text. No text
  // holds half of a surrogate pair.
  const vocab = (model.vocab as [string, number][]).map(([content, score], id) =>
    special.has(id) ? [`\ud800${id}`, score] : [content, score],
  )
  return { ...kept, model: { ...model, vocab } }
}

// Text to tokens and back. Encoding is @huggingface/tokenizers'; decoding is our own, because it must
// agree to the byte with the streaming detokenizer and the library cannot stream.

import { dirname, join } from 'node:path'
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers'
import { CorruptFileError } from '../errors.js'
import { type DetokenizerOptions, DetokenizerStream } from './detokenizer.js'
import { decodingRules, TokenPieces } from './token-pieces.js'
import { readJsonObject, readTokenizerFile, type TokenizerDefinition } from './tokenizer-file.js'
import { messageOf } from '../realms.js'

/** Options of {@link Tokenizer.encode}. */
export interface EncodeOptions {
  /**
   * Add what the tokenizer's post-processor adds around a text, such as `<s>`. Defaults to `true`, as
   * in the authors' scripts, unless tokenizer_config.json says that neither a begin nor an end token
   * is added. GPT-NeoX-20B's and OLMo's tokenizers add nothing.
   */
  addSpecialTokens?: boolean
}

/** The part of the library used here; its own declarations do not resolve under `nodenext`. */
interface Encoder {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] }
}

type TokenizerConfig = Readonly<Record<string, unknown>>

/** The names that end-of-text tokens go by, for folders without a tokenizer_config.json. */
const endOfTextNames = ['<|endoftext|>', '</s>', '<|end_of_text|>']

/** In tokenizer_config.json a token is named by its content or by an object that has it. */
function namedContent(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  const content = (value as { content?: unknown } | null | undefined)?.content
  return typeof content === 'string' ? content : undefined
}

function addsSpecialTokens(config: TokenizerConfig): boolean {
  const flags = [config.add_bos_token, config.add_eos_token]
  return flags.includes(true) || !flags.includes(false)
}

/**
 * A Hugging Face tokenizer. Everything runs on the calling thread (about 0.3 million tokens a second).
 *
 * @example
 * const tokenizer = await Tokenizer.fromFolder('models/gpt-neox-20b')
 * const tokens = tokenizer.encode('Once upon a time')
 * tokenizer.decode(tokens) // 'Once upon a time'
 */
export class Tokenizer {
  /** One more than the largest token id. Models often pad their vocabulary further. */
  readonly vocabSize: number
  /** The token that ends a text, if the tokenizer names one. */
  readonly endOfTextToken: number | undefined

  readonly #encoder: Encoder
  readonly #pieces: TokenPieces
  readonly #ids = new Map<string, number>()
  readonly #addSpecialTokens: boolean

  private constructor(file: string, definition: TokenizerDefinition, config: TokenizerConfig) {
    const { json, contents, addedTokens } = definition
    const added = new Set<number>()
    const special = new Set<number>()
    contents.forEach((content, id) => {
      if (content !== undefined) this.#ids.set(content, id)
    })
    for (const token of addedTokens) {
      added.add(token.id)
      this.#ids.set(token.content, token.id)
      if (token.special) special.add(token.id)
    }
    const more = config.additional_special_tokens
    for (const value of Array.isArray(more) ? more : []) {
      const id = this.tokenToId(namedContent(value) ?? '')
      if (id !== undefined) special.add(id)
    }

    this.vocabSize = contents.length
    const named = this.tokenToId(namedContent(config.eos_token) ?? '')
    const usual = endOfTextNames.map((name) => this.tokenToId(name))
    this.endOfTextToken = named ?? usual.find((id) => id !== undefined && special.has(id))
    this.#addSpecialTokens = addsSpecialTokens(config)
    this.#pieces = new TokenPieces(decodingRules(json.decoder, file), contents, added, special)
    try {
      this.#encoder = new LibraryTokenizer(json, {}) as Encoder
    } catch (error) {
      const reason = messageOf(error)
      throw new CorruptFileError(`${file}: not a tokenizer that can be used: ${reason}`, {
        cause: error,
      })
    }
  }

  /**
   * Loads a tokenizer.json, and the tokenizer_config.json beside it if there is one.
   *
   * @throws TokenizerNotFoundError if there is no such file.
   * @throws CorruptFileError if a file is not what it should be.
   * @throws UnsupportedArchitectureError if its tokens cannot be turned back into text one by one.
   * @example const tokenizer = await Tokenizer.fromFile('models/rene/tokenizer.json')
   */
  static async fromFile(path: string): Promise<Tokenizer> {
    const definition = await readTokenizerFile(path)
    const config = await readJsonObject(join(dirname(path), 'tokenizer_config.json'))
    return new Tokenizer(path, definition, config ?? {})
  }

  /**
   * Loads the tokenizer.json in `folder`; errors as {@link Tokenizer.fromFile}.
   *
   * @example const tokenizer = await Tokenizer.fromFolder('models/rene')
   */
  static fromFolder(folder: string): Promise<Tokenizer> {
    return Tokenizer.fromFile(join(folder, 'tokenizer.json'))
  }

  /**
   * Turns text into tokens. Special tokens written out in the text become those tokens.
   *
   * @throws TypeError if `text` is not a string.
   * @throws RangeError if a part of the text has no token and the tokenizer no unknown token.
   * @example tokenizer.encode('Hello') // Int32Array [12092]
   */
  encode(text: string, options: EncodeOptions = {}): Int32Array {
    if (typeof text !== 'string') {
      throw new TypeError(`[tokenizer.encode] text must be a string but is ${typeof text}`)
    }
    const { ids } = this.#encoder.encode(text, {
      add_special_tokens: options.addSpecialTokens ?? this.#addSpecialTokens,
    })
    return Int32Array.from(ids, (id, index) => {
      if (id === undefined) {
        throw new RangeError(
          `[tokenizer.encode] token ${index} of the text is not in the vocabulary`,
        )
      }
      return id
    })
  }

  /**
   * Turns tokens into text. The text is exactly what the tokens spell: spaces before punctuation are
   * never "cleaned up". Special tokens are left out by default; ids without a token add nothing.
   *
   * @throws RangeError if a token is not a non-negative integer.
   * @example tokenizer.decode([12092]) // 'Hello'
   */
  decode(tokens: Iterable<number>, options: DetokenizerOptions = {}): string {
    const stream = this.createStream(options)
    const parts: string[] = []
    for (const token of tokens) parts.push(stream.push(token))
    parts.push(stream.flush())
    return parts.join('')
  }

  /**
   * A detokenizer for tokens that arrive one by one.
   *
   * @example const stream = tokenizer.createStream()
   */
  createStream(options: DetokenizerOptions = {}): DetokenizerStream {
    return new DetokenizerStream(this.#pieces, options)
  }

  /**
   * The id of a token given as it is written in the vocabulary; `undefined` if there is none.
   *
   * @example tokenizer.tokenToId('<|endoftext|>') // 0
   */
  tokenToId(token: string): number | undefined {
    return this.#ids.get(token)
  }
}

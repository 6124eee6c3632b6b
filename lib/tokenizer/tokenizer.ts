// Text to tokens and back. Encoding is @huggingface/tokenizers'; decoding is our own, because it must
// agree to the byte with the streaming detokenizer and the library cannot stream.

import { dirname, join } from 'node:path'
import { checkOptions } from '../support/option-checks.js'
import { optionNames, optionValues } from '../support/option-table.js'
import { withConfiguredTokens } from './configured-tokens.js'
import { DetokenizerStream } from './detokenizer.js'
import { type Encoder, newEncoder, withoutSpecialTokens } from './encoder.js'
import {
  type EndOfText,
  endsOfText,
  NOTHING_AROUND,
  readTokenizerSettings,
  type TokenizerSettings,
  type TokensAround,
  tokensAround,
} from './special-tokens.js'
import { decodingRules, TokenPieces } from './token-pieces.js'
import { idsByContent, readTokenizerFile, type TokenizerDefinition } from './tokenizer-file.js'
import {
  DETOKENIZER,
  type DetokenizerOptions,
  ENCODE,
  type EncodeOptions,
  TOKENIZER,
  type TokenizerOptions,
} from './tokenizer-options.js'

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
  /** The tokens that end a text, by what the tokenizer's files say. */
  readonly endsOfText: readonly EndOfText[]

  readonly #encoder: Encoder
  /** Built when it is first needed: it is for text in which no special token is looked for. */
  readonly #plainEncoder: () => Encoder
  readonly #pieces: TokenPieces
  readonly #ids: ReadonlyMap<string, number>
  readonly #around: TokensAround
  readonly #specialContents: readonly string[]

  private constructor(file: string, definition: TokenizerDefinition, settings: TokenizerSettings) {
    const whole = withConfiguredTokens(definition, settings)
    const { json, contents, addedTokens } = whole
    this.#ids = idsByContent(whole)
    const idOf = (content: string) => this.#ids.get(content)
    const special = new Set(addedTokens.flatMap((token) => (token.special ? token.id : [])))
    this.#specialContents = [...special].flatMap((id) => contents[id] ?? [])
    this.vocabSize = contents.length
    this.endsOfText = Object.freeze(endsOfText(settings, idOf, (id) => special.has(id)))
    this.#around = tokensAround(json.post_processor, file, settings, idOf)
    const added = new Set(addedTokens.map(({ id }) => id))
    this.#pieces = new TokenPieces(decodingRules(json.decoder, file), contents, added, special)
    this.#encoder = newEncoder(json, file)
    let plain: Encoder | undefined
    this.#plainEncoder = () => (plain ??= newEncoder(withoutSpecialTokens(json, special), file))
  }

  /** The token that ends a text, if the tokenizer's files name one. */
  get endOfTextToken(): number | undefined {
    return this.endsOfText[0]?.id
  }

  /** The tokens that the tokenizer's files put in front of a text, such as `<s>`. */
  get startTokens(): readonly number[] {
    return this.#around.before
  }

  /**
   * Loads a tokenizer.json, with the tokenizer_config.json and special_tokens_map.json beside it if there are.
   *
   * @throws TokenizerNotFoundError if there is no such file.
   * @throws CorruptFileError if a file is not what it should be.
   * @throws UnsupportedArchitectureError if its tokens cannot be turned back into text one by one.
   * @example const tokenizer = await Tokenizer.fromFile('models/rene/tokenizer.json')
   */
  static async fromFile(path: string, options: TokenizerOptions = {}): Promise<Tokenizer> {
    checkOptions('Tokenizer.fromFile', options, optionNames(TOKENIZER))
    const definition = await readTokenizerFile(path)
    const settings = await readTokenizerSettings(dirname(path), options.onNotice)
    return new Tokenizer(path, definition, settings)
  }

  /**
   * Loads the tokenizer.json in `folder`; errors as {@link Tokenizer.fromFile}.
   *
   * @example const tokenizer = await Tokenizer.fromFolder('models/rene')
   */
  static fromFolder(folder: string, options: TokenizerOptions = {}): Promise<Tokenizer> {
    return Tokenizer.fromFile(join(folder, 'tokenizer.json'), options)
  }

  /**
   * Turns text into tokens. Special tokens written out in the text become those tokens, unless
   * `parseSpecial` is false.
   *
   * @throws TypeError if `text` is not a string.
   * @throws RangeError if a part of the text has no token and the tokenizer no unknown token.
   * @example tokenizer.encode('Hello') // Int32Array [12092]
   */
  encode(text: string, options: EncodeOptions = {}): Int32Array {
    if (typeof text !== 'string') {
      throw new TypeError(`[tokenizer.encode] text must be a string but is ${typeof text}`)
    }
    checkOptions('tokenizer.encode', options, optionNames(ENCODE))
    const { addSpecialTokens, parseSpecial } = optionValues('tokenizer.encode', ENCODE, options)
    const encoder = parseSpecial ? this.#encoder : this.#plainEncoder()
    const { before, after } = addSpecialTokens ? this.#around : NOTHING_AROUND
    const { ids } = encoder.encode(text, { add_special_tokens: false })
    return Int32Array.from([...before, ...ids, ...after], (id, index) => {
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
    checkOptions('tokenizer', options, optionNames(DETOKENIZER))
    return new DetokenizerStream(this.#pieces, options)
  }

  /**
   * What a token adds to a text, in UTF-8: perhaps a part of a character. Undefined where that is nothing: special
   * tokens and ids without a token.
   *
   * @example tokenizer.bytesOf(12092) // Uint8Array [72, 101, 108, 108, 111]: 'Hello'
   */
  bytesOf(token: number): Uint8Array | undefined {
    return this.#pieces.bytesOf(token)
  }

  /**
   * The id of a special token; `undefined` if the text is none.
   *
   * @example tokenizer.specialTokenId('<|endoftext|>') // 0
   */
  specialTokenId(text: string): number | undefined {
    const id = this.#ids.get(text)
    return id !== undefined && this.#pieces.isSpecial(id) ? id : undefined
  }

  /**
   * A special token that is written out in a text; `undefined` if none is.
   *
   * @example tokenizer.specialTokenIn('the end</s>') // '</s>'
   */
  specialTokenIn(text: string): string | undefined {
    return this.#specialContents.find((content) => text.includes(content))
  }

  /**
   * Whether a special token is written out at an index of a text, so that no token reaches over its beginning.
   *
   * @example tokenizer.isSpecialAt('the end</s>', 7) // true
   */
  isSpecialAt(text: string, index: number): boolean {
    return this.#specialContents.some((content) => text.startsWith(content, index))
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

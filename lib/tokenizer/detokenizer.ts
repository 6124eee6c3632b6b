// Tokens to text, one token at a time, without ever splitting a UTF-8 sequence.

import type { TokenPieces } from './token-pieces.js'
import { DETOKENIZER, type DetokenizerOptions } from './tokenizer-options.js'

// A byte order mark inside a text is text.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const noBytes = new Uint8Array(0)

/**
 * How many bytes at the end belong to a UTF-8 sequence that is not complete yet (0 to 3). Cutting
 * just before a lead byte never changes how the bytes on either side decode, valid or not.
 */
function incompleteTail(bytes: Uint8Array): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back]!
    if ((byte & 0xc0) === 0x80) continue
    let length = 1
    if (byte >= 0xf0 && byte <= 0xf4) length = 4
    else if (byte >= 0xe0 && byte <= 0xef) length = 3
    else if (byte >= 0xc2 && byte <= 0xdf) length = 2
    return length > back ? back : 0
  }
  return 0
}

/**
 * Turns tokens into text as they arrive. At most three bytes are held back, until the UTF-8 sequence
 * that they begin is complete or known to be broken (then it becomes U+FFFD). All pushes and the flush
 * joined are exactly `tokenizer.decode(tokens)`; a push costs time proportional to its token's length.
 *
 * Special tokens are left out unless asked for, and like ids without a token (the padding rows of a
 * model's vocabulary) they leave a byte sequence around them intact.
 *
 * @example
 * const stream = tokenizer.createStream()
 * for (const token of tokens) process.stdout.write(stream.push(token))
 * process.stdout.write(stream.flush())
 */
export class DetokenizerStream {
  readonly #pieces: TokenPieces
  readonly #skipSpecialTokens: boolean
  readonly #leadingCount: number
  #leadingLeft: number
  #held: Uint8Array = noBytes

  constructor(pieces: TokenPieces, options: DetokenizerOptions = {}) {
    this.#pieces = pieces
    this.#skipSpecialTokens = options.skipSpecialTokens ?? DETOKENIZER.skipSpecialTokens.default
    this.#leadingCount = options.keepLeadingSpace ? 0 : pieces.leading.count
    this.#leadingLeft = this.#leadingCount
  }

  /**
   * Adds a token and returns the text that is now certain; often empty in the middle of a character.
   *
   * @throws RangeError if `token` is not a non-negative integer.
   * @example stream.push(510) // 'The'
   */
  push(token: number): string {
    if (!Number.isInteger(token) || token < 0) {
      throw new RangeError(`[detokenizer] token must be a non-negative integer but is ${token}`)
    }
    if (this.#skipSpecialTokens && this.#pieces.isSpecial(token)) return ''
    const piece = this.#pieces.pieceOf(token)
    if (piece === undefined) return ''
    const text = typeof piece === 'string' ? this.#release() + piece : this.#append(piece)
    return this.#withoutLeading(text)
  }

  /**
   * Ends the text and returns what was held back. The stream may then be used for another text.
   *
   * @example stream.flush() // '' unless the tokens ended in the middle of a character
   */
  flush(): string {
    const text = this.#withoutLeading(this.#release())
    this.#leadingLeft = this.#leadingCount
    return text
  }

  #append(piece: Uint8Array): string {
    let bytes = piece
    if (this.#held.length > 0) {
      bytes = new Uint8Array(this.#held.length + piece.length)
      bytes.set(this.#held)
      bytes.set(piece, this.#held.length)
    }
    const end = bytes.length - incompleteTail(bytes)
    this.#held = end === bytes.length ? noBytes : bytes.subarray(end)
    return end === 0 ? '' : decoder.decode(bytes.subarray(0, end))
  }

  #release(): string {
    if (this.#held.length === 0) return ''
    const text = decoder.decode(this.#held)
    this.#held = noBytes
    return text
  }

  #withoutLeading(text: string): string {
    let rest = text
    while (this.#leadingLeft > 0 && rest.length > 0) {
      if (!rest.startsWith(this.#pieces.leading.content)) {
        this.#leadingLeft = 0
      } else {
        rest = rest.slice(this.#pieces.leading.content.length)
        this.#leadingLeft--
      }
    }
    return rest
  }
}

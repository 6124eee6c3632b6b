// What each token contributes to the text, worked out from the `decoder` of a tokenizer.json.
//
// A token contributes bytes (which may be part of a UTF-8 sequence that its neighbours complete) or
// text (which cannot). Besides the leading space that some tokenizers drop, no token depends on its
// neighbours: that is what makes exact streaming possible in constant time a token. Decoders without
// this property (WordPiece, CTC, ...) are refused; no language model supported here uses them.

import { UnsupportedArchitectureError } from '../support/errors.js'

/** What one token adds to a text: bytes of UTF-8, or text that ends any byte sequence before it. */
export type TokenPiece = Uint8Array | string

/** How tokens become text. */
export interface DecodingRules {
  /** How a token's content spells bytes; `none`: it never does. */
  readonly spelling: 'byte-level' | 'byte-fallback' | 'none'
  /** Plain replacements applied to the content of each token, in order. */
  readonly replacements: readonly { readonly from: string; readonly to: string }[]
  /** Up to `count` times `content` is removed from the very beginning of a text. */
  readonly leading: { readonly content: string; readonly count: number }
}

type JsonObject = Readonly<Record<string, unknown>>

function unsupported(file: string, part: string, expected: string, got: unknown): never {
  const shown = JSON.stringify(got) ?? 'undefined'
  throw new UnsupportedArchitectureError(
    `${file}: ${part} must be ${expected} but is ${shown.length > 80 ? `${shown.slice(0, 77)}...` : shown}`,
  )
}

/**
 * Reads the `decoder` entry of a tokenizer.json.
 *
 * @throws UnsupportedArchitectureError for a decoder that cannot be streamed exactly.
 * @example decodingRules({ type: 'ByteLevel' }, 'tokenizer.json').spelling // 'byte-level'
 */
export function decodingRules(decoder: unknown, file: string): DecodingRules {
  const known = 'one of ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip, Sequence'
  const replacements: { from: string; to: string }[] = []
  let spelling: DecodingRules['spelling'] = 'none'
  let leading = { content: ' ', count: 0 }
  let fused = false

  const visit = (value: unknown, depth: number): void => {
    if (typeof value !== 'object' || value === null || depth > 4) {
      unsupported(file, 'decoder', known, value)
    }
    const step = value as JsonObject
    switch (step.type) {
      case 'Sequence':
        if (!Array.isArray(step.decoders)) {
          unsupported(file, 'decoder.decoders', 'a list', step.decoders)
        }
        for (const inner of step.decoders) visit(inner, depth + 1)
        return
      case 'ByteLevel':
        spelling = 'byte-level'
        fused = true
        return
      case 'ByteFallback':
        spelling = 'byte-fallback'
        return
      case 'Fuse':
        fused = true
        return
      case 'Replace': {
        const pattern = step.pattern as JsonObject | undefined
        const from = pattern?.String
        const to = step.content ?? ''
        // After the pieces are joined, a replacement could reach across tokens.
        if (fused || typeof from !== 'string' || from === '' || typeof to !== 'string') {
          unsupported(file, 'decoder Replace', 'a plain string replaced token by token', value)
        }
        replacements.push({ from, to })
        return
      }
      case 'Strip': {
        const { content, start, stop } = step
        const usable =
          fused && typeof content === 'string' && content.length === 1 && Number.isInteger(start)
        if (!usable || (stop ?? 0) !== 0) {
          unsupported(file, 'decoder Strip', 'one that removes leading characters only', value)
        }
        leading = { content: content as string, count: start as number }
        return
      }
      case 'Metaspace': {
        const from = step.replacement ?? '\u2581'
        if (typeof from !== 'string' || from === '') {
          unsupported(file, 'decoder.replacement', 'a character', from)
        }
        replacements.push({ from, to: ' ' })
        const prepended = step.prepend_scheme !== 'never' && step.add_prefix_space !== false
        leading = { content: ' ', count: prepended ? 1 : 0 }
        return
      }
      default:
        unsupported(file, 'decoder.type', known, step.type)
    }
  }
  visit(decoder, 0)
  return { spelling, replacements, leading }
}

// GPT-2's alphabet: printable Latin-1 bytes spell themselves, the other 68 are shifted past U+0100.
const characterOfByte: readonly string[] = (() => {
  let shifted = 0
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad)
    return String.fromCharCode(printable ? byte : 256 + shifted++)
  })
})()
const byteOfCharacter: ReadonlyMap<string, number> = new Map(
  characterOfByte.map((character, byte) => [character, byte]),
)

/** Bytes as a byte-level vocabulary spells them. */
export function byteLevelText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => characterOfByte[byte]).join('')
}

const encoder = new TextEncoder()

function byteLevelPiece(content: string): Uint8Array {
  const bytes = new Uint8Array(content.length)
  let length = 0
  for (const character of content) {
    const byte = byteOfCharacter.get(character)
    // Not spelt in the alphabet at all: the content stands for itself.
    if (byte === undefined) return encoder.encode(content)
    bytes[length++] = byte
  }
  return bytes.subarray(0, length)
}

/** The pieces of a whole vocabulary, worked out when first asked for. */
export class TokenPieces {
  readonly leading: DecodingRules['leading']
  readonly #rules: DecodingRules
  readonly #contents: readonly (string | undefined)[]
  readonly #added: ReadonlySet<number>
  readonly #special: ReadonlySet<number>
  readonly #pieces: (TokenPiece | undefined)[] = []

  /**
   * @param contents Token contents by id; holes are ids without a token.
   * @param added Ids of added tokens, whose content is text even in a byte-level vocabulary.
   * @param special Ids of special tokens.
   */
  constructor(
    rules: DecodingRules,
    contents: readonly (string | undefined)[],
    added: ReadonlySet<number>,
    special: ReadonlySet<number>,
  ) {
    this.leading = rules.leading
    this.#rules = rules
    this.#contents = contents
    this.#added = added
    this.#special = special
  }

  /** Whether `token` is a special token. */
  isSpecial(token: number): boolean {
    return this.#special.has(token)
  }

  /** The piece of `token`; `undefined` where the vocabulary has no such token. */
  pieceOf(token: number): TokenPiece | undefined {
    const known = this.#pieces[token]
    if (known !== undefined) return known
    let content = this.#contents[token]
    if (content === undefined) return undefined
    for (const { from, to } of this.#rules.replacements) content = content.replaceAll(from, to)
    let piece: TokenPiece = content
    if (this.#rules.spelling === 'byte-level' && !this.#added.has(token)) {
      piece = byteLevelPiece(content)
    } else if (this.#rules.spelling === 'byte-fallback') {
      const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(content)?.[1]
      if (byte !== undefined) piece = Uint8Array.of(Number.parseInt(byte, 16))
    }
    this.#pieces[token] = piece
    return piece
  }

  /**
   * What `token` adds to a text, in UTF-8, where the text keeps its leading space: perhaps a part of a character.
   * Undefined for special tokens, ids without a token, and text that has no UTF-8 (half a surrogate pair).
   */
  bytesOf(token: number): Uint8Array | undefined {
    const piece = this.isSpecial(token) ? undefined : this.pieceOf(token)
    if (typeof piece !== 'string') return piece
    return /\p{Surrogate}/u.test(piece) ? undefined : encoder.encode(piece)
  }
}

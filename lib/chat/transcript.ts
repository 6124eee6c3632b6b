// A conversation as the model has seen it: one text, its tokens, and where both may be parted.

import { concatenated } from '../support/token-ids.js'

/** Where a text may be cut: the tokens before it stand for the characters before it. */
export interface Border {
  /** UTF-16 units. */
  readonly characters: number
  readonly tokens: number
}

/**
 * Text and tokens of a conversation. What was generated keeps the tokens that were drawn, which need not be those that
 * the tokenizer gives to the same text. Never changes.
 *
 * @example
 * let transcript = Transcript.empty.extendedTo(prompt, encode)
 * transcript = transcript.withGenerated(answer, tokens)
 * transcript = transcript.extendedTo(nextPrompt, encode) // keeps the tokens of all that nextPrompt has in common with it
 */
export class Transcript {
  readonly text: string
  readonly tokens: Uint32Array
  /** Ascending. The beginning is one that is not among them. */
  readonly borders: readonly Border[]

  constructor(text: string, tokens: Uint32Array, borders: readonly Border[]) {
    this.text = text
    this.tokens = tokens
    this.borders = borders
  }

  /** Of nothing. */
  static get empty(): Transcript {
    return new Transcript('', new Uint32Array(0), [])
  }

  /**
   * The transcript of a text, which goes on from the last border up to which both are the same: a template may have
   * rewritten what came after it.
   */
  extendedTo(text: string, encode: (text: string) => ArrayLike<number>): Transcript {
    const common = commonLength(this.text, text)
    const borders = this.borders.filter(({ characters }) => characters <= common)
    const { characters, tokens } = borders.at(-1) ?? { characters: 0, tokens: 0 }
    const rest = text.slice(characters)
    const known = this.tokens.subarray(0, tokens)
    return this.#to(text, rest === '' ? known : concatenated(known, encode(rest)), borders)
  }

  /** With what was generated after it: `text` is what the tokens stand for, special tokens written out. */
  withGenerated(text: string, tokens: readonly number[]): Transcript {
    return this.#to(this.text + text, concatenated(this.tokens, tokens), this.borders)
  }

  #to(text: string, tokens: Uint32Array, borders: readonly Border[]): Transcript {
    const end = { characters: text.length, tokens: tokens.length }
    const isKnown = borders.at(-1)?.characters === end.characters
    return new Transcript(text, tokens, isKnown ? borders : [...borders, end])
  }
}

// Not within a pair of surrogates.
function commonLength(a: string, b: string): number {
  const most = Math.min(a.length, b.length)
  let length = 0
  // By parts: comparing texts is much faster than comparing characters.
  const part = 4096
  while (length < most && a.slice(length, length + part) === b.slice(length, length + part)) {
    length = Math.min(length + part, most)
  }
  while (length < most && a.charCodeAt(length) === b.charCodeAt(length)) length += 1
  return isWithinPair(a, length) || isWithinPair(b, length) ? length - 1 : length
}

function isWithinPair(text: string, index: number): boolean {
  return index > 0 && text.codePointAt(index - 1)! > 0xffff
}

// The tokens of a session.

import { NO_TOKEN } from '../operations/drawn-token.js'

/**
 * Tokens by position. The first ones may be unknown: those of a session that was saved without them.
 *
 * @example
 * const history = new TokenHistory()
 * history.pushPrompt(Uint32Array.of(1, 2, 3))
 * history.push(4)
 */
export class TokenHistory {
  readonly #unknown: number
  #tokens: Uint32Array
  #count: number
  /** Known tokens up to the end of the last prompt. */
  #promptEnd: number

  /** `generated`: how many of the last ones were generated. */
  constructor(tokens: Uint32Array = new Uint32Array(0), unknown = 0, generated = 0) {
    this.#unknown = unknown
    this.#tokens = tokens
    this.#count = tokens.length
    this.#promptEnd = tokens.length - generated
  }

  get length(): number {
    return this.#unknown + this.#count
  }

  /** How many of the first ones are unknown. */
  get unknown(): number {
    return this.#unknown
  }

  /** How many were generated since the last prompt. */
  get generated(): number {
    return this.#count - this.#promptEnd
  }

  /** Adds tokens of a prompt: what is generated from now on follows it. */
  pushPrompt(tokens: Uint32Array): void {
    this.#push(tokens)
    this.#promptEnd = this.#count
  }

  /** Adds a token that was generated. */
  push(token: number): void {
    this.#push([token])
  }

  #push(tokens: ArrayLike<number>): void {
    const count = this.#count + tokens.length
    if (count > this.#tokens.length) {
      const larger = new Uint32Array(Math.max(64, 2 * count))
      larger.set(this.#tokens.subarray(0, this.#count))
      this.#tokens = larger
    }
    this.#tokens.set(tokens, this.#count)
    this.#count = count
  }

  /** Those that are known, as an array of the caller's own. */
  known(): Uint32Array {
    return this.#tokens.slice(0, this.#count)
  }

  /** By position: `NO_TOKEN` for those that are unknown. */
  all(): Uint32Array {
    const tokens = new Uint32Array(this.length).fill(NO_TOKEN, 0, this.#unknown)
    tokens.set(this.#tokens.subarray(0, this.#count), this.#unknown)
    return tokens
  }

  copy(): TokenHistory {
    return new TokenHistory(this.known(), this.#unknown, this.generated)
  }
}

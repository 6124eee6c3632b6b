// The tokens of a session.

import { NO_TOKEN } from './sampler.js'

/**
 * Tokens by position. The first ones may be unknown: those of a session that was saved without them.
 *
 * @example
 * const history = new TokenHistory()
 * history.push(1, 2, 3)
 */
export class TokenHistory {
  readonly #unknown: number
  #tokens: Uint32Array
  #count: number

  constructor(tokens: Uint32Array = new Uint32Array(0), unknown = 0) {
    this.#unknown = unknown
    this.#tokens = tokens
    this.#count = tokens.length
  }

  get length(): number {
    return this.#unknown + this.#count
  }

  /** How many of the first ones are unknown. */
  get unknown(): number {
    return this.#unknown
  }

  push(...tokens: readonly number[]): void {
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
    return new TokenHistory(this.known(), this.#unknown)
  }
}

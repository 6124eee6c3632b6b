// How many texts run and wait at once: what comes beyond is told to come again, and when.

import { badField, busyError } from './api-error.js'

// Seconds that a client is told to wait.
const MOST_SECONDS = 60
/** How much the last one counts for how long they take. */
const WEIGHT = 0.2

/**
 * @example
 * const leave = gate.enter(2)
 * try { await answers() } finally { leave() }
 */
export class Gate {
  readonly places: number
  readonly #now: () => number
  readonly #entered = new Set<{ readonly count: number; readonly at: number }>()
  #taken = 0
  /** Milliseconds from entering to leaving, of late. */
  #duration: number | undefined

  /** @param places Texts that may run and wait. */
  constructor(places: number, now: () => number = () => performance.now()) {
    this.places = places
    this.#now = now
  }

  get taken(): number {
    return this.#taken
  }

  /** Takes places for `count` texts; the function that it returns gives them back. Throws a 429 where there are too few. */
  enter(count: number): () => void {
    if (count > this.places) {
      throw badField(
        'n',
        `${count} texts are more than the ${this.places} that may run and wait here`,
      )
    }
    const missing = this.#taken + count - this.places
    if (missing > 0) {
      const seconds = this.retryAfter(missing)
      throw busyError(
        `the server is busy: ${this.#taken} texts run or wait for a place. Try again in ${seconds} s`,
        seconds,
      )
    }
    const entry = { count, at: this.#now() }
    this.#entered.add(entry)
    this.#taken += count
    return () => this.#leave(entry)
  }

  /**
   * In how many seconds `missing` places may be free. Texts leave as fast as they have come while each stays for as
   * long as those before did: that many in that time.
   */
  retryAfter(missing: number): number {
    const now = this.#now()
    const ages = [...this.#entered].map(({ at }) => now - at)
    const age = ages.reduce((sum, one) => sum + one, 0) / Math.max(ages.length, 1)
    const duration = Math.max(this.#duration ?? 0, age)
    const seconds = (missing * duration) / Math.max(this.#taken, 1) / 1000
    return Math.min(Math.max(Math.ceil(seconds), 1), MOST_SECONDS)
  }

  #leave(entry: { readonly count: number; readonly at: number }): void {
    if (!this.#entered.delete(entry)) return
    this.#taken -= entry.count
    const took = this.#now() - entry.at
    this.#duration =
      this.#duration === undefined ? took : (1 - WEIGHT) * this.#duration + WEIGHT * took
  }
}

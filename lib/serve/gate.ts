// How many texts run and wait at once: what comes beyond is told to come again.

import { badField, busyError } from './api-error.js'

/**
 * @example
 * const leave = gate.enter(2)
 * try { await answers() } finally { leave() }
 */
export class Gate {
  readonly places: number
  #taken = 0

  /** @param places Texts that may run and wait. */
  constructor(places: number) {
    this.places = places
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
    if (this.#taken + count > this.places) {
      throw busyError(
        `the server is busy: ${this.#taken} texts run or wait for a place. Try again later`,
      )
    }
    this.#taken += count
    return () => {
      this.#taken -= count
    }
  }
}

// Who may run: so many at once, and whoever comes later waits for a place, in order.

import { onAbort, reasonOf, type Signal, throwIfAborted } from '../support/abort.js'
import { QueueFullError } from '../support/errors.js'

interface Waiting {
  operation: string
  admit(): void
  reject(error: unknown): void
}

/**
 * Places for calls that run at once.
 *
 * @example
 * await admission.enter('generate', signal)
 * try { ... } finally { admission.leave() }
 */
export class Admission {
  readonly #places: number
  readonly #mostWaiting: number
  readonly #waiting = new Set<Waiting>()
  #inside = 0

  constructor(places: number, mostWaiting: number) {
    this.#places = places
    this.#mostWaiting = mostWaiting
  }

  /** Calls that wait. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Resolves when there is a place. Throws `QueueFullError` where too many wait, and the signal's reason. */
  async enter(operation: string, signal: Signal | undefined): Promise<void> {
    throwIfAborted(signal)
    if (this.#inside < this.#places) {
      this.#inside += 1
      return
    }
    if (this.#waiting.size >= this.#mostWaiting) {
      throw new QueueFullError(
        `[${operation}] the queue is full: ${this.#inside} of ${this.#places} streams run and ${this.#waiting.size} of ${this.#mostWaiting} calls wait. Try again later, or give loadModel a larger maxStreams or maxQueue`,
      )
    }
    await new Promise<void>((resolve, reject) => {
      const waiting = {
        operation,
        admit: () => {
          forget()
          resolve()
        },
        reject: (error: unknown) => {
          forget()
          reject(error)
        },
      }
      const forget = onAbort(signal, () => {
        this.#waiting.delete(waiting)
        reject(reasonOf(signal!))
      })
      this.#waiting.add(waiting)
    })
  }

  /** A place is free: whoever has waited longest gets it. */
  leave(): void {
    for (const waiting of this.#waiting) {
      this.#waiting.delete(waiting)
      waiting.admit()
      return
    }
    this.#inside -= 1
  }

  /** Nobody will be admitted any more. `errorOf` makes the error of an operation. */
  close(errorOf: (operation: string) => Error): void {
    for (const { operation, reject } of this.#waiting) reject(errorOf(operation))
    this.#waiting.clear()
  }
}

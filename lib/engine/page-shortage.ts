// Streams that wait for pages, because others hold all that there are.

import type { Piece } from './prompt-queue.js'
import type { SequencePages } from './sequence-pages.js'
import type { EngineStream } from './stream.js'

/** Pages are reserved before a run is started that writes them. Streams for which there are none wait. */
export class PageShortage {
  readonly #pages: SequencePages
  readonly #fail: (stream: EngineStream, error: unknown) => void
  readonly #waiting = new Set<EngineStream>()

  constructor(pages: SequencePages, fail: (stream: EngineStream, error: unknown) => void) {
    this.#pages = pages
    this.#fail = fail
  }

  /** All are asked anew. */
  forget(): void {
    this.#waiting.clear()
  }

  /** Whether there is a page for the next step of a stream, which has it from now on. */
  mayStep(stream: EngineStream): boolean {
    return this.#reserve(stream, 1, 1)
  }

  /** The same for a piece of a prompt. */
  mayStart({ prompt, first, length }: Piece): boolean {
    return this.#reserve(prompt.stream, length, prompt.tokens.length - first)
  }

  /**
   * Nothing runs, and nothing can be started. Those that wait do so until others have ended; where all wait, the one that
   * came last is told that it cannot go on.
   */
  endOne(streams: ReadonlySet<EngineStream>): void {
    if (this.#waiting.size === 0 || this.#waiting.size < streams.size) return
    const last = [...streams].at(-1)!
    this.#waiting.delete(last)
    this.#fail(last, this.#pages.shortage())
  }

  // `expected`: positions that it will need soon, these among them.
  #reserve(stream: EngineStream, count: number, expected: number): boolean {
    const { state, written: from } = stream
    try {
      const isThere = this.#pages.reserve(state, {
        from,
        to: from + count,
        expected: from + expected,
      })
      if (isThere) this.#waiting.delete(stream)
      else this.#waiting.add(stream)
      return isThere
    } catch (error) {
      stream.isBroken = true
      this.#fail(stream, error)
      return false
    }
  }
}

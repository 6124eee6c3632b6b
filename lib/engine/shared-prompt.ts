// One prompt of several streams: the first runs it, the others begin with the state that it leaves.

import { alsoFor, type MomentReceiver, type Moments } from './moments.js'
import type { Snapshot } from './snapshot.js'

/**
 * @example
 * using prompt = new SharedPrompt(tokens.length)
 * const first = await engine.open('generate', { ...options, moments: prompt.first(moments) })
 * const second = await engine.open('generate', { ...options, moments: await prompt.next(moments) })
 */
export class SharedPrompt {
  readonly #length: number
  readonly #state: Promise<Snapshot | undefined>
  #settle!: (state: Snapshot | undefined) => void
  #fail!: (error: unknown) => void
  #failure: unknown
  #isDisposed = false

  constructor(length: number) {
    this.#length = length
    this.#state = new Promise((resolve, reject) => {
      this.#settle = resolve
      this.#fail = reject
    })
    this.#state.catch(() => {}) // there may be no other
  }

  /** For the stream that runs the prompt. */
  first(moments: Moments | undefined): Moments {
    const length = this.#length
    const watched: Moments = {
      ready: () => moments?.ready(),
      beginning: () => {
        const beginning = moments?.beginning()
        if (beginning?.position === length) this.#take(beginning.snapshot.share())
        return beginning
      },
      cuts: (from) => moments?.cuts(from) ?? [],
      receiver: (place) => moments?.receiver(place),
      spare: () => moments?.spare?.(),
    }
    return alsoFor(watched, {
      beginning: () => undefined,
      receiver: ({ prompt, drawn }) =>
        prompt === length && drawn.length === 0 ? this.#take : undefined,
    })
  }

  /** For any other one, once the state is there. Where it could not be copied, the prompt is run again. */
  async next(moments: Moments | undefined): Promise<Moments> {
    const snapshot = await this.#state
    return alsoFor(moments, {
      beginning: () => snapshot && { snapshot, position: this.#length },
      receiver: () => undefined,
    })
  }

  /** The state that the first stream leaves, for the caller to dispose of. Rejects where it could not be copied. */
  async state(): Promise<Snapshot> {
    const state = await this.#state
    if (!state) throw this.#failure
    return state.share()
  }

  /** The first stream has failed: no other begins. */
  fail(error: unknown): void {
    this.#fail(error)
  }

  /** Frees the state once it is there. All streams have begun, or none will. */
  [Symbol.dispose](): void {
    this.#isDisposed = true
    this.#settle(undefined)
    this.#state.then(
      (state) => state?.dispose(),
      () => {},
    )
  }

  readonly #take: MomentReceiver = (state, failure) => {
    this.#failure = failure
    if (this.#isDisposed) state?.dispose()
    else this.#settle(state)
  }
}

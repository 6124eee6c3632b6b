// What a session remembers, and the streams that change it.

import { onAbort, reasonOf, type Signal } from '../support/abort.js'
import type { Engine } from '../engine/engine.js'
import type { SequenceState } from '../engine/sequence-state.js'
import type { Snapshot } from '../engine/snapshot.js'
import type { EngineStream, StreamOptions, StreamSettings } from '../engine/stream.js'
import { DisposedError, InsufficientMemoryError } from '../support/errors.js'
import type { Begun, KeptState } from '../generation/generate.js'
import { TokenHistory } from '../engine/token-history.js'
import { concatenated } from '../support/token-ids.js'

const NO_TOKENS = new Uint32Array(0)
const NO_STOPS: ReadonlySet<number> = new Set()

/** A state, the tokens that led to it, and what runs it: one stream at a time. */
export class SessionSequence {
  readonly state: SequenceState
  /** Of all tokens, the pending one too. */
  history: TokenHistory
  readonly #engine: Engine
  /** The last of `history`, where the state has not consumed it. */
  #pending: number | undefined
  #lost: unknown
  #isDisposed = false

  constructor(engine: Engine, state: SequenceState, history: TokenHistory) {
    this.#engine = engine
    this.state = state
    this.history = history
  }

  /** Why the state is of no use any more. */
  get lost(): unknown {
    const { place } = this.state
    return this.#lost ?? (place.kind === 'lost' ? place.error : undefined)
  }

  get isDisposed(): boolean {
    return this.#isDisposed
  }

  /** No stream begins any more, and one that is under way ends with its next token. */
  dispose(): void {
    this.#isDisposed = true
  }

  /** Frees the state. */
  release(): void {
    this.#engine.release(this.state)
  }

  /** Begins anew. */
  forget(): void {
    this.release()
    this.#become(new TokenHistory())
  }

  /** Goes back to what a snapshot holds after these tokens. */
  async restore(snapshot: Snapshot, history: TokenHistory): Promise<void> {
    try {
      await this.#engine.restore(this.state, snapshot)
    } catch (error) {
      this.#lost = error
      throw error
    }
    this.#become(history)
  }

  /**
   * Consumes the token that the last call left. `signal` ends the wait for a slot. Resolves with the stream that has
   * done it, whose place is for what comes next: the caller closes it.
   */
  async settle(operation: string, signal?: Signal): Promise<EngineStream | undefined> {
    const token = this.#pending
    if (token === undefined) return undefined
    const stream = await this.#open(operation, {
      position: this.history.length - 1,
      token,
      signal,
    })
    try {
      await stream.decode()
      this.#pending = undefined
      this.state.hasLogits = true
      return stream
    } catch (error) {
      stream.close()
      this.#loseBy(error)
      throw error
    }
  }

  /** The same, with nothing next. */
  async settleAlone(operation: string): Promise<void> {
    const stream = await this.settle(operation)
    stream?.close()
  }

  /** Starts a generation after `tokens`, in the place of `before`. `onEnd`: all its runs have ended. */
  async begin(
    operation: string,
    tokens: Uint32Array,
    settings: StreamSettings,
    { before, onEnd }: { before: EngineStream | undefined; onEnd: () => void },
  ): Promise<Begun> {
    const kept = this.#kept(operation, tokens, onEnd)
    const options = {
      ...settings,
      history: concatenated(kept.history, tokens),
      generated: tokens.length > 0 ? 0 : this.history.generated,
      // The last one may have to be consumed too: where a stop text ends with it.
      maxTokens: settings.maxTokens + 1,
    }
    const stream = await this.#open(operation, options, before)
    return { stream, kept }
  }

  /** Consumes a prompt, in the place of `before`. */
  async advance(
    tokens: Uint32Array,
    signal: Signal | undefined,
    before: EngineStream | undefined,
  ): Promise<void> {
    const kept = this.#kept('prefill', tokens, () => {})
    const ended = new AbortController()
    const forget = onAbort(signal, () => ended.abort(reasonOf(signal!)))
    try {
      const stream = await this.#open('prefill', { signal: ended.signal }, before)
      try {
        await stream.prefill(tokens, {
          betweenPieces: ended.signal,
          onConsumed: (count) => kept.consumedOfPrompt(count),
        })
        this.state.hasLogits = true
      } catch (error) {
        if (!ended.signal.aborted || error !== ended.signal.reason) this.#loseBy(error)
        throw error
      } finally {
        stream.close()
      }
    } finally {
      forget()
    }
  }

  // In the place of `before`, where that is given.
  async #open(
    operation: string,
    settings: Partial<StreamOptions> & Pick<StreamOptions, 'signal'>,
    before?: EngineStream,
  ): Promise<EngineStream> {
    const options: StreamOptions = {
      state: this.state,
      position: this.history.length,
      history: NO_TOKENS,
      generated: 0,
      maxTokens: 2,
      stopTokens: NO_STOPS,
      alternatives: undefined,
      ...settings,
    }
    const stream = before?.giveWayTo(options) ?? (await this.#engine.open(operation, options))
    if (!this.#isDisposed) return stream
    stream.close()
    throw disposedError(operation)
  }

  #kept(operation: string, prompt: Uint32Array, onEnd: () => void): KeptState {
    let ofPrompt = 0
    let last: number | undefined
    return {
      prompt,
      history: this.history.all(),
      consumedOfPrompt: (count) => {
        this.history.pushPrompt(prompt.subarray(ofPrompt, ofPrompt + count))
        ofPrompt += count
      },
      consumes: (token) => {
        if (this.#isDisposed) throw disposedError(operation)
        this.history.push(token)
        last = token
      },
      leaves: (token) => {
        this.history.push(token)
        this.#pending = token
      },
      ended: (failure) => {
        // The run that was to consume it has not been started.
        if (failure && isShortage(failure.error)) this.#pending = last
        else if (failure) this.#lost = failure.error
        else if (ofPrompt === prompt.length) this.state.hasLogits = true
        onEnd()
      },
    }
  }

  #loseBy(error: unknown): void {
    if (!isShortage(error)) this.#lost = error
  }

  #become(history: TokenHistory): void {
    this.history = history
    this.#pending = undefined
    this.#lost = undefined
  }
}

/** There was no page for what comes next: nothing was started, and what the state holds is whole. */
function isShortage(error: unknown): boolean {
  return error instanceof InsufficientMemoryError
}

export function disposedError(operation: string): Error {
  return new DisposedError(`[${operation}] this session was disposed`)
}

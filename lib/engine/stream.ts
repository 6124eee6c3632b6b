// One sequence that the engine advances, from its first token to its end.

import { reasonOf, type Signal } from '../support/abort.js'
import type { Readback } from '../operations/readback.js'
import type { SequenceState } from './sequence-state.js'
import type { Allowed, Masker, MaskUpload } from './masks.js'
import type { Moments } from './moments.js'
import type { SamplerSettings } from './sampler-settings.js'
import type { TokenReport } from './logprobs.js'

/** How a stream runs. */
export interface StreamOptions {
  /** The state that it goes on from, and leaves; without one it has seen nothing, and what it leaves is freed. */
  state?: SequenceState | undefined
  /** Where it begins, where no state is given, and who wants copies of its state on the way. */
  moments?: Moments | undefined
  /** Tokens that the state has consumed. */
  position: number
  /** The token that the first step consumes, where there is no prompt. */
  token?: number | undefined
  /** How tokens are drawn; the most likely ones without it. */
  sampler?: SamplerSettings | undefined
  /** Tokens before the first one that is drawn, those of the prompt included: what penalties look at. */
  history: Uint32Array
  /** How many of the last ones were generated: what presence and frequency penalties count. */
  generated: number
  /** Tokens to draw at most. */
  maxTokens: number
  /** Tokens that end the sequence: none is drawn after one of them. */
  stopTokens: ReadonlySet<number>
  /** How many alternatives are reported with the log-probability of each token; undefined for neither. */
  alternatives: number | undefined
  /** What may be drawn; without it any token. */
  masker?: Masker | undefined
  /** Ends everything, unless the state is kept: then it only ends the wait for a slot. */
  signal?: Signal | undefined
}

/** What a run has drawn. */
export interface Drawn {
  /** `NO_TOKEN` where a mask allows no more and there is no token that ends the text. */
  token: number
  /** Where the stream asks for them. */
  logprobs: Promise<TokenReport> | undefined
}

export interface PromptOptions {
  /** The most tokens that run through the model at once: fewer where others wait, in multiples of 64. Defaults to 256. */
  chunkSize?: number | undefined
  /** Ends the prompt between two pieces. Rejects with its reason when what was started has ended. */
  betweenPieces?: Signal | undefined
  /** Called with the number of tokens as pieces end. */
  onConsumed?: ((tokens: number) => void) | undefined
}

/** Somebody waits for a token. */
export interface Request {
  resolve(drawn: Drawn): void
  reject(error: unknown): void
}

/** What a call decides of its stream. */
export type StreamSettings = Pick<
  StreamOptions,
  'sampler' | 'maxTokens' | 'stopTokens' | 'masker' | 'alternatives' | 'signal'
>

/** What the engine knows of a stream when it begins. */
interface StreamFacts {
  operation: string
  queueMs: number
  position: number
  room: number
}

/** What a stream needs of the engine that it runs on. */
export interface StreamHost {
  startPrompt(stream: EngineStream, tokens: Uint32Array, options: PromptOptions): Promise<Drawn>
  wantStep(stream: EngineStream): Promise<Drawn>
  drawAgain(stream: EngineStream): Promise<Drawn>
  /** Throws `DisposedError` when the model was disposed of. */
  check(operation: string): void
  /** Opens a stream that takes the place of another. */
  replace(stream: EngineStream, options: StreamOptions): EngineStream
  /** `reason`: what those are told who wait. */
  close(stream: EngineStream, reason: unknown): void
}

/**
 * A stream has a slot from `engine.open` until `close`. Tokens may be asked for before earlier ones are there:
 * the engine runs as many as it can together with those of other streams.
 */
export class EngineStream {
  readonly #engine: StreamHost
  readonly options: StreamOptions
  readonly state: SequenceState
  /** What its errors lead with. */
  readonly operation: string
  /** Milliseconds that the call waited for a slot. */
  readonly queueMs: number
  /** Tokens that its state had consumed when it began. */
  readonly position: number
  /** Tokens that it drew, where somebody wants copies of its state. */
  readonly drawn: number[] = []
  /** Steps that are asked for and not started. */
  readonly wanted: Request[] = []
  /** Tokens that the context has room for after the prompt. */
  readonly room: number
  /** Tokens of its sequence that it has consumed, or will have when what was started has ended. */
  written: number
  /** Steps under way. */
  started = 0
  /** Pieces of its prompt under way. */
  pieces = 0
  /** Its prompt has not been started to its end: no step may be. */
  hasPrompt = false
  /** Grows with each step, over all streams: who has waited longest. */
  lastStep = 0
  /** No token is drawn any more: it drew its last, or failed. */
  isDone = false
  /** Nobody wants what it computes. */
  isDiscarded = false
  /**
   * A run that it needed has failed, or drew no token: what its state holds is not what its tokens give. Runs end in the
   * order in which they were started, so what ended before that is right.
   */
  isBroken = false
  /** Why nothing more comes, where that is no end of its own. */
  failure: unknown
  readback: Readback | undefined
  /** Its logits are kept, or a run that leaves them is under way: a token has to be drawn from them. */
  undrawn: Request | undefined
  /** What that token may be, once it is known. */
  allowed: Allowed | undefined
  upload: MaskUpload | undefined
  #drawn = 0
  #isClosed = false

  /** Use `engine.open`. */
  constructor(
    engine: StreamHost,
    state: SequenceState,
    options: StreamOptions,
    { operation, queueMs, position, room }: StreamFacts,
  ) {
    this.#engine = engine
    this.options = options
    this.state = state
    this.operation = operation
    this.queueMs = queueMs
    this.position = position
    this.written = position
    this.room = room
  }

  /** Whether its state belongs to somebody: then nothing is cut short, and one run is under way at most. */
  get isKept(): boolean {
    return this.options.state !== undefined
  }

  /** Runs a prompt through the model. Resolves with the token that is drawn after it. */
  prefill(tokens: Uint32Array, options: PromptOptions = {}): Promise<Drawn> {
    return this.#engine.startPrompt(this, tokens, options)
  }

  /** Consumes the token drawn last. Resolves with the next one. */
  decode(): Promise<Drawn> {
    return this.#engine.wantStep(this)
  }

  /** Draws a token from the logits that the state holds; runs nothing else. */
  drawAgain(): Promise<Drawn> {
    return this.#engine.drawAgain(this)
  }

  /** A token was drawn. Returns whether it is the last. */
  countDrawn(token: number): boolean {
    this.#drawn += 1
    if (this.options.moments) this.drawn.push(token)
    this.isDone ||= this.#drawn === this.options.maxTokens || this.options.stopTokens.has(token)
    return this.isDone
  }

  /** Nothing more will come: whoever waits for a step that was not started is told. */
  end(failure?: unknown): void {
    this.isDone = true
    this.failure ??= failure
    const waiting = [this.undrawn, ...this.wanted.splice(0)]
    this.undrawn = undefined
    for (const request of waiting) request?.reject(failure ?? endedError())
  }

  /** Throws `DisposedError` when the model was disposed of. */
  checkModel(): void {
    this.#engine.check(this.operation)
  }

  /** Ends, and begins another stream in its place, which does not wait for one. */
  giveWayTo(options: StreamOptions): EngineStream {
    this.#isClosed = true
    return this.#engine.replace(this, options)
  }

  /** Gives the slot back, or leaves it to the state. Ends what is under way, unless the state is kept. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    const { signal } = this.options
    this.#engine.close(this, signal?.aborted ? reasonOf(signal) : endedError())
  }
}

/** Where a stream runs. */
export function slotOf({ state }: EngineStream): number {
  if (state.place.kind === 'slot') return state.place.slot
  throw state.place.kind === 'lost' ? state.place.error : new Error('[engine] a stream has no slot')
}

/** What a step is told that was asked for beyond the end. */
export const endedError = (): Error => new DOMException('This stream has ended', 'AbortError')

// One engine a model: it owns the memory of all sequences and decides which rows run next. Streams join and leave
// between tokens; one pass over the weights serves up to 32 of them. Prompts run in pieces, one between two steps.

import { onAbort, throwIfAborted } from '../support/abort.js'
import type { CommandList } from '../operations/device.js'
import { leavesAMixture } from '../operations/run-errors.js'
import { DisposedError, InsufficientMemoryError } from '../support/errors.js'
import type { LanguageModel } from '../models/language-model.js'
import { Admission } from './admission.js'
import { runBeginning } from './beginning.js'
import { checkContext, type ContextLimits, UNLIMITED } from './context.js'
import { EngineLists } from './lists.js'
import type { Moment } from './moments.js'
import type { PageMemory, UsedPage } from './paged-cache.js'
import { type OnRunFailed, wasCut } from './runs-in-flight.js'
import { Scheduler } from './scheduler.js'
import { SlotAllocator } from './slot-allocator.js'
import type { SequencePages } from './sequence-pages.js'
import { SequenceState } from './sequence-state.js'
import type { Snapshot } from './snapshot.js'
import {
  type Drawn,
  endedError,
  EngineStream,
  type PromptOptions,
  type StreamOptions,
} from './stream.js'

export interface EngineOptions {
  /** Streams that have a slot at once. */
  maxStreams: number
  /** Calls that wait for one. */
  maxQueue: number
  /** Of models that keep something of each position; others have no limit. */
  context?: ContextLimits | undefined
}

/** In bytes. */
export interface EngineMemory {
  slots: number
  /** Scratch memory: of the passes, and of the kernels of all lists. */
  workspace: number
  /** What is kept of positions; undefined for models whose state has a fixed size. */
  pages: PageMemory | undefined
}

/** What is known of a stream when it has a place. */
interface Opened {
  operation: string
  queueMs: number
  /** What it begins with, in the place of nothing. */
  beginning: Moment | undefined
}

export class Engine {
  readonly model: LanguageModel
  readonly context: ContextLimits
  /** Frees pages that are only kept for later; returns false where there are none. */
  freePages: () => boolean = () => false
  readonly #lists: EngineLists
  readonly #allocator: SlotAllocator
  readonly #admission: Admission
  readonly #scheduler: Scheduler
  /** Stop listening to the signals of streams. */
  readonly #forgets = new Map<EngineStream, () => void>()
  /** Tell streams that wait for a page to begin with that another one has ended. */
  readonly #awaitEnd = new Set<() => void>()
  readonly #maxStreams: number
  #isDisposed = false

  constructor(model: LanguageModel, options: EngineOptions) {
    this.model = model
    this.#maxStreams = options.maxStreams
    this.context = options.context ?? UNLIMITED
    this.#lists = new EngineLists(model)
    const sizes = { maxSlots: options.maxStreams, maxPageBytes: this.context.maxBytes }
    this.#allocator = new SlotAllocator(model, sizes, {
      newPool: () => this.#lists.forget(),
      poolLost: (error) => this.#poolLost(error),
      freePages: () => this.freePages(),
    })
    this.#scheduler = new Scheduler(this.#lists, this.#allocator, (...failed) =>
      this.#failed(...failed),
    )
    this.#admission = new Admission(options.maxStreams, options.maxQueue)
  }

  /** Streams that have a slot at once. */
  get maxStreams(): number {
    return this.#maxStreams
  }

  get memory(): EngineMemory {
    const { bytes: slots, pages } = this.#allocator
    return { slots, workspace: this.#lists.bytes, pages: pages.memory }
  }

  /** Slots that have been allocated, and streams and calls that there are. */
  get load(): { slots: number; streams: number; waiting: number; runs: number } {
    return {
      slots: this.#allocator.slots,
      streams: this.#scheduler.streams.size,
      waiting: this.#admission.waiting,
      runs: this.#scheduler.runs,
    }
  }

  /** Compiles what prompts and single streams need on a GPU; nothing is run. */
  prepare(): Promise<void> {
    return this.#lists.prepare(this.#allocator.pools)
  }

  /** Allocates the memory of one sequence. */
  reserve(): void {
    void this.#allocator.pools
  }

  /**
   * What prompts of more than a chunk and one stream run, recorded and not run: the lists of a prompt and of a step.
   * The caller disposes of them.
   */
  plan(): CommandList[] {
    return this.#lists.plan(this.#allocator.pools)
  }

  /**
   * A place for a sequence. Waits while `maxStreams` others run; rejects with `QueueFullError` where too many wait,
   * and with the reason of `options.signal`.
   */
  async open(operation: string, options: StreamOptions): Promise<EngineStream> {
    this.check(operation)
    this.#checkBeginning(operation, options)
    const start = performance.now()
    await this.#admission.enter(operation, options.signal)
    const queueMs = performance.now() - start
    // They are ahead of this stream on the device too.
    const copies = options.moments?.ready()
    if (copies) await copies
    const beginning = options.moments?.beginning()
    const snapshot = beginning?.snapshot.share() // it may be evicted while this waits
    try {
      return await this.#openWithPages(options, { operation, queueMs, beginning })
    } finally {
      snapshot?.dispose()
    }
  }

  /** @internal Of `EngineStream`. */
  replace(stream: EngineStream, options: StreamOptions): EngineStream {
    this.#end(stream, endedError())
    const { operation, queueMs } = stream
    try {
      return this.#openInside(options, { operation, queueMs, beginning: undefined })
    } catch (error) {
      this.#admission.leave()
      throw error
    }
  }

  /** @internal Of `EngineStream`. */
  startPrompt(stream: EngineStream, tokens: Uint32Array, options: PromptOptions): Promise<Drawn> {
    return this.#scheduler.startPrompt(stream, tokens, options)
  }

  /** @internal Of `EngineStream`. */
  wantStep(stream: EngineStream): Promise<Drawn> {
    return this.#scheduler.wantStep(stream)
  }

  /** @internal Of `EngineStream`. */
  drawAgain(stream: EngineStream): Promise<Drawn> {
    return this.#scheduler.wantDraw(stream)
  }

  /** @internal Of `EngineStream`. */
  close(stream: EngineStream, reason: unknown): void {
    if (this.#end(stream, reason)) this.#admission.leave()
    this.#giveBack()
  }

  /** A copy of what a state holds, which nobody runs. `position`: tokens that it has consumed. */
  async snapshot(state: SequenceState, position: number): Promise<Snapshot> {
    return this.#allocator.snapshot(state, position)
  }

  /** Makes a state, which nobody runs, what a snapshot holds; that stays as it is. */
  async restore(state: SequenceState, snapshot: Snapshot): Promise<void> {
    await this.#allocator.restore(state, snapshot)
  }

  /** The pages of a snapshot, to be copied elsewhere at once: with what is recorded next. */
  usedPages(snapshot: Snapshot): UsedPage[] {
    return this.#allocator.pages.used(snapshot)
  }

  /**
   * Gives a snapshot pages for `position` positions, of which `record` records what each holds. Rejects with
   * `InsufficientMemoryError` where there are none.
   */
  fillPages(...filled: Parameters<SequencePages['fill']>): Promise<void> {
    return this.#allocator.pages.fill(...filled)
  }

  /** Frees what a state has. */
  release(state: SequenceState): void {
    this.#allocator.release(state)
    this.#giveBack()
  }

  /** Frees the memory of all sequences. Streams reject with `DisposedError`. */
  dispose(): void {
    if (this.#isDisposed) return
    this.#isDisposed = true
    this.#admission.close(disposedError)
    for (const stream of this.#scheduler.streams) {
      this.#scheduler.fail(stream, disposedError(stream.operation))
    }
    this.#hasEnded()
    this.#lists.dispose()
    this.#allocator.dispose()
  }

  /** Throws `ContextLengthError` where a sequence of so many tokens does not fit. */
  checkContext(operation: string, tokens: number): void {
    checkContext(operation, tokens, this)
  }

  /** Throws `DisposedError` after `dispose`, and when the device was disposed. */
  check(operation: string): void {
    if (this.#isDisposed) throw disposedError(operation)
    void this.model.device.handle
  }

  #giveBack(): void {
    if (this.#scheduler.streams.size === 0 && !this.#isDisposed) this.#allocator.pages.giveBack()
  }

  // A text needs one token after its prompt.
  #checkBeginning(operation: string, { history }: StreamOptions): void {
    if (history.length > 0) this.checkContext(operation, history.length + 1)
  }

  // Gives the place back where it cannot. Where there is no page to begin with, it waits for others to end.
  async #openWithPages(options: StreamOptions, opened: Opened): Promise<EngineStream> {
    for (;;) {
      try {
        return this.#openInside(options, opened)
      } catch (error) {
        const mayWait = error instanceof InsufficientMemoryError && this.#scheduler.streams.size > 0
        if (!mayWait) {
          this.#admission.leave()
          throw error
        }
        await this.#anotherEnds(options.signal)
      }
    }
  }

  #openInside(options: StreamOptions, { operation, queueMs, beginning }: Opened): EngineStream {
    this.check(operation)
    throwIfAborted(options.signal)
    this.#checkBeginning(operation, options)
    const state = options.state ?? new SequenceState()
    const { position } = beginning ?? options
    const room = this.context.maxContext - options.history.length
    const facts = { operation, queueMs, position, room }
    const stream = new EngineStream(this, state, endingInside(room, options), facts)
    this.#begin(stream, beginning?.snapshot)
    this.#scheduler.add(stream)
    if (!stream.isKept) this.#endOnAbort(stream)
    return stream
  }

  async #anotherEnds(signal: StreamOptions['signal']): Promise<void> {
    let forget = () => {}
    await new Promise<void>((resolve) => {
      this.#awaitEnd.add(resolve)
      forget = onAbort(signal, resolve)
    })
    forget()
  }

  // Streams that wait for others to end look again.
  #hasEnded(): void {
    const waiting = [...this.#awaitEnd]
    this.#awaitEnd.clear()
    for (const look of waiting) look()
  }

  // Returns whether it had a place.
  #end(stream: EngineStream, reason: unknown): boolean {
    stream.end(reason)
    stream.readback?.dispose()
    stream.upload?.dispose()
    this.#forgets.get(stream)?.()
    this.#forgets.delete(stream)
    const wasThere = this.#scheduler.remove(stream, reason)
    if (stream.isKept) this.#allocator.rest(stream.state)
    else this.#allocator.release(stream.state)
    this.#hasEnded()
    return wasThere
  }

  #endOnAbort(stream: EngineStream): void {
    const { signal } = stream.options
    if (!signal) return
    this.#forgets.set(
      stream,
      // At once: whoever reads it may never come back.
      onAbort(signal, () => stream.close()),
    )
  }

  // Brings the state to a slot, with what sampling needs. One run, in front of the stream's first.
  #begin(stream: EngineStream, from: Snapshot | undefined): void {
    const { state, options } = stream
    const { sampler, stopTokens } = options
    const needs = {
      stops: stopTokens.size,
      recent: sampler?.recent ?? 0,
      biases: (sampler?.biases.length ?? 0) / 2,
    }
    const { slot, fill } = this.#allocator.acquire(state, needs, {
      from,
      touches: this.#scheduler.someoneDecodes,
    })
    this.#scheduler.hasTakenTurn()
    const { pools } = this.#allocator
    try {
      const run = runBeginning(this.model.device, pools, stream, { slot, fill })
      void run.then(
        () => from?.letGo(),
        (error: unknown) => this.#failed(error, [stream], pools),
      )
    } catch (error) {
      this.#allocator.lose(state, error)
      throw error
    }
  }

  // A run of these streams was rejected.
  #failed(...[error, streams, pools]: Parameters<OnRunFailed>): void {
    for (const stream of streams) {
      stream.isBroken ||= !wasCut(error)
      this.#scheduler.fail(stream, error)
    }
    if (leavesAMixture(error)) this.#allocator.losePool(error, pools)
  }

  #poolLost(error: unknown): void {
    this.#lists.renew()
    for (const stream of this.#scheduler.streams) {
      stream.isBroken = true
      this.#scheduler.fail(stream, error)
    }
  }
}

// The token that fills the context is consumed where a state is kept, and one more is drawn then.
function endingInside(room: number, options: StreamOptions): StreamOptions {
  return options.maxTokens <= room + 1 ? options : { ...options, maxTokens: room + 1 }
}

function disposedError(operation: string): Error {
  return new DisposedError(`[${operation}] this model was disposed`)
}

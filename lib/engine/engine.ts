// One engine a model: it owns the memory of all sequences and decides which rows run next. Streams join and leave
// between tokens; one pass over the weights serves up to 32 of them. Prompts run in pieces, one between two steps.

import { onAbort, reasonOf, throwIfAborted } from '../abort.js'
import type { CommandList, ListRunResult } from '../command-list.js'
import { DisposedError } from '../errors.js'
import type { LanguageModel } from '../models/language-model.js'
import { Readback } from '../readback.js'
import { drawnToken } from '../sampler.js'
import { NO_SLOT, SAMPLE_STATUS } from '../recorder.js'
import { Admission } from './admission.js'
import { runBeginning } from './beginning.js'
import { EngineLists } from './lists.js'
import { recordDrawing } from './recordings.js'
import { type Piece, type Prompt, Prompts } from './prompts.js'
import { Seats } from './seats.js'
import { SequenceState } from './sequence-state.js'
import type { Snapshot } from './snapshot.js'
import {
  type Drawn,
  endedError,
  EngineStream,
  type PromptOptions,
  type Request,
  type StreamOptions,
} from './stream.js'

/** Runs that are under way at once: a GPU never waits for JavaScript. */
export const RUNS_IN_FLIGHT = 2

export interface EngineOptions {
  /** Streams that have a slot at once. */
  maxStreams: number
  /** Calls that wait for one. */
  maxQueue: number
}

/** In bytes. */
export interface EngineMemory {
  slots: number
  /** Scratch memory: of the passes, and of the kernels of all lists. */
  workspace: number
}

/** A run under way. */
interface Running {
  streams: readonly EngineStream[]
  cut: AbortController
}

export class Engine {
  readonly model: LanguageModel
  readonly #lists: EngineLists
  readonly #seats: Seats
  readonly #admission: Admission
  readonly #streams = new Set<EngineStream>()
  readonly #prompts = new Prompts()
  readonly #running = new Set<Running>()
  #isScheduled = false
  #lastWasPiece = false
  #steps = 0
  /** When the last run ended. */
  #lastEnd = 0
  #isDisposed = false

  constructor(model: LanguageModel, options: EngineOptions) {
    this.model = model
    this.#lists = new EngineLists(model)
    this.#seats = new Seats(model, options.maxStreams, {
      newPool: () => this.#lists.forget(),
      failed: (error) => this.#failed(error, []),
    })
    this.#admission = new Admission(options.maxStreams, options.maxQueue)
  }

  get memory(): EngineMemory {
    return { slots: this.#seats.bytes, workspace: this.#lists.bytes }
  }

  /** Slots that have been allocated, and streams and calls that there are. */
  get load(): { slots: number; streams: number; waiting: number; runs: number } {
    return {
      slots: this.#seats.slots,
      streams: this.#streams.size,
      waiting: this.#admission.waiting,
      runs: this.#running.size,
    }
  }

  /** Compiles what prompts and single streams need on a GPU; nothing is run. */
  prepare(): Promise<void> {
    return this.#lists.prepare(this.#seats.pools)
  }

  /** Allocates the memory of one sequence. */
  reserve(): void {
    void this.#seats.pools
  }

  /**
   * What prompts of more than a chunk and one stream run, recorded and not run: the lists of a prompt and of a step.
   * The caller disposes of them.
   */
  plan(): CommandList[] {
    return this.#lists.plan(this.#seats.pools)
  }

  /**
   * A place for a sequence. Waits while `maxStreams` others run; rejects with `QueueFullError` where too many wait,
   * and with the reason of `options.signal`.
   */
  async open(operation: string, options: StreamOptions): Promise<EngineStream> {
    this.check(operation)
    const start = performance.now()
    await this.#admission.enter(operation, options.signal)
    try {
      this.check(operation)
      throwIfAborted(options.signal)
      const state = options.state ?? new SequenceState()
      const queueMs = performance.now() - start
      const stream = new EngineStream(this, state, options, { operation, queueMs })
      this.#begin(stream)
      this.#streams.add(stream)
      if (!stream.isKept) this.#endOnAbort(stream)
      return stream
    } catch (error) {
      this.#admission.leave()
      throw error
    }
  }

  /** @internal Of `EngineStream`. */
  startPrompt(stream: EngineStream, tokens: Uint32Array, options: PromptOptions): Promise<Drawn> {
    return new Promise((resolve, reject) => {
      if (stream.isDone) return reject(stream.failure ?? endedError())
      this.#lists.preparePieces(this.#seats.pools, tokens.length, options.chunkSize)
      stream.hasPrompt = true
      this.#prompts.add({ stream, tokens, options, started: 0, resolve, reject } satisfies Prompt)
      this.#schedule()
    })
  }

  /** @internal Of `EngineStream`. */
  wantStep(stream: EngineStream): Promise<Drawn> {
    return new Promise((resolve, reject) => {
      if (stream.isDone) return reject(stream.failure ?? endedError())
      stream.wanted.push({ resolve, reject })
      this.#schedule()
    })
  }

  /** @internal Of `EngineStream`. */
  async drawAgain(stream: EngineStream): Promise<Drawn> {
    const { pools } = this.#seats
    using list = recordDrawing(this.model, pools, slotOf(stream))
    const run = list.run()
    const logits = this.#readLogits(stream)
    const { outputs } = await run.catch((error: unknown) => {
      this.#failed(error, [stream])
      throw error
    })
    const token = drawnToken(outputs.report!)
    stream.countDrawn(token)
    return { token, logits }
  }

  /** @internal Of `EngineStream`. */
  close(stream: EngineStream, reason: unknown): void {
    stream.end(reason)
    stream.readback?.dispose()
    this.#forgets.get(stream)?.()
    this.#forgets.delete(stream)
    if (stream.isKept) {
      this.#seats.rest(stream.state)
    } else {
      stream.isDiscarded = true
      const prompt = this.#prompts.of(stream)
      if (prompt) this.#endPrompt(prompt, reason)
      this.#cutDiscarded()
      this.#seats.release(stream.state)
    }
    if (this.#streams.delete(stream)) this.#admission.leave()
    this.#schedule()
  }

  /** A copy of what a state holds, which nobody runs. */
  async snapshot(state: SequenceState): Promise<Snapshot> {
    return this.#seats.snapshot(state)
  }

  /** Makes a state, which nobody runs, what a snapshot holds; that stays as it is. */
  async restore(state: SequenceState, snapshot: Snapshot): Promise<void> {
    await this.#seats.restore(state, snapshot)
  }

  /** Frees what a state has. */
  release(state: SequenceState): void {
    this.#seats.release(state)
  }

  /** Frees the memory of all sequences. Streams reject with `DisposedError`. */
  dispose(): void {
    if (this.#isDisposed) return
    this.#isDisposed = true
    this.#admission.close(disposedError)
    for (const stream of this.#streams) this.#fail(stream, disposedError(stream.operation))
    this.#lists.dispose()
    this.#seats.dispose()
  }

  readonly #forgets = new Map<EngineStream, () => void>()

  /** Throws `DisposedError` after `dispose`, and when the device was disposed. */
  check(operation: string): void {
    if (this.#isDisposed) throw disposedError(operation)
    void this.model.device.handle
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
  #begin(stream: EngineStream): void {
    const { state, options } = stream
    const needs = { stops: options.stopTokens.size, recent: options.sampler?.recent ?? 0 }
    const { slot, fill } = this.#seats.seat(state, needs, options.from)
    try {
      const run = runBeginning(this.model.device, this.#seats.pools, stream, { slot, fill })
      run.catch((error: unknown) => this.#failed(error, [stream]))
    } catch (error) {
      this.#seats.lose(state, error)
      throw error
    }
  }

  // Not at once: whoever has just got a token may ask for the next one, and all of them run together.
  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#pump()
    })
  }

  #pump(): void {
    for (const prompt of this.#prompts.aborted()) {
      this.#endPrompt(prompt, reasonOf(prompt.options.betweenPieces!))
    }
    while (this.#running.size < RUNS_IN_FLIGHT) {
      const rows = this.#rowsReady()
      const mayPiece = rows.length === 0 || !this.#lastWasPiece
      const piece = mayPiece ? this.#prompts.next(this.#someoneDecodes()) : undefined
      if (!piece && rows.length === 0) return
      try {
        if (piece) this.#startPiece(piece)
        else this.#startStep(rows)
      } catch (error) {
        // There was no memory to record it.
        for (const stream of piece ? [piece.prompt.stream] : rows) this.#fail(stream, error)
      }
      this.#lastWasPiece = piece !== undefined
    }
  }

  #someoneDecodes(): boolean {
    for (const { wanted, started, hasPrompt } of this.#streams) {
      if (!hasPrompt && (wanted.length > 0 || started > 0)) return true
    }
    return false
  }

  // Those that have waited longest first. Streams that keep one run ahead step together: one that is under way holds
  // the others back, or each would have a pass of the weights for itself for ever.
  #rowsReady(): EngineStream[] {
    const keptRuns = [...this.#streams].some(({ isKept, started }) => isKept && started > 0)
    const ready = [...this.#streams].filter(
      ({ wanted, started, hasPrompt, isDone, isKept }) =>
        wanted.length > 0 &&
        !hasPrompt &&
        !isDone &&
        started < RUNS_IN_FLIGHT &&
        !(isKept && keptRuns),
    )
    return ready.sort((a, b) => a.lastStep - b.lastStep)
  }

  #startStep(ready: readonly EngineStream[]): void {
    const { list, width } = this.#lists.step(this.#seats.pools, ready.length)
    const streams = ready.slice(0, width)
    const slots = new Uint32Array(width).fill(NO_SLOT)
    for (const [i, stream] of streams.entries()) slots[i] = slotOf(stream)
    const run = this.#start(list, streams, { slots })
    this.#steps += 1
    const requests = streams.map((stream) => {
      stream.lastStep = this.#steps
      stream.state.hasLogits = false
      stream.started += 1
      return { stream, request: stream.wanted.shift()!, logits: this.#readLogits(stream) }
    })
    void run.then(
      ({ outputs }) => {
        for (const [row, { stream, request, logits }] of requests.entries()) {
          stream.started -= 1
          this.#give(stream, request, outputs, { row, logits })
        }
      },
      (error: unknown) => {
        for (const { stream, request } of requests) {
          stream.started -= 1
          request.reject(stream.failure ?? error)
        }
        this.#failed(error, streams)
      },
    )
  }

  #startPiece({ prompt, first, length, isLast }: Piece): void {
    const { stream, options } = prompt
    const list = this.#lists.piece(this.#seats.pools, { length, isLast })
    const tokens = prompt.tokens.subarray(first, first + length)
    const run = this.#start(list, [stream], { slots: Uint32Array.of(slotOf(stream)), tokens })
    const logits = isLast ? this.#readLogits(stream) : undefined
    if (isLast) stream.hasPrompt = false
    stream.state.hasLogits = false
    stream.pieces += 1
    void run.then(
      ({ outputs, milliseconds }) => {
        stream.pieces -= 1
        this.#prompts.measured(length, milliseconds)
        options.onConsumed?.(length)
        if (!isLast) return
        this.#removePrompt(prompt)
        this.#give(stream, prompt, outputs, { row: 0, logits })
      },
      (error: unknown) => {
        stream.pieces -= 1
        this.#endPrompt(prompt, stream.failure ?? error)
        this.#failed(error, [stream])
      },
    )
  }

  // A run may be cut short once nobody wants what any of its rows computes.
  async #start(
    list: CommandList,
    streams: readonly EngineStream[],
    inputs: Record<string, Uint32Array>,
  ): Promise<ListRunResult & { milliseconds: number }> {
    const running = { streams, cut: new AbortController() }
    this.#running.add(running)
    const start = performance.now()
    try {
      const { outputs } = await list.run({ inputs, signal: running.cut.signal })
      // It waited for the one before it.
      const begin = Math.max(start, this.#lastEnd)
      this.#lastEnd = performance.now()
      return { outputs, milliseconds: this.#lastEnd - begin }
    } finally {
      this.#running.delete(running)
      this.#schedule()
    }
  }

  #cutDiscarded(): void {
    for (const { streams, cut } of this.#running) {
      if (streams.every(({ isDiscarded }) => isDiscarded)) cut.abort()
    }
  }

  // Row `row` of a report to whoever waits for it.
  #give(
    stream: EngineStream,
    { resolve, reject }: Pick<Request, 'resolve' | 'reject'>,
    { report }: ListRunResult['outputs'],
    { row, logits }: { row: number; logits: Drawn['logits'] },
  ): void {
    if (stream.isDiscarded || report![2 * row + 1] === SAMPLE_STATUS.skipped) {
      reject(stream.failure ?? endedError())
      return
    }
    try {
      const token = drawnToken(report!, row)
      if (stream.countDrawn(token)) stream.end()
      resolve({ token, logits })
    } catch (error) {
      reject(error)
      stream.end(error)
    }
  }

  // Those of the run that was started last.
  #readLogits(stream: EngineStream): Drawn['logits'] {
    if (!stream.options.readsLogits) return undefined
    const source = this.#seats.pools.sampling.kept.at(slotOf(stream))
    if (stream.readback?.source.memory !== source.memory) {
      stream.readback?.dispose()
      stream.readback = new Readback(this.model.device, source)
    }
    const logits = stream.readback.read() as Promise<Float32Array>
    logits.catch(() => {})
    return logits
  }

  // A run of these streams was rejected.
  #failed(error: unknown, streams: readonly EngineStream[]): void {
    const isLost = this.#seats.failed(error)
    if (isLost) this.#lists.renew()
    for (const stream of isLost ? [...this.#streams] : streams) this.#fail(stream, error)
  }

  #fail(stream: EngineStream, error: unknown): void {
    stream.end(error)
    const prompt = this.#prompts.of(stream)
    if (prompt) this.#endPrompt(prompt, error)
  }

  #endPrompt(prompt: Prompt, error: unknown): void {
    this.#removePrompt(prompt)
    prompt.reject(error)
  }

  #removePrompt(prompt: Prompt): void {
    this.#prompts.remove(prompt)
    if (this.#prompts.isEmpty) this.#lists.forgetPieces()
  }
}

function slotOf({ state }: EngineStream): number {
  if (state.place.kind === 'slot') return state.place.slot
  throw state.place.kind === 'lost' ? state.place.error : new Error('[engine] a stream has no slot')
}

function disposedError(operation: string): Error {
  return new DisposedError(`[${operation}] this model was disposed`)
}

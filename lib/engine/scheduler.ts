// Which runs come next: steps of the rows that are ready, and pieces of prompts between them.

import { reasonOf } from '../abort.js'
import type { CommandList, ListRunResult } from '../command-list.js'
import { NO_SLOT, SAMPLE_STATUS } from '../recorder.js'
import { drawnToken, NO_TOKEN } from '../sampler.js'
import { type EngineLists, MOST_ROWS } from './lists.js'
import { type Allowed, MaskUpload } from './masks.js'
import type { MomentPlace } from './moments.js'
import { type Piece, type Prompt, Prompts } from './prompts.js'
import type { Ending } from './recordings.js'
import { readLogprobs } from './reports.js'
import type { Pools, Seats } from './seats.js'
import {
  type Drawn,
  endedError,
  type EngineStream,
  type PromptOptions,
  type Request,
  slotOf,
} from './stream.js'

/** Runs that are under way at once: a GPU never waits for JavaScript. */
export const RUNS_IN_FLIGHT = 2

/** A run under way. */
interface Running {
  streams: readonly EngineStream[]
  cut: AbortController
  /** It runs no layer: nothing waits for it. */
  isDraw: boolean
}

/** A run of these streams was rejected, in these pools: there may be new ones since. */
export type OnRunFailed = (error: unknown, streams: readonly EngineStream[], pools: Pools) => void

/** Runs the streams that were added, until they are removed. */
export class Scheduler {
  readonly #lists: EngineLists
  readonly #seats: Seats
  readonly #onFailed: OnRunFailed
  readonly #streams = new Set<EngineStream>()
  readonly #prompts = new Prompts()
  readonly #running = new Set<Running>()
  #isScheduled = false
  #lastWasPiece = false
  #steps = 0
  /** When the last run ended. */
  #lastEnd = 0

  constructor(lists: EngineLists, seats: Seats, onFailed: OnRunFailed) {
    this.#lists = lists
    this.#seats = seats
    this.#onFailed = onFailed
  }

  get streams(): ReadonlySet<EngineStream> {
    return this.#streams
  }

  /** Runs under way. */
  get runs(): number {
    return this.#running.size
  }

  add(stream: EngineStream): void {
    this.#streams.add(stream)
  }

  /** Nobody wants more of it: what only it needs is cut short, unless its state is kept. Returns whether it was there. */
  remove(stream: EngineStream, reason: unknown): boolean {
    if (!stream.isKept) {
      stream.isDiscarded = true
      const prompt = this.#prompts.of(stream)
      if (prompt) this.#endPrompt(prompt, reason)
      this.#cutDiscarded()
    }
    this.#schedule()
    return this.#streams.delete(stream)
  }

  /** A run that was started elsewhere takes long, as a piece of a prompt does: a step comes before the next one. */
  hasTakenTurn(): void {
    this.#lastWasPiece = true
  }

  /** Whoever waits for it is told why it ends. */
  fail(stream: EngineStream, error: unknown): void {
    stream.end(error)
    const prompt = this.#prompts.of(stream)
    if (prompt) this.#endPrompt(prompt, error)
  }

  startPrompt(stream: EngineStream, tokens: Uint32Array, options: PromptOptions): Promise<Drawn> {
    return new Promise((resolve, reject) => {
      if (stream.isDone) return reject(stream.failure ?? endedError())
      const { pools } = this.#seats
      const ready = this.#lists.preparePieces(pools, {
        tokens: tokens.length,
        ending: endingOf([stream]),
        chunkSize: options.chunkSize,
      })
      stream.hasPrompt = true
      const { masker } = stream.options
      if (masker) this.#awaitMask(stream, masker.first())
      const add = () => {
        if (stream.isDone) return reject(stream.failure ?? endedError())
        const {
          position,
          options: { moments },
        } = stream
        const cuts = moments?.cuts(position).map((end) => end - position) ?? []
        this.#prompts.add({ stream, tokens, options, cuts, started: 0, resolve, reject })
        this.#schedule()
      }
      // A GPU that compiles on the way would hold up everybody else.
      if (ready && this.someoneDecodes) void ready.then(add)
      else add()
    })
  }

  /** A token from the logits that the stream's slot keeps. */
  wantDraw(stream: EngineStream): Promise<Drawn> {
    return new Promise((resolve, reject) => {
      if (stream.isDone) return reject(stream.failure ?? endedError())
      stream.undrawn = { resolve, reject }
      const { masker } = stream.options
      if (masker) this.#awaitMask(stream, masker.first())
      this.#schedule()
    })
  }

  wantStep(stream: EngineStream): Promise<Drawn> {
    return new Promise((resolve, reject) => {
      if (stream.isDone) return reject(stream.failure ?? endedError())
      stream.wanted.push({ resolve, reject })
      this.#schedule()
    })
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
    this.#startDraws()
    while (this.#passes < RUNS_IN_FLIGHT) {
      const rows = this.#holdsBack ? [] : this.#rowsReady()
      const mayPiece = rows.length === 0 || !this.#lastWasPiece
      const piece = mayPiece ? this.#prompts.next(this.someoneDecodes) : undefined
      if (!piece && rows.length === 0) return
      try {
        if (piece) this.#startPiece(piece)
        else this.#startStep(rows)
      } catch (error) {
        // There was no memory to record it.
        for (const stream of piece ? [piece.prompt.stream] : rows) this.fail(stream, error)
      }
      this.#lastWasPiece = piece !== undefined
      this.#startDraws()
    }
  }

  // Masks come one by one while a pass runs. Whoever has one waits for the others until that pass ends, or there would
  // be a pass for each.
  get #holdsBack(): boolean {
    return this.#passes > 0 && [...this.#streams].some(({ undrawn, isDone }) => undrawn && !isDone)
  }

  // Runs under way but those that only draw.
  get #passes(): number {
    return [...this.#running].filter(({ isDraw }) => !isDraw).length
  }

  /** Whether somebody waits for a token. */
  get someoneDecodes(): boolean {
    for (const { wanted, started, undrawn, hasPrompt } of this.#streams) {
      if (!hasPrompt && (wanted.length > 0 || started > 0 || undrawn)) return true
    }
    return false
  }

  // Those that have waited longest first. Streams that keep one run ahead step together: one that is under way holds
  // the others back, or each would have a pass of the weights for itself for ever.
  #rowsReady(): EngineStream[] {
    const keptRuns = [...this.#streams].some(({ isKept, started }) => isKept && started > 0)
    const ready = [...this.#streams].filter(
      ({ wanted, started, undrawn, hasPrompt, isDone, isKept }) =>
        wanted.length > 0 &&
        !hasPrompt &&
        !isDone &&
        !undrawn &&
        started < RUNS_IN_FLIGHT &&
        !(isKept && keptRuns),
    )
    return ready.sort((a, b) => a.lastStep - b.lastStep)
  }

  #startStep(ready: readonly EngineStream[]): void {
    const { pools } = this.#seats
    const first = ready.slice(0, MOST_ROWS)
    const ending = endingOf(first)
    const { list, width } = this.#lists.step(pools, first.length, ending)
    const streams = ready.slice(0, width)
    const slots = new Uint32Array(width).fill(NO_SLOT)
    for (const [i, stream] of streams.entries()) slots[i] = slotOf(stream)
    const run = this.#start(list, streams, { slots })
    this.#steps += 1
    const requests = streams.map((stream) => {
      stream.lastStep = this.#steps
      stream.state.hasLogits = false
      stream.started += 1
      const request = stream.wanted.shift()!
      if (ending === 'keep') stream.undrawn = request
      const logprobs = ending === 'keep' ? undefined : readLogprobs(this.#seats, stream)
      return { stream, request, logprobs }
    })
    void run.then(
      ({ outputs }) => {
        for (const [row, { stream, request, logprobs }] of requests.entries()) {
          stream.started -= 1
          if (ending !== 'keep') this.#give(stream, request, outputs, { row, logprobs })
        }
      },
      (error: unknown) => {
        for (const { stream, request } of requests) {
          stream.started -= 1
          request.reject(stream.failure ?? error)
        }
        this.#onFailed(error, streams, pools)
      },
    )
  }

  #startPiece({ prompt, first, length, isLast }: Piece): void {
    const { stream, options } = prompt
    const { pools } = this.#seats
    const ending = isLast ? endingOf([stream]) : 'none'
    const list = this.#lists.piece(pools, { length, ending })
    const tokens = prompt.tokens.subarray(first, first + length)
    const run = this.#start(list, [stream], { slots: Uint32Array.of(slotOf(stream)), tokens })
    const draws = isLast && ending !== 'keep'
    const logprobs = draws ? readLogprobs(this.#seats, stream) : undefined
    if (isLast && !draws) stream.undrawn = prompt
    if (isLast) stream.hasPrompt = false
    stream.state.hasLogits = false
    stream.pieces += 1
    const end = first + length
    if (isLast || prompt.cuts.includes(end)) {
      const place = { prompt: stream.position + end, drawn: [] }
      this.#hold(stream, { place, logits: isLast, run })
    }
    void run.then(
      ({ outputs, milliseconds }) => {
        stream.pieces -= 1
        this.#prompts.measured(length, milliseconds)
        // A piece before it failed, and whoever was told may have begun anew.
        if (this.#prompts.of(stream) !== prompt) return
        options.onConsumed?.(length)
        if (!isLast) return
        this.#removePrompt(prompt)
        if (draws) this.#give(stream, prompt, outputs, { row: 0, logprobs })
      },
      (error: unknown) => {
        stream.pieces -= 1
        this.#endPrompt(prompt, stream.failure ?? error)
        this.#onFailed(error, [stream], pools)
      },
    )
  }

  // Draws for rows that were run forward, as soon as it is known what they may draw. These lists are queued behind the
  // runs that leave the logits.
  #startDraws(): void {
    const waiting = [...this.#streams].filter(({ undrawn, isDone }) => undrawn && !isDone)
    for (const stream of waiting) if (isAtEnd(stream)) this.#endText(stream)
    const ready = waiting.filter(
      ({ undrawn, allowed, options }) => undrawn && (!options.masker || allowed),
    )
    while (ready.length > 0) {
      const rows = ready.splice(0, MOST_ROWS)
      try {
        ready.unshift(...this.#startDraw(rows))
      } catch (error) {
        for (const stream of rows) this.fail(stream, error)
      }
    }
  }

  // Returns those that have to wait for another list.
  #startDraw(rows: readonly EngineStream[]): EngineStream[] {
    const { pools } = this.#seats
    const reports = rows.some(({ options }) => options.alternatives !== undefined)
    const { list, width } = this.#lists.draw(pools, rows.length, { reports })
    const streams = rows.slice(0, width)
    const slots = new Uint32Array(width).fill(NO_SLOT)
    for (const [i, stream] of streams.entries()) {
      slots[i] = slotOf(stream)
      if (stream.allowed) this.#uploadMask(stream, stream.allowed)
    }
    const run = this.#start(list, streams, { slots }, { isDraw: true })
    const requests = streams.map((stream) => {
      const request = stream.undrawn!
      stream.undrawn = undefined
      stream.allowed = undefined
      return { stream, request, logprobs: readLogprobs(this.#seats, stream) }
    })
    void run.then(
      ({ outputs }) => {
        for (const [row, { stream, request, logprobs }] of requests.entries()) {
          this.#give(stream, request, outputs, { row, logprobs })
        }
      },
      (error: unknown) => {
        for (const { stream, request } of requests) request.reject(stream.failure ?? error)
        this.#onFailed(error, streams, pools)
      },
    )
    return rows.slice(width)
  }

  #uploadMask(stream: EngineStream, { mask }: Allowed): void {
    const { pools, device } = this.#seats
    const target = pools.sampling.mask.at(slotOf(stream))
    if (stream.upload?.target.memory !== target.memory) {
      stream.upload?.dispose()
      stream.upload = new MaskUpload(device, target)
    }
    stream.upload!.start(mask).catch((error: unknown) => this.#onFailed(error, [stream], pools))
  }

  #awaitMask(stream: EngineStream, allowed: Promise<Allowed>): void {
    allowed.then(
      (allowed) => {
        stream.allowed = allowed
        this.#schedule()
      },
      (error: unknown) => this.fail(stream, error),
    )
  }

  // What was to be drawn next is the end, for which there is no token.
  #endText(stream: EngineStream): void {
    const request = stream.undrawn
    stream.undrawn = undefined
    stream.end()
    const prompt = stream.options.history.length
    const { drawn } = stream
    if (drawn.length > 0) this.#hold(stream, { place: { prompt, drawn }, logits: true })
    if (!stream.isKept) stream.close()
    request!.resolve({ token: NO_TOKEN, logprobs: undefined })
  }

  // A run may be cut short once nobody wants what any of its rows computes.
  async #start(
    list: CommandList,
    streams: readonly EngineStream[],
    inputs: Record<string, Uint32Array>,
    { isDraw } = { isDraw: false },
  ): Promise<ListRunResult & { milliseconds: number }> {
    const running = { streams, cut: new AbortController(), isDraw }
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
    { row, logprobs }: { row: number; logprobs: Drawn['logprobs'] },
  ): void {
    if (stream.isDiscarded || report![2 * row + 1] === SAMPLE_STATUS.skipped) {
      reject(stream.failure ?? endedError())
      return
    }
    try {
      const token = drawnToken(report!, row)
      const { masker } = stream.options
      if (stream.countDrawn(token)) this.finish(stream)
      else if (masker) this.#awaitMask(stream, masker.after(token))
      resolve({ token, logprobs })
    } catch (error) {
      reject(error)
      stream.end(error)
    }
  }

  /** It has drawn its last token. */
  finish(stream: EngineStream): void {
    stream.end()
    if (stream.isKept) return
    const drawn = stream.drawn.slice(0, -1)
    if (drawn.length > 0) {
      const prompt = stream.options.history.length
      this.#hold(stream, { place: { prompt, drawn }, logits: true })
    }
    // Its reader may be far behind: its place is free already.
    stream.close()
  }

  // Makes a copy of its state, behind what has been started of it, where somebody wants one. `run` leads there: it may
  // be cut short, and the copy is then of something else.
  #hold(
    stream: EngineStream,
    { place, logits, run }: { place: MomentPlace; logits: boolean; run?: Promise<unknown> },
  ): void {
    const receive = stream.options.moments?.receiver(place)
    if (!receive) return
    const copy = this.#seats.copy(stream.state, { logits })
    void Promise.all([copy, run]).then(
      ([snapshot]) => receive(snapshot),
      (error: unknown) => {
        receive(undefined, error)
        copy.then((snapshot) => snapshot.dispose()).catch(() => {})
      },
    )
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

// Lists that report are for those that ask for it: others do not wait for what they don't need.
// Where one of the rows has to wait for a mask, all draw in a list of their own: those without at once.
function endingOf(streams: readonly EngineStream[]): Ending {
  if (streams.some(({ options }) => options.masker)) return 'keep'
  return streams.some(({ options }) => options.alternatives !== undefined) ? 'report' : 'draw'
}

function isAtEnd({ allowed, options }: EngineStream): boolean {
  return allowed?.isOver === true && options.stopTokens.size === 0
}

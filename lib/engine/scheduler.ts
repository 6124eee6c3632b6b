// Which runs come next: steps of the rows that are ready, and pieces of prompts between them.

import { reasonOf } from '../support/abort.js'
import type { ListRunResult } from '../operations/device.js'
import { NO_SLOT, SAMPLE_STATUS } from '../operations/arguments.js'
import { drawnToken, NO_TOKEN } from '../operations/drawn-token.js'
import { Draws } from './draws.js'
import { type EngineLists, MOST_ROWS } from './lists.js'
import type { MomentPlace } from './moments.js'
import { PageShortage } from './page-shortage.js'
import { type Piece, type Prompt, Prompts } from './prompt-queue.js'
import type { Ending } from './recordings.js'
import { readLogprobs } from './logprob-reports.js'
import { type OnRunFailed, Runs } from './runs-in-flight.js'
import type { SlotAllocator } from './slot-allocator.js'
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

/** Runs the streams that were added, until they are removed. */
export class Scheduler {
  readonly #lists: EngineLists
  readonly #allocator: SlotAllocator
  readonly #onFailed: OnRunFailed
  readonly #streams = new Set<EngineStream>()
  readonly #prompts = new Prompts()
  readonly #runs = new Runs(() => this.#schedule())
  readonly #draws: Draws
  readonly #shortage: PageShortage
  #isScheduled = false
  #lastWasPiece = false
  #steps = 0

  constructor(lists: EngineLists, allocator: SlotAllocator, onFailed: OnRunFailed) {
    this.#lists = lists
    this.#allocator = allocator
    this.#onFailed = onFailed
    this.#shortage = new PageShortage(allocator.pages, (stream, error) => this.fail(stream, error))
    this.#draws = new Draws({
      lists,
      allocator,
      runs: this.#runs,
      onFailed,
      schedule: () => this.#schedule(),
      give: (...drawn) => this.#give(...drawn),
      fail: (stream, error) => this.fail(stream, error),
      endText: (stream) => this.#endText(stream),
    })
  }

  get streams(): ReadonlySet<EngineStream> {
    return this.#streams
  }

  /** Runs under way. */
  get runs(): number {
    return this.#runs.count
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
      this.#runs.cutDiscarded()
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
      const { position } = stream
      const { moments, masker } = stream.options
      const cuts = moments?.cuts(position).map((end) => end - position) ?? []
      const { pools } = this.#allocator
      const ready = this.#lists.preparePrompt(pools, {
        tokens: tokens.length,
        ending: endingOf([stream]),
        chunkSize: options.chunkSize,
        cuts,
      })
      stream.hasPrompt = true
      if (masker) this.#draws.awaitMask(stream, masker.first())
      const add = () => {
        if (stream.isDone) return reject(stream.failure ?? endedError())
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
      if (masker) this.#draws.awaitMask(stream, masker.first())
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
    this.#draws.start(this.#streams)
    this.#shortage.forget()
    while (this.#runs.passes < RUNS_IN_FLIGHT) {
      const rows = this.#rowsReady()
      const mayPiece = rows.length === 0 || !this.#lastWasPiece
      const piece = mayPiece
        ? this.#prompts.next(this.someoneDecodes, (piece) => this.#shortage.mayStart(piece))
        : undefined
      if (!piece && rows.length === 0) {
        if (this.#runs.count === 0) this.#shortage.endOne(this.#streams)
        return
      }
      try {
        if (piece) this.#startPiece(piece)
        else this.#startStep(rows)
      } catch (error) {
        // There was no memory to record it.
        for (const stream of piece ? [piece.prompt.stream] : rows) this.fail(stream, error)
      }
      this.#lastWasPiece = piece !== undefined
      this.#draws.start(this.#streams)
    }
  }

  /** Whether somebody waits for a token. */
  get someoneDecodes(): boolean {
    for (const { wanted, started, undrawn, hasPrompt } of this.#streams) {
      if (!hasPrompt && (wanted.length > 0 || started > 0 || undrawn)) return true
    }
    return false
  }

  // Those that have waited longest first. Streams that keep one run ahead step together: one that is under way holds
  // the others back, or each would have a pass of the weights for itself for ever. So do those with a mask, which come
  // one by one while a pass runs: but one alone goes on as soon as its token is on its way.
  #rowsReady(): EngineStream[] {
    const streams = [...this.#streams]
    const keptRuns = streams.some(({ isKept, started }) => isKept && started > 0)
    const masked = streams.filter(({ options, started }) => options.masker && started > 0)
    const ready = streams.filter(
      (stream) =>
        stream.wanted.length > 0 &&
        !stream.hasPrompt &&
        !stream.isDone &&
        !stream.undrawn &&
        stream.started < RUNS_IN_FLIGHT &&
        !(stream.isKept && keptRuns) &&
        !(stream.options.masker && masked.some((other) => other !== stream)),
    )
    return ready
      .sort((a, b) => a.lastStep - b.lastStep)
      .filter((stream) => this.#shortage.mayStep(stream))
  }

  #startStep(ready: readonly EngineStream[]): void {
    const { pools } = this.#allocator
    const first = ready.slice(0, MOST_ROWS)
    const ending = endingOf(first)
    const { list, width } = this.#lists.step(pools, first.length, ending)
    const streams = ready.slice(0, width)
    const slots = new Uint32Array(width).fill(NO_SLOT)
    for (const [i, stream] of streams.entries()) slots[i] = slotOf(stream)
    this.#allocator.pages.writeTable()
    const run = this.#runs.start({ list, streams, inputs: { slots } })
    this.#steps += 1
    const requests = streams.map((stream) => {
      stream.lastStep = this.#steps
      stream.state.hasLogits = false
      stream.started += 1
      stream.written += 1
      const request = stream.wanted.shift()!
      if (ending === 'keep') stream.undrawn = request
      const logprobs = ending === 'keep' ? undefined : readLogprobs(this.#allocator, stream)
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
    const { pools } = this.#allocator
    const ending = isLast ? endingOf([stream]) : 'none'
    const list = this.#lists.piece(pools, { length, ending })
    const tokens = prompt.tokens.subarray(first, first + length)
    const inputs = { slots: Uint32Array.of(slotOf(stream)), tokens }
    this.#allocator.pages.writeTable()
    const run = this.#runs.start({ list, streams: [stream], inputs })
    const draws = isLast && ending !== 'keep'
    const logprobs = draws ? readLogprobs(this.#allocator, stream) : undefined
    if (isLast && !draws) stream.undrawn = prompt
    if (isLast) stream.hasPrompt = false
    stream.state.hasLogits = false
    stream.pieces += 1
    stream.written += length
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
        stream.isBroken = true // also where it was cut short: the next one may have run on
        this.#endPrompt(prompt, stream.failure ?? error)
        this.#onFailed(error, [stream], pools)
      },
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

  // Row `row` of a report to whoever waits for it.
  #give(
    stream: EngineStream,
    { resolve, reject }: Pick<Request, 'resolve' | 'reject'>,
    { report }: ListRunResult['outputs'],
    { row, logprobs }: { row: number; logprobs: Drawn['logprobs'] },
  ): void {
    const { isDiscarded, isBroken } = stream
    if (isDiscarded || isBroken || report![2 * row + 1] === SAMPLE_STATUS.skipped) {
      reject(stream.failure ?? endedError())
      return
    }
    try {
      const token = drawnToken(report!, row)
      const { masker } = stream.options
      if (stream.countDrawn(token)) this.finish(stream)
      else if (masker) this.#draws.awaitMask(stream, masker.after(token))
      resolve({ token, logprobs })
    } catch (error) {
      reject(error)
      stream.isBroken = true
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

  // Makes a copy of its state, behind what has been started of it, where somebody wants one. `run` leads there: where
  // it or one before it was rejected, the copy is of something else.
  #hold(
    stream: EngineStream,
    { place, logits, run }: { place: MomentPlace; logits: boolean; run?: Promise<unknown> },
  ): void {
    const position = place.prompt + place.drawn.length
    const pages = this.#allocator.pages.costOfCopy(stream.state, position)
    const receive = stream.options.moments?.receiver({ ...place, pages })
    if (!receive) return
    const into = stream.options.moments?.spare?.()
    const copy = this.#allocator.copy(stream.state, { logits, position, into })
    void Promise.all([copy, run]).then(
      ([snapshot]) => {
        if (!stream.isBroken) return receive(snapshot)
        snapshot.dispose()
        receive(undefined, stream.failure)
      },
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

// Draws of rows that were run forward: where one of them has to wait for its mask, all draw in lists of their own.

import type { ListRunResult } from '../operations/device.js'
import { NO_SLOT } from '../operations/arguments.js'
import { type EngineLists, MOST_ROWS } from './lists.js'
import { type Allowed, MaskUpload } from './masks.js'
import { readLogprobs } from './logprob-reports.js'
import type { OnRunFailed, Runs } from './runs-in-flight.js'
import type { SlotAllocator } from './slot-allocator.js'
import { type Drawn, type EngineStream, type Request, slotOf } from './stream.js'

/** What draws need of their scheduler. */
export interface DrawHost {
  readonly lists: EngineLists
  readonly allocator: SlotAllocator
  readonly runs: Runs
  onFailed: OnRunFailed
  /** A mask has come. */
  schedule(): void
  /** Row `row` of a report to whoever waits for it. */
  give(
    stream: EngineStream,
    request: Request,
    outputs: ListRunResult['outputs'],
    drawn: { row: number; logprobs: Drawn['logprobs'] },
  ): void
  /** Whoever waits for it is told why it ends. */
  fail(stream: EngineStream, error: unknown): void
  /** The text of a stream is complete, and there is no token that says so. */
  endText(stream: EngineStream): void
}

export class Draws {
  readonly #host: DrawHost

  constructor(host: DrawHost) {
    this.#host = host
  }

  /** What the stream may draw next is being computed. */
  awaitMask(stream: EngineStream, allowed: Promise<Allowed>): void {
    allowed.then(
      (allowed) => {
        stream.allowed = allowed
        this.#host.schedule()
      },
      (error: unknown) => this.#host.fail(stream, error),
    )
  }

  /**
   * Draws for those that were run forward and know what they may draw: behind the runs that leave the logits, and
   * behind the copies of masks.
   */
  start(streams: Iterable<EngineStream>): void {
    let ready: EngineStream[] = []
    for (const stream of [...streams].filter(mayDraw)) {
      if (!isAtEnd(stream)) ready.push(stream)
      else if (!isUnderWay(stream)) this.#host.endText(stream)
    }
    while (ready.length > 0) {
      const rows = ready.slice(0, MOST_ROWS)
      try {
        ready = ready.slice(this.#startList(rows))
      } catch (error) {
        for (const stream of rows) this.#host.fail(stream, error)
        ready = ready.slice(rows.length)
      }
    }
  }

  // Returns how many of the rows it draws.
  #startList(rows: readonly EngineStream[]): number {
    const { lists, allocator, runs } = this.#host
    const { pools } = allocator
    const reports = rows.some(({ options }) => options.alternatives !== undefined)
    const { list, width } = lists.draw(pools, rows.length, { reports })
    const streams = rows.slice(0, width)
    const slots = new Uint32Array(width).fill(NO_SLOT)
    for (const [i, stream] of streams.entries()) {
      slots[i] = slotOf(stream)
      if (stream.allowed) this.#upload(stream, stream.allowed)
    }
    const run = runs.start({ list, streams, inputs: { slots }, isDraw: true })
    const requests = streams.map((stream) => {
      const request = stream.undrawn!
      stream.undrawn = undefined
      stream.allowed = undefined
      return { stream, request, logprobs: readLogprobs(allocator, stream) }
    })
    void run.then(
      ({ outputs }) => {
        for (const [row, { stream, request, logprobs }] of requests.entries()) {
          this.#host.give(stream, request, outputs, { row, logprobs })
        }
      },
      (error: unknown) => {
        for (const { stream, request } of requests) request.reject(stream.failure ?? error)
        this.#host.onFailed(error, streams, pools)
      },
    )
    return streams.length
  }

  #upload(stream: EngineStream, { mask }: Allowed): void {
    const { allocator, onFailed } = this.#host
    const { pools, device } = allocator
    const target = pools.sampling.mask.at(slotOf(stream))
    if (stream.upload?.target.memory !== target.memory) {
      stream.upload?.dispose()
      stream.upload = new MaskUpload(device, target)
    }
    stream.upload!.start(mask).catch((error: unknown) => onFailed(error, [stream], pools))
  }
}

/** It waits for a token, and knows what that may be. */
function mayDraw({ undrawn, isDone, allowed, options }: EngineStream): boolean {
  return undrawn !== undefined && !isDone && (!options.masker || allowed !== undefined)
}

// What leads to its last state has not ended: closing the stream would cut it short.
function isUnderWay({ started, pieces }: EngineStream): boolean {
  return started > 0 || pieces > 0
}

function isAtEnd({ allowed, options }: EngineStream): boolean {
  return allowed?.isOver === true && options.stopTokens.size === 0
}

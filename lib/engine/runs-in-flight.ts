// Runs under way, and whom each is for.

import type { CommandList, ListRunResult } from '../operations/device.js'
import type { Pools } from './growing-pool.js'
import type { EngineStream } from './stream.js'

/** A run of these streams was rejected, in these pools: there may be new ones since. */
export type OnRunFailed = (error: unknown, streams: readonly EngineStream[], pools: Pools) => void

// What a run is rejected with that nobody wants.
const CUT = new DOMException('nobody wants what this run computes', 'AbortError')

/** Whether a run was rejected because it was cut short, and not because it failed. */
export function wasCut(error: unknown): boolean {
  return error === CUT
}

interface Running {
  streams: readonly EngineStream[]
  cut: AbortController
  /** It runs no layer: nothing waits for it. */
  isDraw: boolean
}

/** What is run, for whom, and with what. */
export interface Run {
  list: CommandList
  streams: readonly EngineStream[]
  inputs: Record<string, Uint32Array>
  isDraw?: boolean
}

export class Runs {
  readonly #running = new Set<Running>()
  readonly #onEnd: () => void
  /** When the last run ended. */
  #lastEnd = 0

  /** `onEnd`: one has ended, well or not. */
  constructor(onEnd: () => void) {
    this.#onEnd = onEnd
  }

  get count(): number {
    return this.#running.size
  }

  /** Those that run layers. */
  get passes(): number {
    return [...this.#running].filter(({ isDraw }) => !isDraw).length
  }

  /** `milliseconds`: how long it took once its turn had come. */
  async start({
    list,
    streams,
    inputs,
    isDraw = false,
  }: Run): Promise<ListRunResult & { milliseconds: number }> {
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
      this.#onEnd()
    }
  }

  /** Cuts those short of which nobody wants what any row computes. */
  cutDiscarded(): void {
    for (const { streams, cut } of this.#running) {
      if (streams.every(({ isDiscarded }) => isDiscarded)) cut.abort(CUT)
    }
  }
}

// Prompts whose logits or losses are wanted at every position: a sequence of their own beside the engine's.

import type { Signal } from '../support/abort.js'
import type { CommandList, ListRunResult } from '../operations/device.js'
import type { LanguageModel } from '../models/language-model.js'
import { Workspace } from '../models/workspace.js'
import type { Recorder } from '../operations/recorder.js'
import type { RunData } from '../operations/run-block.js'
import type { Tensor } from '../operations/tensor.js'
import { chunkLengths, LARGEST_CHUNK_SIZE, PREFILL_CHUNK_SIZE } from './chunks.js'
import { type PagePool, pagesOfOne, withPages } from './page-pool.js'
import { resolveRows } from './recordings.js'
import { StatePool } from './state-pool.js'

// Logits of all positions of a chunk are kept below this, so that a large vocabulary does not need
// hundreds of megabytes of scratch memory.
const LARGEST_LOGITS_BYTES = 32 * 2 ** 20

export interface ScoringOptions {
  signal?: Signal | undefined
  /** Tokens that run through the model at once. */
  prefillChunkSize?: number | undefined
}

/** Tokens that run at once: the logits of all positions are large, so fewer when the vocabulary is. */
export function scoringChunkSize(
  { config }: LanguageModel,
  { prefillChunkSize = PREFILL_CHUNK_SIZE }: ScoringOptions,
): number {
  const rowBytes = 4 * config.paddedVocabSize
  return Math.max(1, Math.min(prefillChunkSize, Math.floor(LARGEST_LOGITS_BYTES / rowBytes)))
}

interface Recorded {
  list: CommandList
  logits: Tensor
}

interface Chunk {
  /** Index of its first token. */
  first: number
  length: number
}

interface Scoring {
  chunkSize: number
  /** Runs under way at once. */
  inFlight: number
  withLogits?(cl: Recorder, logits: Tensor, length: number): void
  /** Inputs besides the tokens. */
  inputs?(chunk: Chunk): RunData
  after(recorded: Recorded, chunk: Chunk, outputs: ListRunResult['outputs']): void
}

/**
 * Runs one text through the model, from the beginning.
 *
 * @example
 * using scorer = new Scorer(model)
 * await scorer.logits(tokens, (rows, first) => data.set(rows, first * vocabulary))
 */
export class Scorer {
  readonly #model: LanguageModel
  readonly #states: StatePool
  readonly #workspace: Workspace
  /** Of the text at hand, where the model keeps something of each position. */
  #pages: PagePool | undefined

  constructor(model: LanguageModel) {
    this.#model = model
    this.#states = new StatePool(model, 1)
    this.#states.remaining.write(Uint32Array.of(1))
    this.#workspace = new Workspace(model.device, model.activationType)
  }

  /**
   * Calls `onLogits` with the logits of each chunk, row by row (length, vocabulary), which are valid until it
   * returns.
   */
  async logits(
    tokens: Uint32Array,
    onLogits: (rows: Float32Array, first: number) => void,
    options: ScoringOptions = {},
  ): Promise<void> {
    const vocabulary = this.#model.config.paddedVocabSize
    let rows = new Float32Array(0)
    await this.#run(tokens, options.signal, {
      chunkSize: scoringChunkSize(this.#model, options),
      inFlight: 1, // the next run overwrites the logits
      after: ({ logits }, { first, length }) => {
        if (rows.length === 0) rows = new Float32Array(length * vocabulary)
        const part = rows.subarray(0, length * vocabulary)
        logits.readInto(part)
        onLogits(part, first)
      },
    })
  }

  /**
   * Calls `onLosses` with -log p (in nats) that the model gives to targets[i] after tokens[0..i], chunk by chunk.
   */
  async negativeLogLikelihoods(
    tokens: Uint32Array,
    targets: Uint32Array,
    onLosses: (losses: Float32Array) => void,
    options: ScoringOptions = {},
  ): Promise<void> {
    await this.#run(tokens, options.signal, {
      // Tokens and targets are the inputs of a run.
      chunkSize: Math.min(scoringChunkSize(this.#model, options), LARGEST_CHUNK_SIZE / 2),
      inFlight: 2,
      withLogits: (cl, logits, length) =>
        cl.crossEntropy(
          logits,
          cl.input('targets', 'uint32', [1, length]),
          cl.output('losses', 'float32', [1, length]),
        ),
      inputs: ({ first, length }) => ({ targets: targets.subarray(first, first + length) }),
      after: (_, __, { losses }) => onLosses(losses as Float32Array),
    })
  }

  dispose(): void {
    this.#workspace.dispose()
    this.#states.dispose()
    this.#pages?.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  // One list serves all chunks of a length.
  async #run(tokens: Uint32Array, signal: Signal | undefined, scoring: Scoring): Promise<void> {
    const recordings = new Map<number, Recorded>()
    const running: (() => Promise<void>)[] = []
    this.#pages?.dispose()
    this.#pages = pagesOfOne(this.#model, tokens.length)
    try {
      let first = 0
      for (const length of chunkLengths(tokens.length, scoring.chunkSize)) {
        const recorded = recordings.get(length) ?? this.#record(length, scoring.withLogits)
        recordings.set(length, recorded)
        const chunk = { first, length }
        const run = recorded.list.run({
          signal,
          inputs: {
            slots: Uint32Array.of(0),
            tokens: tokens.subarray(first, first + length),
            ...scoring.inputs?.(chunk),
          },
        })
        run.catch(() => {}) // it is awaited below, unless one before it fails
        running.push(async () => scoring.after(recorded, chunk, (await run).outputs))
        if (running.length === scoring.inFlight) await running.shift()!()
        first += length
      }
      for (const end of running) await end()
    } finally {
      for (const { list } of recordings.values()) list.dispose()
    }
  }

  #record(length: number, withLogits: Scoring['withLogits']): Recorded {
    const workspace = this.#workspace
    let logits: Tensor | undefined
    const list = this.#model.device.record((cl) => {
      const wanted = { batch: 1, count: length }
      const { rows, positions } = resolveRows(cl, workspace, this.#states, wanted)
      const tokens = cl.input('tokens', 'uint32', [1, length])
      const pass = { cl, workspace, rows, positions, pages: this.#pages?.table }
      const state = withPages(this.#states.layers, this.#pages)
      logits = this.#model.prefill(pass, tokens, state, 'all')!
      withLogits?.(cl, logits, length)
    })
    return { list, logits: logits! }
  }
}

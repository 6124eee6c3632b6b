// One sequence of tokens running through a model: its state, and the command lists that advance it.

import { reasonOf, type Signal } from '../abort.js'
import type { CommandList, ListRunResult } from '../command-list.js'
import { Readback } from '../readback.js'
import type { Recorder } from '../recorder.js'
import { MOST_RUN_BYTES, type RunData } from '../run-block.js'
import { drawnToken, type Sampler } from '../sampler.js'
import type { Tensor } from '../tensor.js'
import type { LanguageModel } from './language-model.js'
import type { Pass } from './layers/layer.js'
import { SequenceState } from './sequence-state.js'
import { Workspace } from './workspace.js'

/** Tokens of a prompt that run through the model at once, by default. */
export const PREFILL_CHUNK_SIZE = 256

// Tokens that the scan of a prompt takes at once.
const SCAN_TOKENS = 64
// Rows for which products run as they do in decoding.
const FEW_ROWS = 8

// Logits of all positions of a chunk are kept below this, so that a large vocabulary does not need
// hundreds of megabytes of scratch memory.
const LARGEST_LOGITS_BYTES = 32 * 2 ** 20

/** Tokens of a prompt that run through the model at once, at most: they are the inputs of a run. */
export const LARGEST_CHUNK_SIZE = MOST_RUN_BYTES / 4

/** Runs that are under way at once where nothing in between has to be looked at: a GPU never waits for JavaScript. */
export const RUNS_IN_FLIGHT = 2

export interface RunOptions {
  signal?: Signal | undefined
  /** Tokens of a prompt that run through the model at once, at most 1024. Results do not depend on it. Defaults to 256. */
  prefillChunkSize?: number | undefined
}

export interface PrefillOptions extends RunOptions {
  /** Tokens of the same sequence before these, for the repetition penalty. */
  history?: Uint32Array | undefined
  /**
   * Ends the prompt between two chunks of it, where `signal` ends it within one and leaves a state that is
   * no longer of use. Rejects with the signal's reason when what was started has ended.
   */
  betweenChunks?: Signal | undefined
  /** Called with the number of tokens as chunks end. */
  onConsumed?: ((tokens: number) => void) | undefined
  /** Called when the last run has been started: `decode` may be called from then on. */
  onLastStarted?: (() => void) | undefined
}

interface Chunk {
  /** Index of its first token. */
  first: number
  length: number
}

interface Recorded {
  list: CommandList
  logits: Tensor | undefined
}

interface Steps {
  /** Runs under way at once. */
  inFlight: number
  record(length: number, isLast: boolean): Recorded
  /** Inputs besides the tokens. */
  inputs?(chunk: Chunk): RunData
  after(recorded: Recorded, chunk: Chunk, outputs: ListRunResult['outputs']): void
  onLastStarted?: (() => void) | undefined
  /** No chunk is started once it has aborted. */
  endBefore?: Signal | undefined
}

/**
 * A sequence: feed it a prompt with `prefill`, then ask for one token after another with `decode`. What
 * changes from token to token lives in device buffers, and what JavaScript wants to know comes with the end
 * of each run. So one recorded list serves all tokens, and runs may be started before earlier ones have ended.
 */
export class Sequence {
  readonly #model: LanguageModel
  readonly #sampler: Sampler | undefined
  readonly #state: SequenceState
  readonly #ownsState: boolean
  readonly #workspace: Workspace
  /** The token that was chosen last: uint32 (1). */
  readonly #token: Tensor
  #decode: Recorded | undefined
  /** Logits that the last token was chosen from: (1, vocabulary). */
  #logits: Tensor | undefined
  #readback: Readback | undefined

  /**
   * Goes on from `state`, which stays the caller's; without one from a state of its own that has seen nothing.
   * Without a sampler `prefill` and `decode` choose no token.
   */
  constructor(model: LanguageModel, sampler?: Sampler, state?: SequenceState) {
    this.#model = model
    this.#sampler = sampler
    this.#state = state ?? new SequenceState(model)
    this.#ownsState = state === undefined
    this.#workspace = new Workspace(model.device, model.activationType)
    this.#token = model.device.tensor('uint32', [1])
  }

  /**
   * Runs tokens through the model; calls `onLogits` with the logits of each chunk, row by row
   * (length, vocabulary), which are valid until it returns.
   */
  async logits(
    tokens: Uint32Array,
    onLogits: (rows: Float32Array, first: number) => void,
    options: RunOptions = {},
  ): Promise<void> {
    const vocabulary = this.#model.config.paddedVocabSize
    let rows = new Float32Array(0)
    await this.#chunks(tokens, this.#logitsChunkSize(options), options.signal, {
      inFlight: 1, // the next run overwrites the logits
      record: (length) => this.#recordPrefill(length, 'all'),
      after: ({ logits }, { first, length }) => {
        if (rows.length === 0) rows = new Float32Array(length * vocabulary)
        const part = rows.subarray(0, length * vocabulary)
        logits!.readInto(part)
        onLogits(part, first)
      },
    })
  }

  /**
   * Runs tokens through the model; calls `onLosses` with -log p (in nats) that the model gives to
   * targets[i] after tokens[0..i], chunk by chunk.
   */
  async negativeLogLikelihoods(
    tokens: Uint32Array,
    targets: Uint32Array,
    onLosses: (losses: Float32Array) => void,
    options: RunOptions = {},
  ): Promise<void> {
    // Tokens and targets are the inputs of a run.
    const chunkSize = Math.min(this.#logitsChunkSize(options), LARGEST_CHUNK_SIZE / 2)
    await this.#chunks(tokens, chunkSize, options.signal, {
      inFlight: RUNS_IN_FLIGHT,
      record: (length) =>
        this.#recordPrefill(length, 'all', (cl, logits) =>
          cl.crossEntropy(
            logits,
            cl.input('targets', 'uint32', [1, length]),
            cl.output('losses', 'float32', [1, length]),
          ),
        ),
      inputs: ({ first, length }) => ({ targets: targets.subarray(first, first + length) }),
      after: (_, __, { losses }) => onLosses(losses as Float32Array),
    })
  }

  /**
   * Compiles what prompts and decoding need on a GPU, on native threads; resolves when it is ready.
   * Nothing is run, and the weights need not have their values yet.
   */
  async prepare(chunkSize = PREFILL_CHUNK_SIZE): Promise<void> {
    const lists = this.plan(chunkSize)
    try {
      await Promise.all(lists.map((list) => list.prepare()))
    } finally {
      for (const list of lists) list.dispose()
    }
  }

  /** Runs a prompt through the model. Resolves with the token that was chosen after it. */
  async prefill(tokens: Uint32Array, options: PrefillOptions = {}): Promise<number | undefined> {
    const { signal, prefillChunkSize = PREFILL_CHUNK_SIZE, history, onConsumed } = options
    this.#sampler?.remember(history ? concatenated(history, tokens) : tokens)
    let token: number | undefined
    await this.#chunks(tokens, prefillChunkSize, signal, {
      inFlight: RUNS_IN_FLIGHT,
      record: (length, isLast) => this.#recordPrefill(length, isLast ? 'last' : 'none'),
      after: (_, { length }, { report }) => {
        onConsumed?.(length)
        if (report) token = drawnToken(report)
      },
      onLastStarted: options.onLastStarted,
      endBefore: options.betweenChunks,
    })
    return token
  }

  /** Chooses a token from the logits that the state holds; runs nothing else. `history`: all tokens consumed. */
  async drawAgain(history: Uint32Array): Promise<number> {
    const { logits } = this.#state
    this.#sampler!.remember(history)
    this.#logits = logits
    using list = this.#model.device.record((cl) => this.#draw(cl, logits!))
    const { outputs } = await list.run()
    return drawnToken(outputs.report!)
  }

  /** Leaves the logits of the last run in the state, behind the runs in flight. */
  async keepLogits(): Promise<void> {
    const last = this.#logits
    if (last && last !== this.#state.logits) await this.#state.keepLogits(last)
  }

  /**
   * Runs the token chosen last through the model. Resolves with the next one, undefined without a sampler.
   * May be called before an earlier call has ended: it then runs the token that the earlier one chooses.
   */
  async decode({ signal }: RunOptions = {}): Promise<number | undefined> {
    this.#decode ??= this.#recordDecode()
    this.#state.forgetLogits()
    this.#logits = this.#decode.logits
    const { outputs } = await this.#decode.list.run({ signal })
    return outputs.report && drawnToken(outputs.report)
  }

  /** Replaces the token that the next `decode` consumes. Throws while a run is in flight. */
  set token(id: number) {
    this.#token.write(Uint32Array.of(id))
  }

  /**
   * The logits that the token of the last started `prefill` or `decode` is chosen from, before penalties and
   * temperature: (vocabulary). Later runs may be started before it has ended.
   */
  async readLogits(options: { signal?: Signal | undefined } = {}): Promise<Float32Array> {
    const logits = this.#logits!
    if (this.#readback?.source !== logits) {
      this.#readback?.dispose()
      this.#readback = new Readback(this.#model.device, logits)
    }
    return (await this.#readback.read(options)) as Float32Array
  }

  /** Throws `DisposedError` when the device was disposed, also where runs had ended before. */
  checkDevice(): void {
    void this.#model.device.handle
  }

  dispose(): void {
    this.#decode?.list.dispose()
    this.#readback?.dispose()
    this.#workspace.dispose()
    if (this.#ownsState) this.#state.dispose()
    this.#token.dispose()
  }

  /**
   * Records what `prefill` and `decode` run, for prompts of more than `chunkSize` tokens, without running
   * it: the lists of a prompt and that of the tokens after it. The caller disposes of them.
   */
  plan(chunkSize: number): CommandList[] {
    const recorded = [
      this.#recordPrefill(chunkSize, 'none'),
      this.#recordPrefill(chunkSize, 'last'),
      this.#recordDecode(),
    ]
    return recorded.map(({ list }) => list)
  }

  // Logits of all positions are large: fewer tokens at once when the vocabulary is.
  #logitsChunkSize({ prefillChunkSize = PREFILL_CHUNK_SIZE }: RunOptions): number {
    const rowBytes = 4 * this.#model.config.paddedVocabSize
    return Math.max(1, Math.min(prefillChunkSize, Math.floor(LARGEST_LOGITS_BYTES / rowBytes)))
  }

  // Records and runs a list for each chunk; one list serves all chunks of a length.
  async #chunks(
    tokens: Uint32Array,
    chunkSize: number,
    signal: Signal | undefined,
    steps: Steps,
  ): Promise<void> {
    const lengths = chunkLengths(tokens.length, chunkSize)
    const recordings = new Map<number, Recorded>()
    const running: (() => Promise<void>)[] = []
    let last: Recorded | undefined
    try {
      for (const length of lengths.slice(0, -1)) {
        if (!recordings.has(length)) recordings.set(length, steps.record(length, false))
      }
      if (lengths.length > 0) last = steps.record(lengths.at(-1)!, true)
      // Lengths that are new: what they need is compiled while the first chunk runs. Its own run says what
      // is wrong with a list.
      for (const { list } of [...recordings.values(), last].slice(1) as Recorded[]) {
        list.prepare().catch(() => {})
      }
      let first = 0
      for (const [index, length] of lengths.entries()) {
        if (steps.endBefore?.aborted) {
          await Promise.all(running.map((end) => end()))
          throw reasonOf(steps.endBefore)
        }
        const ids = tokens.subarray(first, first + length)
        const isLast = index === lengths.length - 1
        const chunk = { first, length }
        const recorded = isLast ? last! : recordings.get(length)!
        first += length
        this.#logits = recorded.logits
        this.#state.forgetLogits()
        const inputs = { tokens: ids, ...steps.inputs?.(chunk) }
        const run = recorded.list.run({ signal, inputs })
        run.catch(() => {}) // it is awaited below, unless one before it fails
        running.push(async () => steps.after(recorded, chunk, (await run).outputs))
        if (isLast) steps.onLastStarted?.()
        if (running.length === steps.inFlight) await running.shift()!()
      }
      for (const end of running) await end()
    } finally {
      for (const { list } of recordings.values()) list.dispose()
      last?.list.dispose()
    }
  }

  #recordPrefill(
    length: number,
    wanted: 'all' | 'last' | 'none',
    withLogits?: (cl: Recorder, logits: Tensor) => void,
  ): Recorded {
    return this.#record(length, wanted === 'last', (pass) => {
      const tokens = pass.cl.input('tokens', 'uint32', [1, length])
      const logits = this.#model.prefill(pass, tokens, this.#state.layers, wanted)
      if (logits) withLogits?.(pass.cl, logits)
      return logits
    })
  }

  #recordDecode(): Recorded {
    return this.#record(1, true, (pass) =>
      this.#model.decode(pass, this.#token, this.#state.layers),
    )
  }

  // `chooses`: whether the sampler, if there is one, draws a token from the logits.
  #record(length: number, chooses: boolean, forward: (pass: Pass) => Tensor | undefined): Recorded {
    let logits: Tensor | undefined
    const list = this.#model.device.record((cl) => {
      const { position } = this.#state
      logits = forward({ cl, workspace: this.#workspace, position })
      // Before sampling: the position of the token to be chosen decides its random numbers.
      cl.advancePosition(position, length)
      if (chooses && logits && this.#sampler) this.#draw(cl, logits)
    })
    return { list, logits }
  }

  #draw(cl: Recorder, logits: Tensor): void {
    const { settings, selection, history } = this.#sampler!
    const report = cl.output('report', 'uint32', [1, 2])
    const { position } = this.#state
    cl.sample({ logits, settings, selection, history, position, out: this.#token, report })
  }
}

/**
 * How a prompt is cut: into chunks of `chunkSize`, and what is left over. A few tokens beyond a multiple of
 * 64 are a chunk of their own, because products of so few rows add up in another order than those of many
 * rows: what a token's numbers are then depends on where the prompt began, not on how long it is. So a
 * prompt given in parts, each a multiple of 64 long but the last, leaves the same bits as the whole.
 *
 * @example chunkLengths(325, 256) // [256, 64, 5]
 */
export function chunkLengths(tokens: number, chunkSize: number): number[] {
  const lengths: number[] = new Array(Math.floor(tokens / chunkSize)).fill(chunkSize)
  const rest = tokens % chunkSize
  const few = rest % SCAN_TOKENS
  if (rest > SCAN_TOKENS && few > 0 && few <= FEW_ROWS) lengths.push(rest - few, few)
  else if (rest > 0) lengths.push(rest)
  return lengths
}

function concatenated(a: Uint32Array, b: Uint32Array): Uint32Array {
  const all = new Uint32Array(a.length + b.length)
  all.set(a)
  all.set(b, a.length)
  return all
}

// Log-probabilities of many continuations of one moment: a copy of its state for each, in a pool of their own.

import { logSumExp } from './logprobs.js'
import type { CommandList, ListRunResult } from '../operations/device.js'
import type { LanguageModel } from '../models/language-model.js'
import { Workspace } from '../models/workspace.js'
import { NO_SLOT } from '../operations/arguments.js'
import { planContinuations } from './continuation-plan.js'
import { LARGEST_CHUNK_SIZE } from './chunks.js'
import { MOST_ROWS } from './lists.js'
import type { Moment } from './moments.js'
import { resolveRows } from './recordings.js'
import { RUNS_IN_FLIGHT } from './scheduler.js'
import { scoringChunkSize, type ScoringOptions } from './scoring.js'
import { BranchingPages } from './branching-pages.js'
import type { Engine } from './engine.js'
import { withPages } from './page-pool.js'
import { copyFields } from './slot-allocator.js'
import type { Snapshot } from './snapshot.js'
import { StatePool } from './state-pool.js'

/** Of each token of a candidate, after all before it. */
export interface TokenScores {
  /** log p, in nats. */
  logprobs: Float32Array
  /** The most probable token there. */
  best: Uint32Array
}

interface Candidate {
  tokens: Uint32Array
  scores: TokenScores
}

/**
 * Scores candidates, each at least one token, from a moment with logits, which stays as it is. The first token of each
 * costs nothing: the moment has its logits.
 * Rejects with `ContextLengthError` where one does not fit, with the reason of `options.signal`, and where a log-probability is no finite number.
 *
 * @example
 * const from = { snapshot, position: prefix.length }
 * const [yes, no] = await scoreContinuations(engine, from, [yesTokens, noTokens], { operation: 'score' })
 */
export async function scoreContinuations(
  engine: Engine,
  from: Moment,
  tokens: readonly Uint32Array[],
  options: ScoringOptions & { operation: string },
): Promise<TokenScores[]> {
  const { model } = engine
  const candidates = tokens.map((tokens) => {
    const { length } = tokens
    return { tokens, scores: { logprobs: new Float32Array(length), best: new Uint32Array(length) } }
  })
  const longest = tokens.reduce((most, { length }) => Math.max(most, length), 0)
  engine.checkContext(options.operation, from.position + longest)
  scoreFirstTokens(from.snapshot, candidates)
  // Tokens, targets and slots are the inputs of a run.
  const chunkSize = Math.min(scoringChunkSize(model, options), LARGEST_CHUNK_SIZE / 2)
  const lengths = tokens.map(({ length }) => length - 1)
  const { alone, together } = planContinuations(lengths, chunkSize)
  const slots = together[0]?.length ?? Math.min(alone.length, 1)
  // Where lists are wider than what is left (see #width).
  const beyond = model.device.name === 'cpu' ? 0 : chunkSize
  if (slots > 0) {
    using runs = new ContinuationRuns(engine, from, {
      ...options,
      slots,
      chunkSize,
      longest: longest + beyond,
    })
    for (const i of alone) await runs.prefill(candidates[i]!)
    for (const group of together) await runs.step(group.map((i) => candidates[i]!))
    await runs.end()
  }
  for (const [i, { scores }] of candidates.entries()) {
    const odd = scores.logprobs.find((logprob) => !Number.isFinite(logprob))
    if (odd === undefined) continue
    throw new Error(
      `[${options.operation}] a log-probability of continuation ${i} is ${odd}: the weights or the state hold NaN or overflow`,
    )
  }
  return candidates.map(({ scores }) => scores)
}

function scoreFirstTokens({ logits }: Snapshot, candidates: readonly Candidate[]): void {
  const row = logits.read() as Float32Array
  const total = logSumExp(row)
  const best = row.indexOf(row.reduce((a, b) => Math.max(a, b)))
  for (const { tokens, scores } of candidates) {
    scores.logprobs[0] = row[tokens[0]!]! - total
    scores.best[0] = best
  }
}

/** A pass over `rows` tokens: one of each candidate, or some of one. */
interface Pass {
  mode: 'step' | 'prefill'
  rows: number
  token(row: number): number
  target(row: number): number
  score(row: number, logprob: number, best: number): void
}

interface RunsOptions extends ScoringOptions {
  slots: number
  chunkSize: number
  /** Positions that a candidate writes at most. */
  longest: number
}

/** The runs of one call, in the order in which they are started. */
class ContinuationRuns {
  readonly #model: LanguageModel
  readonly #from: Moment
  readonly #options: RunsOptions
  readonly #states: StatePool
  /** Where the model keeps something of each position. */
  readonly #pages: BranchingPages | undefined
  readonly #workspace: Workspace
  /** By mode and tokens. */
  readonly #lists = new Map<string, CommandList>()
  readonly #running: (() => Promise<void>)[] = []

  constructor(engine: Engine, from: Moment, options: RunsOptions) {
    const { model } = engine
    this.#model = model
    this.#from = from
    this.#options = options
    this.#states = new StatePool(model, options.slots)
    this.#states.remaining.write(new Uint32Array(options.slots).fill(1))
    this.#workspace = new Workspace(model.device, model.activationType)
    this.#pages = BranchingPages.of(engine, from.snapshot, options)
  }

  /** Scores one candidate as a prompt. */
  async prefill({ tokens, scores }: Candidate): Promise<void> {
    await this.#begin(1)
    const { chunkSize } = this.#options
    const length = tokens.length - 1
    for (let first = 0; first < length; first += chunkSize) {
      await this.#start({
        mode: 'prefill',
        rows: Math.min(chunkSize, length - first),
        token: (row) => tokens[first + row]!,
        target: (row) => tokens[first + row + 1]!,
        score: (row, ...score) => keep(scores, first + row + 1, ...score),
      })
    }
  }

  /** Scores candidates token by token, the longest first: those that have ended are the last rows. */
  async step(candidates: readonly Candidate[]): Promise<void> {
    await this.#begin(candidates.length)
    let rows = candidates.length
    for (let at = 1; at < candidates[0]!.tokens.length; at++) {
      while (candidates[rows - 1]!.tokens.length <= at) rows -= 1
      await this.#start({
        mode: 'step',
        rows,
        token: (row) => candidates[row]!.tokens[at - 1]!,
        target: (row) => candidates[row]!.tokens[at]!,
        score: (row, ...score) => keep(candidates[row]!.scores, at, ...score),
      })
    }
  }

  /** Resolves when all runs have ended. */
  async end(): Promise<void> {
    for (const end of this.#running.splice(0)) await end()
  }

  dispose(): void {
    for (const list of this.#lists.values()) list.dispose()
    this.#workspace.dispose()
    this.#states.dispose()
    this.#pages?.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  // Makes the first `count` slots copies of the moment.
  async #begin(count: number): Promise<void> {
    const { slots } = this.#options
    const { snapshot, position } = this.#from
    using list = this.#model.device.record((cl) => {
      this.#pages?.begin(cl, count)
      for (let slot = 0; slot < count; slot++) {
        copyFields(cl, snapshot, this.#states.fieldsOf(slot), 'to')
      }
      cl.copy(cl.input('position', 'uint32', [slots]), this.#states.position)
    })
    const inputs = { position: new Uint32Array(slots).fill(position) }
    await this.#queue(list.run({ inputs, signal: this.#options.signal }), () => {})
  }

  async #start({ mode, rows, token, target, score }: Pass): Promise<void> {
    const width = this.#width(mode, rows)
    const list = await this.#list(mode, width)
    const tokens = new Uint32Array(width)
    const targets = new Uint32Array(width)
    const slots = new Uint32Array(mode === 'step' ? width : 1)
    for (const [i] of slots.entries()) slots[i] = i < rows ? i : NO_SLOT
    for (let row = 0; row < rows; row++) {
      tokens[row] = token(row)
      targets[row] = target(row)
    }
    const run = list.run({ inputs: { slots, tokens, targets }, signal: this.#options.signal })
    await this.#queue(run, ({ losses, best }) => {
      for (let row = 0; row < rows; row++) score(row, -losses![row]!, best![row]!)
    })
  }

  async #queue(
    run: Promise<ListRunResult>,
    after: (outputs: ListRunResult['outputs']) => void,
  ): Promise<void> {
    run.catch(() => {}) // it is awaited below, unless one before it fails
    this.#running.push(async () => after((await run).outputs))
    if (this.#running.length === RUNS_IN_FLIGHT) await this.#running.shift()!()
  }

  // A GPU compiles kernels for each width: few of them. What a candidate consumes beyond its end does nobody any harm.
  #width(mode: Pass['mode'], rows: number): number {
    if (this.#model.device.name === 'cpu') return rows
    const most = mode === 'step' ? MOST_ROWS : this.#options.chunkSize
    return Math.min(2 ** Math.ceil(Math.log2(rows)), most)
  }

  // With what it needs: a run that compiled on the way would hold up everybody else.
  async #list(mode: Pass['mode'], width: number): Promise<CommandList> {
    const key = `${mode} ${width}`
    const known = this.#lists.get(key)
    if (known) return known
    const list = this.#record(mode, width)
    this.#lists.set(key, list)
    await list.prepare()
    return list
  }

  // Inputs: `slots` uint32 (batch), `tokens` and `targets` uint32 (width). Outputs: `losses` float32, `best` uint32 (width).
  #record(mode: Pass['mode'], width: number): CommandList {
    const isStep = mode === 'step'
    const [batch, count] = isStep ? [width, 1] : [1, width]
    const shape = isStep ? [width] : [1, width]
    const workspace = this.#workspace
    const pages = this.#pages?.pool
    const state = withPages(this.#states.layers, pages)
    return this.#model.device.record((cl) => {
      const { rows, positions } = resolveRows(cl, workspace, this.#states, { batch, count })
      const pass = { cl, workspace, rows, positions, pages: pages?.table }
      const tokens = cl.input('tokens', 'uint32', shape)
      const logits = isStep
        ? this.#model.decode(pass, tokens, state)
        : this.#model.prefill(pass, tokens, state, 'all')!
      cl.crossEntropy(
        logits,
        cl.input('targets', 'uint32', shape),
        cl.output('losses', 'float32', shape),
      )
      cl.argmax(logits, cl.output('best', 'uint32', shape))
    })
  }
}

function keep(scores: TokenScores, index: number, logprob: number, best: number): void {
  scores.logprobs[index] = logprob
  scores.best[index] = best
}

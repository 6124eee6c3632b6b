// The command lists of an engine: one for each width of a step, and those for pieces of prompts.

import { addon } from '../operations/addon.js'
import type { CommandList } from '../operations/device.js'
import type { LanguageModel } from '../models/language-model.js'
import { Workspace } from '../models/workspace.js'
import { bytesPerElement } from '../operations/tensor.js'
import { chunkLengths, PREFILL_CHUNK_SIZE } from './chunks.js'
import { type Ending, recordDraw, recordPiece, recordStep } from './recordings.js'
import type { Pools } from './growing-pool.js'

/** Rows of a step at most. */
export const MOST_ROWS = 32

// The lists for steps of a GPU, which compiles kernels for each: rows that are missing do nothing.
const WIDTHS = [1, 2, 4, 8, 16, MOST_ROWS] as const

// Lists for pieces of prompts that are kept at once. A prompt has three lengths, and two more where it is cut.
const MOST_PIECES = 8

/** A prompt of so many tokens, of which at most `chunkSize` run at once. */
export interface PromptPieces {
  tokens: number
  /** Of the last one. */
  ending: Ending
  chunkSize?: number | undefined
  /** Where pieces have to end. */
  cuts: readonly number[]
}

// The lists of steps that end alike.
class Steps {
  readonly lists = new Map<number, CommandList>()
  /** Widths whose kernels are compiled. */
  readonly ready = new Set<number>()
  readonly compiling = new Set<number>()
}

/** Recorded when they are first asked for, and again for a new pool. */
export class EngineLists {
  readonly #model: LanguageModel
  #workspace: Workspace
  readonly #steps: Readonly<Record<Ending, Steps>> = {
    keep: new Steps(),
    draw: new Steps(),
    report: new Steps(),
  }
  /** By width and whether they report. */
  readonly #draws = new Map<string, CommandList>()
  /** By length and ending; the one that was used last at the end. */
  readonly #pieces = new Map<string, CommandList>()

  constructor(model: LanguageModel) {
    this.#model = model
    this.#workspace = new Workspace(model.device, model.activationType)
  }

  /** Scratch memory: of passes, and of the kernels of all lists. */
  get bytes(): number {
    const { device } = this.#model
    return [...this.#kept, ...this.#pieces.values()].reduce(
      (sum, { handle }) => sum + addon().listScratch(device.handle, handle),
      this.#workspace.bytes,
    )
  }

  /**
   * The list for a step of so many rows, and how many it takes: fewer while a GPU compiles the kernels of a wider
   * one, so that nobody waits for them.
   */
  step(pools: Pools, rows: number, ending: Ending): { list: CommandList; width: number } {
    const width = this.#widthFor(pools, rows, ending)
    return { list: this.#step(pools, width, ending), width }
  }

  /** The list that draws for so many rows, and how many it takes. */
  draw(
    pools: Pools,
    rows: number,
    { reports }: { reports: boolean },
  ): { list: CommandList; width: number } {
    const isCpu = this.#model.device.name === 'cpu'
    const width = isCpu ? rows : WIDTHS.find((width) => width >= rows)!
    const key = `${width} ${reports}`
    const list =
      this.#draws.get(key) ??
      this.#recorded(() => recordDraw(this.#model, this.#workspace, pools, { width, reports }))
    this.#draws.set(key, list)
    return { list, width }
  }

  /** The list for a piece of a prompt. */
  piece(pools: Pools, piece: { length: number; ending: Ending | 'none' }): CommandList {
    const key = `${piece.length} ${piece.ending}`
    const list =
      this.#pieces.get(key) ??
      this.#recorded(() => recordPiece(this.#model, this.#workspace, pools, piece))
    this.#pieces.delete(key)
    this.#pieces.set(key, list)
    for (const [oldest, unused] of this.#pieces) {
      if (this.#pieces.size <= MOST_PIECES) break
      this.#pieces.delete(oldest)
      unused.dispose()
    }
    return list
  }

  /**
   * Lets a GPU compile what the pieces of a prompt need, and the steps after it. Resolves when the first piece has it
   * and the steps of one stream; undefined on the CPU, which needs nothing.
   */
  preparePrompt(
    pools: Pools,
    { tokens, ending, cuts, chunkSize = PREFILL_CHUNK_SIZE }: PromptPieces,
  ): Promise<void> | undefined {
    if (this.#model.device.name === 'cpu') return undefined
    const lengths = chunkLengths(tokens, chunkSize, cuts)
    const distinct = lengths.filter(
      (length, i) => i === lengths.length - 1 || length !== lengths[i - 1],
    )
    const [first] = distinct.map((length, i) => {
      const isLast = i === distinct.length - 1
      const list = this.piece(pools, { length, ending: isLast ? ending : 'none' })
      return list.prepare().catch(() => {}) // its own run says what is wrong with it
    })
    const steps = this.#prepareOne(pools, ending).catch(() => {}) // there was no memory to record them
    return Promise.all([first, steps]).then(() => {})
  }

  /** No prompt is under way: what pieces need is freed. */
  forgetPieces(): void {
    for (const list of this.#pieces.values()) list.dispose()
    this.#pieces.clear()
  }

  /** The pool that they use is no more. */
  forget(): void {
    this.forgetPieces()
    for (const list of this.#kept) list.dispose()
    for (const { lists } of Object.values(this.#steps)) lists.clear()
    this.#draws.clear()
  }

  /** A run has failed and left scratch memory half written: nothing may use it. */
  renew(): void {
    this.dispose()
    this.#workspace = new Workspace(this.#model.device, this.#model.activationType)
  }

  /** What one stream with a prompt of more than a chunk runs, recorded anew. The caller disposes of the lists. */
  plan(pools: Pools, chunkSize = PREFILL_CHUNK_SIZE): CommandList[] {
    const piece = (ending: 'none' | 'draw') =>
      recordPiece(this.#model, this.#workspace, pools, { length: chunkSize, ending })
    const step = () => recordStep(this.#model, this.#workspace, pools, { width: 1, ending: 'draw' })
    // The largest first, as a stream comes to them: scratch tensors do not have to grow.
    return [piece('none'), piece('draw'), step()]
  }

  /** Compiles what `plan` records, and what copies states. */
  async prepare(pools: Pools): Promise<void> {
    const lists = [...this.plan(pools), this.#copies(pools)]
    try {
      await Promise.all(lists.map((list) => list.prepare()))
      this.#steps.draw.ready.add(1)
    } finally {
      for (const list of lists) list.dispose()
    }
  }

  dispose(): void {
    this.forget()
    this.#workspace.dispose()
  }

  // One field of each size of elements: never run.
  #copies({ states, pages }: Pools): CommandList {
    const tensors = [...states.tensors, ...(pages?.fields ?? [])]
    const fields = new Map(tensors.map((tensor) => [bytesPerElement(tensor.dtype), tensor]))
    return this.#model.device.record((cl) => {
      for (const tensor of fields.values()) cl.copy(tensor.at(0), tensor.at(0))
    })
  }

  // All but those of pieces.
  get #kept(): CommandList[] {
    const steps = Object.values(this.#steps).flatMap(({ lists }) => [...lists.values()])
    return [...steps, ...this.#draws.values()]
  }

  #widthFor(pools: Pools, rows: number, ending: Ending): number {
    if (this.#model.device.name === 'cpu') return Math.min(rows, MOST_ROWS)
    const { ready } = this.#steps[ending]
    const wanted = WIDTHS.find((width) => width >= rows) ?? MOST_ROWS
    if (ready.has(wanted)) return wanted
    this.#compileStep(pools, wanted, ending)
    return WIDTHS.findLast((width) => ready.has(width)) ?? wanted
  }

  // Steps of one stream that end so, and what follows them.
  async #prepareOne(pools: Pools, ending: Ending): Promise<void> {
    const { ready } = this.#steps[ending]
    if (ready.has(1)) return
    const draws = ending === 'keep' ? [false, true] : []
    const lists = [
      this.#step(pools, 1, ending),
      ...draws.map((reports) => this.draw(pools, 1, { reports }).list),
    ]
    await Promise.allSettled(lists.map((list) => list.prepare())) // their own runs say what is wrong
    ready.add(1)
  }

  #step(pools: Pools, width: number, ending: Ending): CommandList {
    const { lists } = this.#steps[ending]
    const known = lists.get(width)
    if (known) return known
    const list = this.#recorded(() =>
      recordStep(this.#model, this.#workspace, pools, { width, ending }),
    )
    lists.set(width, list)
    return list
  }

  // Where scratch tensors have become larger, lists recorded before would keep the smaller ones.
  #recorded(record: () => CommandList): CommandList {
    const { replaced } = this.#workspace
    const list = record()
    if (this.#workspace.replaced !== replaced) this.forget()
    return list
  }

  #compileStep(pools: Pools, width: number, ending: Ending): void {
    const { ready, compiling } = this.#steps[ending]
    if (compiling.has(width)) return
    compiling.add(width)
    const isOver = () => compiling.delete(width)
    // Also after a failure: the list's own run then says what is wrong.
    const isReady = () => ready.add(width)
    this.#step(pools, width, ending).prepare().then(isReady, isReady).finally(isOver)
  }
}

// Pages of several sequences that go on from one moment, in a pool of their own: what they have in common lies there once.

import type { Recorder } from '../operations/recorder.js'
import type { Tensor } from '../operations/tensor.js'
import type { Engine } from './engine.js'
import { PAGE_SIZE } from '../operations/arguments.js'
import { pagesFor } from './page-list.js'
import { PagePool } from './page-pool.js'
import type { Snapshot } from './snapshot.js'

/** Slot s has the full pages of the moment, which it does not write, and pages of its own after them. */
export class BranchingPages {
  readonly pool: PagePool
  readonly #engine: Engine
  readonly #snapshot: Snapshot
  /** Full pages of the moment: they come first. */
  readonly #full: number
  /** Pages that each slot has for itself. */
  readonly #own: number
  #hasBegun = false

  /** Undefined for a model without pages. `longest`: positions that a slot adds at most. */
  static of(
    engine: Engine,
    snapshot: Snapshot,
    sizes: { slots: number; longest: number },
  ): BranchingPages | undefined {
    return snapshot.pages ? new BranchingPages(engine, snapshot, sizes) : undefined
  }

  private constructor(
    engine: Engine,
    snapshot: Snapshot,
    { slots, longest }: { slots: number; longest: number },
  ) {
    const { position } = snapshot
    this.#engine = engine
    this.#snapshot = snapshot
    this.#full = Math.floor(position / PAGE_SIZE)
    const pagesPerSlot = pagesFor(position + longest)
    this.#own = pagesPerSlot - this.#full
    const pages = this.#full + slots * this.#own
    this.pool = new PagePool(engine.model, { pages, slots, pagesPerSlot })
    const table = Array.from({ length: slots }, (_, slot) =>
      Array.from({ length: pagesPerSlot }, (_, i) =>
        i < this.#full ? i : this.#firstOf(slot) + i - this.#full,
      ),
    )
    this.pool.table.write(Uint32Array.from(table.flat()))
  }

  /** Records what the first `count` slots begin with. */
  begin(cl: Recorder, count: number): void {
    const pages = this.#engine.usedPages(this.#snapshot)
    const partial = pages[this.#full]
    for (const [id, page] of pages.slice(0, this.#hasBegun ? 0 : this.#full).entries()) {
      copyAll(cl, page.fields, this.pool.positionsOf(id, page.count))
    }
    this.#hasBegun = true
    if (!partial) return
    for (let slot = 0; slot < count; slot++) {
      copyAll(cl, partial.fields, this.pool.positionsOf(this.#firstOf(slot), partial.count))
    }
  }

  dispose(): void {
    this.pool.dispose()
  }

  #firstOf(slot: number): number {
    return this.#full + slot * this.#own
  }
}

function copyAll(cl: Recorder, from: readonly Tensor[], to: readonly Tensor[]): void {
  for (const [i, tensor] of from.entries()) cl.copy(tensor, to[i]!)
}

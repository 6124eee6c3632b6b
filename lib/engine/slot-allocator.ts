// Who has which slot of the pool: a sequence that does not run makes room for one that does. Copies are queued behind the
// runs of the device, so nothing here waits.

import type { Device } from '../operations/device.js'
import type { LanguageModel } from '../models/language-model.js'
import type { Recorder } from '../operations/recorder.js'
import type { Tensor } from '../operations/tensor.js'
import { leavesAMixture } from '../operations/run-errors.js'
import { GrowingPool, type Pools } from './growing-pool.js'
import type { SharedPages } from './paged-cache.js'
import { SequencePages } from './sequence-pages.js'
import { SequenceState } from './sequence-state.js'
import { Snapshot } from './snapshot.js'
import type { PoolSize } from './state-pool.js'

export interface SlotEvents {
  /** Lists that use the pool are of no use any more. */
  newPool(): void
  /** The pool is lost, and so are the streams that run in it. */
  poolLost(error: unknown): void
  /** Frees pages that somebody only keeps for later; false where there are none. */
  freePages(): boolean
}

export class SlotAllocator {
  readonly #model: LanguageModel
  readonly #on: SlotEvents
  readonly #pool: GrowingPool
  /** What sequences keep of their positions. */
  readonly pages: SequencePages
  /** By slot. Weak: a session that nobody holds any more leaves its slot. */
  #occupants: (WeakRef<SequenceState> | undefined)[] = []
  readonly #forgotten = new FinalizationRegistry<number>((slot) => {
    if (!this.#occupants[slot]?.deref()) this.#occupants[slot] = undefined
  })
  /** Copies of states that have left their slots, until they have ended. */
  readonly #parking = new Map<Snapshot, SequenceState>()
  #uses = 0

  /** `maxPageBytes`: of all pages. */
  constructor(
    model: LanguageModel,
    { maxSlots, maxPageBytes }: { maxSlots: number; maxPageBytes: number },
    on: SlotEvents,
  ) {
    this.#model = model
    this.#on = on
    this.#pool = new GrowingPool(model, maxSlots, {
      newPool: on.newPool,
      growthFailed: (error, pools) => this.losePool(error, pools),
    })
    this.pages = new SequencePages(
      model,
      { slots: maxSlots, maxBytes: maxPageBytes },
      {
        newPool: on.newPool,
        freeSome: on.freePages,
        run: (record) => this.#runInPool(record),
      },
    )
  }

  /** Allocated when it is first asked for. */
  get pools(): Pools {
    const { pools } = this.#pool
    const pages = this.pages.pool
    return pages ? { ...pools, pages } : pools
  }

  /** Bytes of the pool. */
  get bytes(): number {
    return this.#pool.bytes
  }

  /** Slots that have been used. */
  get slots(): number {
    return this.#pool.usedSlots
  }

  get device(): Device {
    return this.#model.device
  }

  /**
   * Gives a state a slot; fewer than there may be are active. Returns the slot, and what has to be recorded in front of
   * its first run. `from`: what a new state begins with. `touches`: memory that nobody has touched is cleared too,
   * which takes its time here and not in the first piece of the prompt.
   */
  acquire(
    state: SequenceState,
    needs: Omit<PoolSize, 'slots'>,
    { from, touches }: { from: Snapshot | undefined; touches: boolean },
  ): { slot: number; fill: (cl: Recorder) => void } {
    if (state.place.kind === 'lost') throw state.place.error
    this.#pool.provide(needs)
    const { place } = state
    state.lastUse = ++this.#uses
    if (place.kind === 'slot') {
      state.isActive = true
      return { slot: place.slot, fill: (cl) => this.pages.recordTable(cl) }
    }
    const snapshot = place.kind === 'snapshot' ? place.snapshot : from
    const isOwn = snapshot !== from
    // Whatever is freed for its pages, this one is not.
    from?.share()
    let shared: SharedPages | undefined
    let slot: number
    try {
      shared = this.pages.from(snapshot, { isOwn })
      state.isActive = true
      slot = this.#freeSlot()
    } catch (error) {
      state.isActive = false
      from?.dispose()
      if (!isOwn) shared?.pages.free()
      else if (shared) snapshot!.setPages(shared.pages, snapshot!.position)
      throw error
    }
    const { states, sampling } = this.pools
    const wasUsed = this.#pool.use(slot)
    this.#occupants[slot] = new WeakRef(state)
    this.#forgotten.register(state, slot, state)
    state.place = { kind: 'slot', slot, pages: shared?.pages }
    this.pages.bind(slot, shared)
    const fill = (cl: Recorder) => {
      shared?.record(cl)
      this.pages.recordTable(cl)
      if (snapshot) {
        copyFields(cl, snapshot, states.fieldsOf(slot), 'to')
        if (snapshot.hasLogits) cl.copy(snapshot.logits, sampling.kept.at(slot))
        snapshot.dispose() // the state's own, or held since above
      } else if (wasUsed || (touches && this.#pool.isLazy)) {
        this.#pool.clear(cl, states.fieldsOf(slot))
      }
    }
    return { slot, fill }
  }

  /** The stream that ran it has ended: it keeps its slot until others need it. */
  rest(state: SequenceState): void {
    state.isActive = false
    state.lastUse = ++this.#uses
  }

  /** Frees what it has. */
  release(state: SequenceState): void {
    const { place } = state
    state.isActive = false
    state.hasLogits = false
    state.place = { kind: 'new' }
    if (place.kind === 'slot') {
      this.#leave(state, place.slot)
      place.pages?.free()
    } else if (place.kind === 'snapshot') place.snapshot.dispose()
  }

  /** Frees what it has, because that is of no use any more. */
  lose(state: SequenceState, error: unknown): void {
    this.release(state)
    state.place = { kind: 'lost', error }
  }

  /**
   * A copy of what a state holds after all runs in flight, for the caller to dispose of. `position`: tokens that it has
   * consumed.
   */
  async snapshot(state: SequenceState, position: number): Promise<Snapshot> {
    return this.copy(state, { logits: state.hasLogits, position })
  }

  /**
   * The same of a state that a stream runs: behind what has been started. `logits`: whether the state has them then.
   * `into`: memory to take, in the place of new one.
   */
  async copy(
    state: SequenceState,
    { logits, position, into }: { logits: boolean; position: number; into?: Snapshot | undefined },
  ): Promise<Snapshot> {
    const pools = this.pages.pool && this.#pool.pools
    const { run, snapshot } = this.#copyOf(state, { logits, position, into })
    try {
      await run
      snapshot.letGo()
      return snapshot
    } catch (error) {
      // Its partial page lies among those of others.
      if (pools && leavesAMixture(error)) this.losePool(error, pools)
      snapshot.dispose()
      throw error
    }
  }

  /** Makes a state what a snapshot holds, which stays as it is. */
  async restore(state: SequenceState, snapshot: Snapshot): Promise<void> {
    const { place } = state
    state.hasLogits = false
    if (place.kind !== 'slot') {
      this.release(state)
      this.adopt(state, await this.snapshot(new SequenceState(snapshot), snapshot.position))
      return
    }
    // Its own pages first: there may be no other one free.
    place.pages?.free()
    const shared = this.pages.from(snapshot, { isOwn: false })
    place.pages = shared?.pages
    this.pages.bind(place.slot, shared)
    const { states, sampling } = this.pools
    const run = this.#pool.run((cl) => {
      shared?.record(cl)
      this.pages.recordTable(cl)
      copyFields(cl, snapshot, states.fieldsOf(place.slot), 'to')
      if (snapshot.hasLogits) cl.copy(snapshot.logits, sampling.kept.at(place.slot))
    })
    // At once: others may need the slot before the run has ended.
    state.hasLogits = snapshot.hasLogits
    await run
    snapshot.letGo()
  }

  /** Gives a state a snapshot to live in, which is its own from now on. */
  adopt(state: SequenceState, snapshot: Snapshot): void {
    state.place = { kind: 'snapshot', snapshot }
    state.hasLogits = snapshot.hasLogits
  }

  /**
   * Nothing in the pool is of use any more, whether it has grown since or not: states there are lost, and the next one
   * gets a new pool. Does nothing where that has happened already.
   */
  losePool(error: unknown, pools: Pools): void {
    if (!this.#pool.lose(pools, error)) return
    for (const occupant of this.#occupants) {
      const state = occupant?.deref()
      if (!state) continue
      this.#forgotten.unregister(state)
      state.place = { kind: 'lost', error }
      state.hasLogits = false
    }
    this.#occupants = []
    for (const [snapshot, state] of this.#parking) {
      if (holds(state, snapshot)) this.lose(state, error)
    }
    this.pages.lose(error)
    this.#on.poolLost(error)
  }

  dispose(): void {
    this.#pool.dispose()
    this.pages.dispose()
  }

  // Runs what changes pages, behind what the device has.
  async #runInPool(record: (cl: Recorder) => void): Promise<void> {
    const { pools } = this.#pool
    try {
      await this.#pool.run(record)
    } catch (error) {
      this.losePool(error, pools)
      throw error
    }
  }

  #leave(state: SequenceState, slot: number): void {
    this.#forgotten.unregister(state)
    this.#occupants[slot] = undefined
    this.pages.unbind(slot)
  }

  #freeSlot(): number {
    void this.pools
    const { slots } = this.#pool
    for (let slot = 0; slot < slots; slot++) if (!this.#occupants[slot]?.deref()) return slot
    const idlest = this.#idlest()
    try {
      if (this.#pool.growSlots()) return slots
    } catch (error) {
      if (!idlest) throw error // there is no memory, and nobody to make room
    }
    if (!idlest) throw new Error('[acquire] every slot is active')
    this.#park(idlest.state, idlest.slot)
    return idlest.slot
  }

  // The sequence that has not run for longest, of those that do not.
  #idlest(): { state: SequenceState; slot: number } | undefined {
    let idlest: { state: SequenceState; slot: number } | undefined
    for (const [slot, occupant] of this.#occupants.entries()) {
      const state = occupant?.deref()
      if (!state || state.isActive) continue
      if (!idlest || state.lastUse < idlest.state.lastUse) idlest = { state, slot }
    }
    return idlest
  }

  // Another sequence gets the slot: its runs are queued behind this copy.
  #park(state: SequenceState, slot: number): void {
    const { pools } = this
    const { place } = state
    const { snapshot, run } = this.#copyOf(state, { logits: state.hasLogits, position: undefined })
    if (place.kind === 'slot') snapshot.setPages(place.pages, 0)
    this.#leave(state, slot)
    this.adopt(state, snapshot)
    this.#parking.set(snapshot, state)
    void run.then(
      () => {
        this.#parking.delete(snapshot)
        snapshot.letGo()
      },
      (error: unknown) => {
        this.#parking.delete(snapshot)
        if (holds(state, snapshot)) this.lose(state, error)
        else this.losePool(error, pools) // it has a slot again
      },
    )
  }

  // `position`: undefined where the pages of the state are to be moved.
  #copyOf(
    state: SequenceState,
    {
      logits: hasLogits,
      position,
      into,
    }: { logits: boolean; position: number | undefined; into?: Snapshot | undefined },
  ): { snapshot: Snapshot; run: Promise<void> } {
    const { place } = state
    if (place.kind === 'lost') {
      into?.dispose()
      throw place.error
    }
    const snapshot = into ?? new Snapshot(this.#model)
    snapshot.hasLogits = hasLogits
    if (place.kind === 'new') return { snapshot, run: Promise.resolve() }
    const pages = place.kind === 'slot' ? place.pages : place.snapshot.pages
    let shared: SharedPages | undefined
    try {
      if (pages && position !== undefined) shared = this.pages.share(pages, position)
    } catch (error) {
      snapshot.dispose()
      throw error
    }
    if (shared) snapshot.setPages(shared.pages, position!)
    const { lineage } = this.pools
    const copied = this.#pool.run((cl) => {
      shared?.record(cl)
      const { states, sampling } = this.pools
      const from =
        place.kind === 'slot'
          ? states.fieldsOf(place.slot)
          : place.snapshot.fields.map(({ tensor }) => tensor)
      copyFields(cl, snapshot, from, 'from')
      if (!hasLogits) return
      const logits = place.kind === 'slot' ? sampling.kept.at(place.slot) : place.snapshot.logits
      cl.copy(logits, snapshot.logits)
    })
    const run = copied.then(() => {
      // What the copy read was lost already, and nobody knew.
      if (place.kind === 'slot' && lineage.loss) throw lineage.loss.error
      if (state.place.kind === 'lost') throw state.place.error
    })
    return { snapshot, run }
  }
}

function holds({ place }: SequenceState, snapshot: Snapshot): boolean {
  return place.kind === 'snapshot' && place.snapshot === snapshot
}

/** Copies the fields of a snapshot to those of a slot, or from them. */
export function copyFields(
  cl: Recorder,
  snapshot: Snapshot,
  fields: readonly Tensor[],
  direction: 'to' | 'from',
): void {
  for (const [i, { tensor }] of snapshot.fields.entries()) {
    const field = fields[i]!
    if (direction === 'to') cl.copy(tensor, field)
    else cl.copy(field, tensor)
  }
}

// Who has which slot of the pool. A GPU's grows 1, 2, 4 … and never shrinks; a sequence that does not run makes room
// for one that does. Copies are queued behind the runs of the device, so nothing here waits.

import type { Device } from '../operations/device.js'
import type { LanguageModel } from '../models/language-model.js'
import { fieldBytes } from '../models/state-fields.js'
import type { Recorder } from '../operations/recorder.js'
import { Tensor } from '../operations/tensor.js'
import { SequenceState } from './sequence-state.js'
import { Snapshot } from './snapshot.js'
import { namedFields, type PoolSize, SamplingSlots, StatePool } from './state-pool.js'

/** The pool and what sampling keeps for each slot. */
export interface Pools {
  states: StatePool
  sampling: SamplingSlots
  /** The same of a pool and of those that it has grown to: what spoils one spoils the others. */
  lineage: symbol
}

export interface SlotEvents {
  /** Lists that use the pool are of no use any more. */
  newPool(): void
  /** The pool is lost, and so are the streams that run in it. */
  poolLost(error: unknown): void
}

// What a pool begins with: most calls have few stop tokens and biases, and 64 is the default context of a penalty.
const FIRST_SIZE: PoolSize = { slots: 1, stops: 8, recent: 64, biases: 8 }

export class SlotAllocator {
  readonly #model: LanguageModel
  readonly #maxSlots: number
  readonly #on: SlotEvents
  /** Memory that nobody has touched takes none of the machine's. */
  readonly #isLazy: boolean
  #size: PoolSize
  #pools: Pools | undefined
  /** By slot. Weak: a session that nobody holds any more leaves its slot. */
  #occupants: (WeakRef<SequenceState> | undefined)[] = []
  readonly #forgotten = new FinalizationRegistry<number>((slot) => {
    if (!this.#occupants[slot]?.deref()) this.#occupants[slot] = undefined
  })
  /** Slots that hold zeros, as they were allocated. */
  readonly #untouched = new Set<number>()
  /** As many as the largest field has bytes. */
  #zeros: Tensor | undefined
  #uses = 0

  constructor(model: LanguageModel, maxSlots: number, on: SlotEvents) {
    this.#model = model
    this.#maxSlots = maxSlots
    this.#on = on
    this.#isLazy = model.device.name === 'cpu'
    this.#size = FIRST_SIZE
  }

  /** Allocated when it is first asked for. */
  get pools(): Pools {
    this.#pools ??= this.#allocate()
    return this.#pools
  }

  get device(): Device {
    return this.#model.device
  }

  /** Bytes of the pool. */
  get bytes(): number {
    if (!this.#pools) return 0
    const { states, sampling } = this.#pools
    const bytes = [...states.tensors, ...sampling.tensors].reduce(
      (sum, { memory }) => sum + memory.byteLength,
      this.#zeros!.memory.byteLength,
    )
    const { slots } = this.#size
    return this.#isLazy ? Math.round((bytes / slots) * this.slots) : bytes
  }

  /** Slots that have been used. */
  get slots(): number {
    return this.#pools ? this.#size.slots - this.#untouched.size : 0
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
    this.#provide(needs)
    state.isActive = true
    state.lastUse = ++this.#uses
    if (state.place.kind === 'slot') return { slot: state.place.slot, fill: () => {} }
    const slot = this.#freeSlot()
    const { place } = state
    const { states, sampling } = this.pools
    const wasUntouched = this.#untouched.delete(slot)
    this.#occupants[slot] = new WeakRef(state)
    this.#forgotten.register(state, slot, state)
    state.place = { kind: 'slot', slot }
    const fill = (cl: Recorder) => {
      const snapshot = place.kind === 'snapshot' ? place.snapshot : from
      if (snapshot) {
        copyFields(cl, snapshot, states.fieldsOf(slot), 'to')
        if (snapshot.hasLogits) cl.copy(snapshot.logits, sampling.kept.at(slot))
        if (snapshot !== from) snapshot.dispose()
      } else if (!wasUntouched || (touches && this.#isLazy)) this.#clear(cl, states.fieldsOf(slot))
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
    if (place.kind === 'slot') this.#leave(state, place.slot)
    else if (place.kind === 'snapshot') place.snapshot.dispose()
  }

  /** Frees what it has, because that is of no use any more. */
  lose(state: SequenceState, error: unknown): void {
    this.release(state)
    state.place = { kind: 'lost', error }
  }

  /** A copy of what a state holds after all runs in flight, for the caller to dispose of. */
  async snapshot(state: SequenceState): Promise<Snapshot> {
    return this.copy(state, { logits: state.hasLogits })
  }

  /**
   * The same of a state that a stream runs: behind what has been started. `logits`: whether the state has them then.
   * `into`: memory to take, in the place of new one.
   */
  async copy(
    state: SequenceState,
    { logits, into }: { logits: boolean; into?: Snapshot | undefined },
  ): Promise<Snapshot> {
    const { run, snapshot } = this.#copyOf(state, logits, into)
    try {
      await run
      snapshot.letGo()
      return snapshot
    } catch (error) {
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
      this.adopt(state, await this.snapshot(new SequenceState(snapshot)))
      return
    }
    const { states, sampling } = this.pools
    const run = this.#run((cl) => {
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
  losePool(error: unknown, { lineage }: Pools): void {
    if (this.#pools?.lineage !== lineage) return
    for (const occupant of this.#occupants) {
      const state = occupant?.deref()
      if (!state) continue
      this.#forgotten.unregister(state)
      state.place = { kind: 'lost', error }
      state.hasLogits = false
    }
    this.#pools.states.dispose()
    this.#pools.sampling.dispose()
    this.#pools = undefined
    this.#occupants = []
    this.#untouched.clear()
    this.#size = { ...this.#size, slots: 1 }
    this.#on.poolLost(error)
  }

  dispose(): void {
    this.#pools?.states.dispose()
    this.#pools?.sampling.dispose()
    this.#zeros?.dispose()
  }

  #leave(state: SequenceState, slot: number): void {
    this.#forgotten.unregister(state)
    this.#occupants[slot] = undefined
  }

  #freeSlot(): number {
    const { slots } = this.#size
    void this.pools
    for (let slot = 0; slot < slots; slot++) if (!this.#occupants[slot]?.deref()) return slot
    const idlest = this.#idlest()
    if (slots < this.#maxSlots) {
      try {
        this.#grow({ ...this.#size, slots: Math.min(2 * slots, this.#maxSlots) })
        return slots
      } catch (error) {
        if (!idlest) throw error // there is no memory, and nobody to make room
      }
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
    const { snapshot, run } = this.#copyOf(state, state.hasLogits)
    this.#leave(state, slot)
    this.adopt(state, snapshot)
    void run.then(
      () => snapshot.letGo(),
      (error: unknown) => {
        if (state.place.kind === 'snapshot' && state.place.snapshot === snapshot) {
          this.lose(state, error)
        } else this.losePool(error, pools) // it has a slot again
      },
    )
  }

  #copyOf(
    state: SequenceState,
    hasLogits: boolean,
    into?: Snapshot,
  ): { snapshot: Snapshot; run: Promise<void> } {
    const { place } = state
    if (place.kind === 'lost') {
      into?.dispose()
      throw place.error
    }
    const snapshot = into ?? new Snapshot(this.#model)
    snapshot.hasLogits = hasLogits
    if (place.kind === 'new') return { snapshot, run: Promise.resolve() }
    const run = this.#run((cl) => {
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
    return { snapshot, run }
  }

  // Room for as many stop tokens, recent tokens and biases, in powers of two.
  #provide({ stops, recent, biases }: Omit<PoolSize, 'slots'>): void {
    const old = this.#size
    const size = {
      slots: old.slots,
      stops: atLeast(old.stops, stops),
      recent: atLeast(old.recent, recent),
      biases: atLeast(old.biases, biases),
    }
    const isEnough =
      size.stops === old.stops && size.recent === old.recent && size.biases === old.biases
    if (isEnough) return
    if (this.#pools) this.#grow(size)
    else this.#size = size
  }

  #grow(size: PoolSize): void {
    const old = this.pools
    const { slots } = this.#size
    const used = this.#occupants.flatMap((_, slot) => (this.#untouched.has(slot) ? [] : [slot]))
    const pools = this.#makePools(size, size.slots === slots ? old.states : undefined, old.lineage)
    const run = this.#run((cl) => {
      if (pools.states !== old.states) copyStates(cl, old.states, pools.states)
      for (const slot of used) copySampling(cl, old.sampling, pools.sampling, slot)
    })
    run.catch((error: unknown) => this.losePool(error, pools))
    for (let slot = slots; slot < size.slots; slot++) this.#untouched.add(slot)
    if (pools.states !== old.states) old.states.dispose()
    old.sampling.dispose()
    this.#size = size
    this.#pools = pools
    this.#on.newPool()
  }

  // On the CPU memory costs nothing until it is touched: all slots are there from the start, and nobody waits
  // while states are copied. Where the system does not give so much, and on a GPU, the pool grows.
  #allocate(): Pools {
    const largest = Math.max(4, ...namedFields(this.#model).map(fieldBytes))
    this.#zeros ??= this.#model.device.tensor('uint32', [Math.ceil(largest / 4)])
    const { pools, slots } = this.#allSlots() ?? { pools: this.#makePools(this.#size), slots: 1 }
    this.#size = { ...this.#size, slots }
    for (let slot = 0; slot < slots; slot++) this.#untouched.add(slot)
    return pools
  }

  #allSlots(): { pools: Pools; slots: number } | undefined {
    if (!this.#isLazy) return undefined
    const slots = this.#maxSlots
    try {
      return { pools: this.#makePools({ ...this.#size, slots }), slots }
    } catch {
      return undefined
    }
  }

  #makePools(
    size: PoolSize,
    states = new StatePool(this.#model, size.slots),
    lineage = Symbol('pool'),
  ): Pools {
    try {
      return { states, sampling: new SamplingSlots(this.#model, size), lineage }
    } catch (error) {
      if (states !== this.#pools?.states) states.dispose()
      throw error
    }
  }

  #clear(cl: Recorder, fields: readonly Tensor[]): void {
    const { memory } = this.#zeros!
    for (const field of fields) cl.copy(new Tensor(memory, field.dtype, field.shape), field)
  }

  async #run(record: (cl: Recorder) => void): Promise<void> {
    using list = this.#model.device.record(record)
    if (list.length > 0) await list.run()
  }
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

function copyStates(cl: Recorder, from: StatePool, to: StatePool): void {
  const targets = to.tensors
  for (const [i, tensor] of from.tensors.entries()) cl.copy(tensor, targets[i]!.view(tensor.shape))
}

// Rows may have become longer.
function copySampling(cl: Recorder, from: SamplingSlots, to: SamplingSlots, slot: number): void {
  const targets = to.tensors
  for (const [i, tensor] of from.tensors.entries()) {
    cl.copy(tensor.at(slot), targets[i]!.at(slot).columns(0, tensor.cols))
  }
}

function atLeast(size: number, wanted: number): number {
  let result = size
  while (result < wanted) result *= 2
  return result
}

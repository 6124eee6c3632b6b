// The memory of all slots, and how it grows. On the CPU memory costs nothing until it is touched: all slots are there
// from the start, and nobody waits while states are copied. Where the system does not give so much, and on a GPU, the
// pool grows 1, 2, 4 … and never shrinks. Copies are queued behind the runs of the device, so nothing here waits.

import type { LanguageModel } from '../models/language-model.js'
import { fieldBytes } from '../models/state-fields.js'
import type { Recorder } from '../operations/recorder.js'
import { Tensor } from '../operations/tensor.js'
import type { PagePool } from './page-pool.js'
import { namedFields, type PoolSize, SamplingSlots, StatePool } from './state-pool.js'

/** The pool and what sampling keeps for each slot. */
export interface Pools {
  states: StatePool
  sampling: SamplingSlots
  /** Where the model keeps something of each position. */
  pages?: PagePool | undefined
  /** The same of a pool and of those that it has grown to: what spoils one spoils the others. */
  lineage: Lineage
}

/** Pools that have grown one out of the other. */
export interface Lineage {
  /** Why nothing in them is of use any more. */
  loss: { error: unknown } | undefined
}

export interface GrowthEvents {
  /** Lists that use the pool are of no use any more. */
  newPool(): void
  /** What was to be copied into a pool did not get there. */
  growthFailed(error: unknown, pools: Pools): void
}

// What a pool begins with: most calls have few stop tokens and biases, and 64 is the default context of a penalty.
const FIRST_SIZE: PoolSize = { slots: 1, stops: 8, recent: 64, biases: 8 }

export class GrowingPool {
  readonly #model: LanguageModel
  readonly #maxSlots: number
  readonly #on: GrowthEvents
  /** Memory that nobody has touched takes none of the machine's. */
  readonly isLazy: boolean
  #size: PoolSize
  #pools: Pools | undefined
  /** Slots that hold zeros, as they were allocated. */
  readonly #untouched = new Set<number>()
  /** As many as the largest field has bytes. */
  #zeros: Tensor | undefined

  constructor(model: LanguageModel, maxSlots: number, on: GrowthEvents) {
    this.#model = model
    this.#maxSlots = maxSlots
    this.#on = on
    this.isLazy = model.device.name === 'cpu'
    this.#size = FIRST_SIZE
  }

  /** Allocated when it is first asked for. */
  get pools(): Pools {
    this.#pools ??= this.#allocate()
    return this.#pools
  }

  /** Slots that there are. */
  get slots(): number {
    return this.#size.slots
  }

  /** Slots that have been used. */
  get usedSlots(): number {
    return this.#pools ? this.#size.slots - this.#untouched.size : 0
  }

  /** Bytes of the pool. */
  get bytes(): number {
    if (!this.#pools) return 0
    const { states, sampling } = this.#pools
    const bytes = [...states.tensors, ...sampling.tensors].reduce(
      (sum, { memory }) => sum + memory.byteLength,
      this.#zeros!.memory.byteLength,
    )
    return this.isLazy ? Math.round((bytes / this.#size.slots) * this.usedSlots) : bytes
  }

  /** Notes that a slot is used from now on; returns whether it was before. */
  use(slot: number): boolean {
    return !this.#untouched.delete(slot)
  }

  /** Room for as many stop tokens, recent tokens and biases, in powers of two. */
  provide({ stops, recent, biases }: Omit<PoolSize, 'slots'>): void {
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

  /** Twice as many slots, or as many as there may be; false where there are as many. Throws when there is no memory. */
  growSlots(): boolean {
    const { slots } = this.#size
    if (slots >= this.#maxSlots) return false
    this.#grow({ ...this.#size, slots: Math.min(2 * slots, this.#maxSlots) })
    return true
  }

  /**
   * Forgets the pool, whether it has grown since or not: the next one is new. Returns false where that has happened
   * already.
   */
  lose({ lineage }: Pools, error: unknown): boolean {
    if (this.#pools?.lineage !== lineage) return false
    lineage.loss = { error }
    this.#pools.states.dispose()
    this.#pools.sampling.dispose()
    this.#pools = undefined
    this.#untouched.clear()
    this.#size = { ...this.#size, slots: 1 }
    return true
  }

  /** Records zeros for the fields of a slot. */
  clear(cl: Recorder, fields: readonly Tensor[]): void {
    const { memory } = this.#zeros!
    for (const field of fields) cl.copy(new Tensor(memory, field.dtype, field.shape), field)
  }

  /** Runs what is recorded, behind what the device has. */
  async run(record: (cl: Recorder) => void): Promise<void> {
    using list = this.#model.device.record(record)
    if (list.length > 0) await list.run()
  }

  dispose(): void {
    this.#pools?.states.dispose()
    this.#pools?.sampling.dispose()
    this.#zeros?.dispose()
  }

  #grow(size: PoolSize): void {
    const old = this.pools
    const { slots } = this.#size
    const used = Array.from({ length: slots }, (_, slot) => slot).filter(
      (slot) => !this.#untouched.has(slot),
    )
    const pools = this.#makePools(size, size.slots === slots ? old.states : undefined, old.lineage)
    const run = this.run((cl) => {
      if (pools.states !== old.states) copyStates(cl, old.states, pools.states)
      for (const slot of used) copySampling(cl, old.sampling, pools.sampling, slot)
    })
    run.catch((error: unknown) => this.#on.growthFailed(error, pools))
    for (let slot = slots; slot < size.slots; slot++) this.#untouched.add(slot)
    if (pools.states !== old.states) old.states.dispose()
    old.sampling.dispose()
    this.#size = size
    this.#pools = pools
    this.#on.newPool()
  }

  #allocate(): Pools {
    const largest = Math.max(4, ...namedFields(this.#model).map(fieldBytes))
    this.#zeros ??= this.#model.device.tensor('uint32', [Math.ceil(largest / 4)])
    const { pools, slots } = this.#allSlots() ?? { pools: this.#makePools(this.#size), slots: 1 }
    this.#size = { ...this.#size, slots }
    for (let slot = 0; slot < slots; slot++) this.#untouched.add(slot)
    return pools
  }

  #allSlots(): { pools: Pools; slots: number } | undefined {
    if (!this.isLazy) return undefined
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
    lineage: Lineage = { loss: undefined },
  ): Pools {
    try {
      return { states, sampling: new SamplingSlots(this.#model, size), lineage }
    } catch (error) {
      if (states !== this.#pools?.states) states.dispose()
      throw error
    }
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

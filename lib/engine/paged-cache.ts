// What a model keeps of each position of its sequences: keys and values of full attention, in pages of 256 positions.
// Sequences share full pages, and nothing is copied when one goes on: the page that it writes is its own. The pool grows
// 1, 2, 4 … as positions come, within a budget. Copies are queued behind the runs of the device, so nothing here waits.

import type { LanguageModel } from '../models/language-model.js'
import type { Recorder } from '../operations/recorder.js'
import type { Tensor } from '../operations/tensor.js'
import { PageAllocator, type Page } from './page-allocator.js'
import { PAGE_SIZE } from '../operations/arguments.js'
import { PageList, pagesFor, type PageSpace } from './page-list.js'
import { pageBytes, PagePool, type PagePoolSize } from './page-pool.js'

export interface PagedCacheOptions {
  /** Sequences that run at once. */
  slots: number
  /** Of all pages. At least one is there whatever it says. */
  maxBytes: number
  /** Unused memory that is kept for later, in bytes. Defaults to 64 MiB. */
  keptBytes?: number | undefined
}

export interface PagedCacheEvents {
  /** Lists that use the pool are of no use any more. */
  newPool(): void
  /** Runs what is recorded, behind what the device has. The pool is lost where it is rejected. */
  run(record: (cl: Recorder) => void): Promise<void>
  /** Frees pages that somebody only keeps for later; false where there are none. */
  freeSome(): boolean
}

/** In bytes, but for the counts. */
export interface PageMemory {
  /** Of all pages that there are. */
  bytes: number
  /** The most that they may become. */
  maxBytes: number
  pages: number
  /** Pages that sequences, checkpoints and the prompt cache hold; one that they share counts once. */
  pagesInUse: number
  bytesPerToken: number
}

/** A page of a sequence, or what is used of it. */
export interface UsedPage {
  /** Positions. */
  count: number
  /** Each field of each layer, (count, elements). Of no use once the pool has grown: to be recorded at once. */
  fields: Tensor[]
}

/** What a copy of a sequence's first positions is made of. */
export interface SharedPages {
  /** For the caller to free. */
  pages: PageList
  /** Copies the partial page. To be recorded at once. */
  record(cl: Recorder): void
}

const FIRST_SIZE = { pages: 1, pagesPerSlot: 8 }
const KEPT_BYTES = 64 * 2 ** 20

export class PagedCache {
  readonly #model: LanguageModel
  readonly #slots: number
  readonly #maxPages: number
  readonly #keptBytes: number
  readonly #pageBytes: number
  readonly #on: PagedCacheEvents
  #space: PageSpace
  #pool: PagePool | undefined
  /** Whose pages the rows of the table name. Weak: a sequence that nobody holds any more leaves its row. */
  #rows: (WeakRef<PageList> | undefined)[] = []
  /** Rows whose entries are not those of their sequences. */
  readonly #stale = new Set<number>()

  constructor(model: LanguageModel, options: PagedCacheOptions, on: PagedCacheEvents) {
    const { slots, maxBytes, keptBytes = KEPT_BYTES } = options
    this.#model = model
    this.#slots = slots
    this.#pageBytes = pageBytes(model)
    this.#maxPages = Math.max(1, Math.floor(maxBytes / this.#pageBytes))
    this.#keptBytes = keptBytes
    this.#on = on
    this.#space = this.#newSpace()
  }

  /** Allocated when it is first asked for. */
  get pool(): PagePool {
    this.#pool ??= new PagePool(this.#model, { ...FIRST_SIZE, slots: this.#slots })
    return this.#pool
  }

  get memory(): PageMemory {
    const { capacity, inUse, touched } = this.#space.allocator
    // Of the CPU's, memory that nobody has touched takes none.
    const there = this.#model.device.name === 'cpu' ? touched : capacity
    return {
      bytes: this.#pool ? there * this.#pageBytes : 0,
      maxBytes: this.#maxPages * this.#pageBytes,
      pages: capacity,
      pagesInUse: inUse,
      bytesPerToken: this.#pageBytes / PAGE_SIZE,
    }
  }

  /** The pages of a sequence that has seen nothing. */
  empty(): PageList {
    return new PageList(this.#space)
  }

  /**
   * Pages for the positions `from` up to but not including `to`, which are written next. Returns false, and changes
   * nothing, where they cannot be had. `expected`: positions that the sequence will have soon.
   */
  reserve(
    list: PageList,
    { from, to, expected = to }: { from: number; to: number; expected?: number | undefined },
  ): boolean {
    list.check()
    list.checkMayWrite(from)
    const missing = pagesFor(to) - list.pages.length
    if (missing <= 0) return true
    const pages = this.#take(missing, {
      pages: pagesFor(expected) - list.pages.length,
      pagesPerSlot: pagesFor(Math.max(to, expected)),
    })
    if (!pages) return false
    list.push(pages)
    for (const [slot, row] of this.#rows.entries()) if (row?.deref() === list) this.#stale.add(slot)
    return true
  }

  /**
   * A second list of the first `length` positions: full pages are shared, a partial one is copied. Undefined where there
   * is no page for it.
   */
  share(list: PageList, length: number): SharedPages | undefined {
    list.check()
    const { allocator } = list.space
    const full = Math.floor(length / PAGE_SIZE)
    const rest = length % PAGE_SIZE
    if (list.pages.length < pagesFor(length)) throw new Error('[pages] positions without a page')
    // Held before anything is freed for the copy.
    const held = list.pages.slice(0, pagesFor(length)).map((page) => allocator.hold(page))
    const source = rest > 0 ? held[full] : undefined
    const copies = source ? this.#take(1) : []
    if (source) allocator.release(source)
    if (!copies) {
      for (const page of held.slice(0, full)) allocator.release(page)
      return undefined
    }
    const [copy] = copies
    return {
      pages: new PageList(list.space, [...held.slice(0, full), ...copies]),
      record: (cl) => {
        if (!source || !copy) return
        const targets = this.pool.positionsOf(copy.id, rest)
        for (const [i, field] of this.pool.positionsOf(source.id, rest).entries()) {
          cl.copy(field, targets[i]!)
        }
      },
    }
  }

  /** The full pages that `share` would share, and the bytes of those that it would take. */
  costOf(list: PageList, length: number): { shared: readonly Page[]; bytes: number } {
    const shared = list.pages.slice(0, Math.floor(length / PAGE_SIZE))
    return { shared, bytes: length % PAGE_SIZE === 0 ? 0 : this.#pageBytes }
  }

  /** The first `length` positions, page by page. */
  usedPages(list: PageList, length: number): UsedPage[] {
    list.check()
    const { pool } = this
    return list.pages.slice(0, pagesFor(length)).map(({ id }, i) => {
      const count = Math.min(PAGE_SIZE, length - i * PAGE_SIZE)
      return { count, fields: pool.positionsOf(id, count) }
    })
  }

  /** The row of a slot names the pages of a sequence from now on. */
  bind(slot: number, list: PageList): void {
    this.#rows[slot] = new WeakRef(list)
    this.#stale.add(slot)
  }

  /** Nobody runs at a slot. */
  unbind(slot: number): void {
    this.#rows[slot] = undefined
    this.#stale.delete(slot)
  }

  /** Whether rows of the table have to be written before anything runs. */
  get isStale(): boolean {
    return this.#stale.size > 0
  }

  /** Records what makes the table name the pages that sequences have. */
  recordTable(cl: Recorder): void {
    const { device } = this.#model
    const { table, size } = this.pool
    for (const slot of this.#stale) {
      const list = this.#rows[slot]?.deref()
      if (!list) continue
      const row = device.tensor('uint32', [1, size.pagesPerSlot], this.pool.rowOf(list.pages))
      cl.copy(row, table.at(slot))
      row.dispose()
    }
    this.#stale.clear()
  }

  /** Gives back memory where most of it is unused: pages move together. */
  giveBack(): void {
    if (!this.#pool) return
    const { allocator } = this.#space
    const { capacity, inUse } = allocator
    const isMuch = (capacity - inUse) * this.#pageBytes > this.#keptBytes
    if (4 * inUse > capacity || !isMuch) return
    const pages = powerOfTwo(Math.max(FIRST_SIZE.pages, inUse))
    const pool = this.#allocate([{ ...this.#pool.size, pages }])
    if (!pool) return // there is no memory to move them to: another time
    const old = this.#pool
    const moves = allocator.shrink(pages)
    const { touched } = allocator
    this.#run((cl) => {
      // Those that moved are behind what is copied as a whole, or copied twice.
      copyPages(cl, old, pool, Math.min(touched, pages))
      for (const { from, to } of moves) {
        const targets = pool.positionsOf(to, PAGE_SIZE)
        for (const [i, field] of old.positionsOf(from, PAGE_SIZE).entries()) {
          cl.copy(field, targets[i]!)
        }
      }
    })
    this.#replace(pool)
  }

  /** Forgets all pages: what they hold is of no use any more, because of `error`. */
  lose(error: unknown): void {
    this.#space.lost = { error }
    this.#space = this.#newSpace()
    this.#pool?.dispose()
    this.#pool = undefined
    this.#rows = []
    this.#stale.clear()
  }

  dispose(): void {
    this.#pool?.dispose()
    this.#pool = undefined
  }

  #newSpace(): PageSpace {
    return { allocator: new PageAllocator(this.#pageBytes, FIRST_SIZE.pages), lost: undefined }
  }

  // Whoever uses the pages is told by the loss of the pool.
  #run(record: (cl: Recorder) => void): void {
    this.#on.run(record).catch(() => {})
  }

  // `expected`: what will be needed soon, these among it.
  #take(count: number, expected: Partial<Omit<PagePoolSize, 'slots'>> = {}): Page[] | undefined {
    const { pages = count } = expected
    const pagesPerSlot = Math.min(expected.pagesPerSlot ?? 0, this.#maxPages)
    for (;;) {
      const { allocator } = this.#space
      const isWide = this.pool.size.pagesPerSlot >= pagesPerSlot
      const taken = isWide ? allocator.take(count) : undefined
      if (taken) return taken
      const least = allocator.inUse + count
      const hasGrown = this.#grow({ least, wanted: allocator.inUse + pages, pagesPerSlot })
      if (!hasGrown && !this.#on.freeSome()) return undefined
    }
  }

  // Twice as large, or as many as are wanted; where there is no memory for it, as large as it has to be.
  #grow({
    least,
    wanted,
    pagesPerSlot,
  }: {
    least: number
    wanted: number
    pagesPerSlot: number
  }): boolean {
    const old = this.pool
    const { pages: before, pagesPerSlot: width, slots } = old.size
    if (least > this.#maxPages) return false
    const size = (pages: number): PagePoolSize => ({
      slots,
      pages: Math.min(Math.max(pages, before), this.#maxPages),
      pagesPerSlot: Math.max(width, powerOfTwo(pagesPerSlot)),
    })
    const isEnough = least <= before
    const pool = this.#allocate(
      isEnough ? [size(before)] : [size(Math.max(2 * before, wanted)), size(least)],
    )
    if (!pool) return false
    const { allocator } = this.#space
    const { touched } = allocator
    if (touched > 0) this.#run((cl) => copyPages(cl, old, pool, touched))
    allocator.grow(pool.size.pages)
    this.#replace(pool)
    return true
  }

  #allocate(sizes: readonly PagePoolSize[]): PagePool | undefined {
    const { device } = this.#model
    for (const size of sizes) {
      const { memory } = device
      const free = memory ? memory.budget - memory.inUse : Number.POSITIVE_INFINITY
      if (size.pages * this.#pageBytes > free) continue
      try {
        return new PagePool(this.#model, size)
      } catch {} // the system does not give so much
    }
    return undefined
  }

  #replace(pool: PagePool): void {
    this.#pool?.dispose()
    this.#pool = pool
    for (const [slot, row] of this.#rows.entries()) if (row) this.#stale.add(slot)
    this.#on.newPool()
  }
}

// The first pages of all fields.
function copyPages(cl: Recorder, from: PagePool, to: PagePool, count: number): void {
  if (count === 0) return
  const targets = to.fields
  for (const [i, tensor] of from.fields.entries()) {
    const shape = [count, ...tensor.shape.slice(1)]
    cl.copy(tensor.view(shape), targets[i]!.view(shape))
  }
}

/** The pools that are there at once when one sequence of so many positions comes first: it moves from one to the other. */
export function poolSizesFor(positions: number): PagePoolSize[] {
  const first = { ...FIRST_SIZE, slots: 1 }
  const pages = pagesFor(positions)
  if (pages <= first.pages) return [first]
  const pagesPerSlot = Math.max(first.pagesPerSlot, powerOfTwo(pages))
  return [first, { ...first, pages, pagesPerSlot }]
}

function powerOfTwo(least: number): number {
  let result = 1
  while (result < least) result *= 2
  return result
}

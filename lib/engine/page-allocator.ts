// Which pages are in use, and how many hold each: ids and counts, no memory.

/** Memory of 256 positions of a sequence, in all layers. It may have several holders, and is written only while it has one. */
export class Page {
  /** Its place in memory. Changes only when memory is given back. */
  id: number
  readonly bytes: number
  /** Nobody holds a page with none, and its id may be another one's. */
  holders = 1

  /** Use `allocator.take`. */
  constructor(id: number, bytes: number) {
    this.id = id
    this.bytes = bytes
  }
}

/** A page whose bytes go elsewhere. */
export interface PageMove {
  from: number
  to: number
}

/**
 * Pages by id. The lowest ids are taken first, so that those at the end can be given back.
 *
 * @example
 * const allocator = new PageAllocator(4096, 8)
 * const pages = allocator.take(3) // undefined where fewer are free
 * for (const page of pages ?? []) allocator.release(page)
 */
export class PageAllocator {
  readonly pageBytes: number
  /** By id; undefined for one that is free. */
  #pages: (Page | undefined)[]
  #inUse = 0
  /** No lower id is free. */
  #lowest = 0
  /** One more than the highest id that was ever taken. */
  #touched = 0

  constructor(pageBytes: number, capacity: number) {
    this.pageBytes = pageBytes
    this.#pages = Array.from({ length: capacity }, () => undefined)
  }

  /** Pages that there are. */
  get capacity(): number {
    return this.#pages.length
  }

  /** Pages that somebody holds. */
  get inUse(): number {
    return this.#inUse
  }

  /** Pages whose memory somebody has used since it was allocated. */
  get touched(): number {
    return this.#touched
  }

  /** So many pages, each with one holder; undefined, and none is taken, where fewer are free. */
  take(count: number): Page[] | undefined {
    if (this.capacity - this.#inUse < count) return undefined
    const taken: Page[] = []
    for (let id = this.#lowest; taken.length < count; id++) {
      this.#lowest = id + 1
      if (this.#pages[id]) continue
      const page = new Page(id, this.pageBytes)
      this.#pages[id] = page
      taken.push(page)
    }
    this.#inUse += count
    this.#touched = Math.max(this.#touched, this.#lowest)
    return taken
  }

  /** For one holder more. */
  hold(page: Page): Page {
    this.#check(page)
    page.holders += 1
    return page
  }

  /** One holder less. The last one frees it. */
  release(page: Page): void {
    this.#check(page)
    page.holders -= 1
    if (page.holders > 0) return
    this.#pages[page.id] = undefined
    this.#inUse -= 1
    this.#lowest = Math.min(this.#lowest, page.id)
  }

  /** There is memory for so many, more than before. */
  grow(capacity: number): void {
    while (this.#pages.length < capacity) this.#pages.push(undefined)
  }

  /**
   * There is memory for so many only, of which all in use have a place. Returns whose bytes have to go elsewhere: their
   * ids are new.
   */
  shrink(capacity: number): PageMove[] {
    if (capacity < this.#inUse) throw new Error('[pages] more pages are in use than there is room')
    const beyond = this.#pages.splice(capacity).filter((page) => page !== undefined)
    let to = 0
    const moves = beyond.map((page) => {
      while (this.#pages[to]) to++
      const move = { from: page.id, to }
      this.#pages[to] = page
      page.id = to
      return move
    })
    this.#lowest = 0
    this.#touched = 1 + this.#pages.findLastIndex((page) => page !== undefined)
    return moves
  }

  // A page that is held twice or freed twice would hold two sequences.
  #check(page: Page): void {
    if (this.#pages[page.id] !== page) throw new Error(`[pages] page ${page.id} was freed before`)
  }
}

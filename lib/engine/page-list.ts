// The pages of one sequence.

import { PAGE_SIZE } from '../operations/arguments.js'
import type { Page, PageAllocator } from './page-allocator.js'

/** Pages that hold so many positions. */
export function pagesFor(positions: number): number {
  return Math.ceil(positions / PAGE_SIZE)
}

/** Where pages are. They are lost together. */
export interface PageSpace {
  readonly allocator: PageAllocator
  /** Why nothing in it is of use any more. */
  lost: { error: unknown } | undefined
}

interface Held {
  readonly space: PageSpace
  readonly pages: Page[]
}

function freeAll({ space, pages }: Held): void {
  for (const page of pages.splice(0)) space.allocator.release(page)
}

// Whoever held a list may have forgotten to free it.
const forgotten = new FinalizationRegistry<Held>(freeAll)

/** The pages of the positions of one sequence, in order: one holder of each. */
export class PageList {
  readonly #held: Held

  /** `pages`: the list is one of their holders from now on. */
  constructor(space: PageSpace, pages: Page[] = []) {
    this.#held = { space, pages }
    forgotten.register(this, this.#held, this)
  }

  get space(): PageSpace {
    return this.#held.space
  }

  get pages(): readonly Page[] {
    return this.#held.pages
  }

  /** Of all pages. */
  get bytes(): number {
    return this.pages.length * this.space.allocator.pageBytes
  }

  /** Throws why the pages are of no use any more. */
  check(): void {
    const { lost } = this.space
    if (lost) throw lost.error
  }

  /** Adds pages, of which the list is the only holder. */
  push(pages: readonly Page[]): void {
    this.#held.pages.push(...pages)
  }

  /**
   * Throws where somebody else holds a page from the one of `position` on: it would see what is written. Only a fault of
   * the engine leads there.
   */
  checkMayWrite(position: number): void {
    const shared = this.pages
      .slice(Math.floor(position / PAGE_SIZE))
      .find(({ holders }) => holders > 1)
    if (shared) throw new Error(`[pages] page ${shared.id} is shared and would be written`)
  }

  /** Frees what nobody else holds. Calling it again does nothing. */
  free(): void {
    freeAll(this.#held)
  }
}

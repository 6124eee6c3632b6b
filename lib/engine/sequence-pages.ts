// What sequences keep of their positions, of models that keep anything: others have no pages, and nothing here does anything.

import type { LanguageModel } from '../models/language-model.js'
import { PAGE_SIZE } from '../operations/arguments.js'
import type { Recorder } from '../operations/recorder.js'
import { InsufficientMemoryError } from '../support/errors.js'
import { formatBytes } from '../support/format.js'
import type { PageList } from './page-list.js'
import type { PagePool } from './page-pool.js'
import {
  type PagedCacheEvents,
  type PagedCacheOptions,
  type PageMemory,
  PagedCache,
  type SharedPages,
  type UsedPage,
} from './paged-cache.js'
import type { SequenceState } from './sequence-state.js'
import type { SharedPart } from './shared-parts.js'
import type { Snapshot } from './snapshot.js'

export class SequencePages {
  readonly #cache: PagedCache | undefined
  readonly #on: PagedCacheEvents

  constructor(model: LanguageModel, options: PagedCacheOptions, on: PagedCacheEvents) {
    this.#on = on
    if (model.pagedFields.every((fields) => fields.length === 0)) return
    this.#cache = new PagedCache(model, options, on)
  }

  /** Allocated when it is first asked for; undefined where the model keeps nothing. */
  get pool(): PagePool | undefined {
    return this.#cache?.pool
  }

  get memory(): PageMemory | undefined {
    return this.#cache?.memory
  }

  /**
   * Pages for positions that a state, which has a slot, is about to write. Returns false where they cannot be had: others
   * may free some. `expected`: positions that it will have soon.
   */
  reserve(
    { place }: SequenceState,
    positions: { from: number; to: number; expected?: number | undefined },
  ): boolean {
    if (place.kind !== 'slot' || !place.pages) return true
    return this.#cache!.reserve(place.pages, positions)
  }

  /** Brings the pages that were reserved to the device. Called before a run that writes them is started. */
  writeTable(): void {
    if (!this.#cache?.isStale) return
    this.#on.run((cl) => this.recordTable(cl)).catch(() => {}) // streams are told by the loss of the pool
  }

  /** Records the same. */
  recordTable(cl: Recorder): void {
    this.#cache?.recordTable(cl)
  }

  /** The row of a slot names the pages of a sequence from now on. */
  bind(slot: number, shared: SharedPages | undefined): void {
    if (shared) this.#cache!.bind(slot, shared.pages)
  }

  /** Nobody runs at a slot. */
  unbind(slot: number): void {
    this.#cache?.unbind(slot)
  }

  /**
   * The pages of a new sequence; or of one that begins with a snapshot, which stays as it is unless it is the sequence's
   * own. Throws `InsufficientMemoryError` where there is no page for them.
   */
  from(snapshot: Snapshot | undefined, { isOwn }: { isOwn: boolean }): SharedPages | undefined {
    const cache = this.#cache
    if (!cache) return undefined
    if (!snapshot?.pages) return { pages: cache.empty(), record: () => {} }
    snapshot.pages.check()
    if (isOwn && snapshot.isAlone) return { pages: snapshot.takePages()!, record: () => {} }
    return this.share(snapshot.pages, snapshot.position)
  }

  /** Pages with the same first positions. Throws `InsufficientMemoryError` where there is none for the partial one. */
  share(pages: PageList, position: number): SharedPages {
    const shared = this.#cache!.share(pages, position)
    if (!shared) throw this.shortage()
    return shared
  }

  /** What a copy of a state takes besides its fixed size. */
  costOfCopy(
    { place }: SequenceState,
    position: number,
  ): { shared: readonly SharedPart[]; bytes: number } {
    const pages = place.kind === 'slot' ? place.pages : undefined
    return pages ? this.#cache!.costOf(pages, position) : { shared: [], bytes: 0 }
  }

  /** The pages of a snapshot, to be copied elsewhere at once. */
  used({ pages, position }: Snapshot): UsedPage[] {
    return pages ? this.#cache!.usedPages(pages, position) : []
  }

  /**
   * Gives a snapshot pages for `position` positions. What `record` records for each is run behind what the device has.
   * Rejects with `InsufficientMemoryError` where there are none.
   */
  async fill(
    snapshot: Snapshot,
    position: number,
    record: (cl: Recorder, page: UsedPage, index: number) => void,
  ): Promise<void> {
    const cache = this.#cache
    if (!cache) return
    const pages = cache.empty()
    if (!cache.reserve(pages, { from: 0, to: position })) throw this.shortage()
    snapshot.setPages(pages, position)
    await this.#on.run((cl) => {
      for (const [i, page] of cache.usedPages(pages, position).entries()) record(cl, page, i)
    })
  }

  /** What those are told for whom there is no page. */
  shortage(): Error {
    const { maxBytes, pagesInUse, bytesPerToken } = this.#cache!.memory
    const pageBytes = bytesPerToken * PAGE_SIZE
    return new InsufficientMemoryError(
      `[engine] there is no memory for ${PAGE_SIZE} positions more: sequences hold ${formatBytes(pagesInUse * pageBytes)} of the ` +
        `${formatBytes(maxBytes)} that keys and values may take, ${formatBytes(bytesPerToken)} a token. Dispose of sessions, ` +
        'checkpoints and chats that are not needed, run fewer or shorter prompts at once (maxStreams, maxContext), or load ' +
        "the model with kvDtype: 'float16' where it has float32",
      { neededBytes: pageBytes, availableBytes: 0 },
    )
  }

  /** Nobody runs: memory that is mostly unused is given back. */
  giveBack(): void {
    this.#cache?.giveBack()
  }

  /** Forgets all pages: what they hold is of no use any more. */
  lose(error: unknown): void {
    this.#cache?.lose(error)
  }

  dispose(): void {
    this.#cache?.dispose()
  }
}

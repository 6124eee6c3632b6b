// States of prompts that were run before, for prompts that begin alike.
//
// The state of a recurrent model has a fixed size and cannot be cut back, so a prefix is worth something only where
// somebody took a snapshot: the cache finds the longest one that a prompt begins with.

import '../support/disposable.js'
import { SCAN_TOKENS } from './chunks.js'
import { type PrefixNode, PrefixTree } from './prefix-tree.js'
import { type SharedPart, SharedParts } from './shared-parts.js'

/** Characters (UTF-16 units) of the longest text that is kept. */
export const MAX_TEXT_LENGTH = 2 ** 20

// Of an entry besides its value, tokens and text: two nodes of the tree with their maps, and the entry itself.
const ENTRY_BYTES = 1024

/** What the cache holds. */
export interface Cached {
  /** Of memory of its own. */
  readonly bytes: number
  /** What it may share with others: counted once, however many have it. */
  readonly parts?: readonly SharedPart[]
  readonly hasLogits: boolean
  dispose(): void
}

/** What is known of a value when it is added. */
export interface Facts {
  /** Whether the state has the bits that running the tokens as one prompt would give. */
  isExact: boolean
  /** The text that the tokens stand for, for `findText`. Not kept where it is longer than `MAX_TEXT_LENGTH`. */
  text?: string | undefined
  /** Bytes of the budget that are to stay free beside it. Defaults to 0. */
  reserved?: number | undefined
}

/** A value in the cache: the state after `count` tokens. */
export interface Entry<T extends Cached> {
  readonly count: number
  readonly value: T
  readonly isExact: boolean
  readonly text: string | undefined
}

/** What an entry counts as. */
export function entryBytes(valueBytes: number, tokens: number, text: string | undefined): number {
  const characters = text !== undefined && text.length <= MAX_TEXT_LENGTH ? text.length : 0
  return valueBytes + 4 * tokens + 2 * characters + ENTRY_BYTES
}

/** Narrows a search to the entries that it returns true for. */
export type Accept<T extends Cached> = (entry: Entry<T>) => boolean

/** Keeps a value that was found from being disposed of, until it is released. */
export interface Lease {
  /** Does nothing the second time. */
  release(): void
  [Symbol.dispose](): void
}

/** A value that tokens begin with. It may be read until the lease is released. */
export interface Found<T extends Cached> {
  /** How many tokens the value stands for. */
  count: number
  value: T
  lease: Lease
}

/** A value that a text begins with. */
export interface FoundText<T extends Cached> extends Found<T> {
  /** Those that the value stands for, as an array of the caller's own. */
  tokens: Uint32Array
  /** Where the rest of the text begins, in UTF-16 units. */
  textLength: number
}

interface StoredEntry<T extends Cached> extends Entry<T> {
  readonly node: PrefixNode<StoredEntry<T>>
  /** What it counts for, from `add` until its value is disposed of. */
  readonly bytes: number
  leases: number
  isStored: boolean
}

/**
 * Values by the tokens they stand for, within a budget of bytes: those not used for longest make room.
 *
 * An entry counts as its value, 4 bytes a token, 2 bytes a character of its text and 1 KiB. That is an upper bound:
 * entries that begin alike share the memory of their tokens.
 *
 * A leased entry is not evicted: that would free nothing before the lease ends. It leaves where another value
 * replaces it and on `clear`; it is then found no more, but counts until its last lease is released, which
 * disposes of it. What does not fit beside the leased ones is refused, and nothing is evicted for it.
 *
 * @example
 * const cache = new PromptCache<Snapshot>({ maxBytes: 2 ** 30 })
 * cache.add(tokens, snapshot, { isExact: true })
 * const found = cache.find(longerTokens)
 * if (found) {
 *   using lease = found.lease
 *   await copy(found.value) // stands for the first found.count tokens
 * }
 */
export class PromptCache<T extends Cached> {
  readonly maxBytes: number
  /** @internal For tests. */
  readonly tree = new PrefixTree<StoredEntry<T>>()
  // Those used last at the end.
  readonly #stored = new Set<StoredEntry<T>>()
  #bytes = 0
  #leasedBytes = 0
  readonly #parts = new SharedParts()
  readonly #leasedParts = new SharedParts()
  #isDisposed = false

  constructor({ maxBytes }: { maxBytes: number }) {
    this.maxBytes = maxBytes
  }

  /** Of all entries, and of those that have left but are leased. Never above `maxBytes`. */
  get bytes(): number {
    return this.#bytes + this.#parts.bytes
  }

  /** Bytes of those parts that no value here has. */
  missing(parts: readonly SharedPart[]): number {
    return this.#parts.missing(parts)
  }

  /** How many values may be found. */
  get entries(): number {
    return this.#stored.size
  }

  /**
   * The longest entry that the tokens begin with, and marks it used. One as long as the tokens needs logits: there
   * is no token left to get them from.
   */
  find(tokens: Uint32Array, accept: Accept<T> = acceptAny): Found<T> | undefined {
    for (const { value: entry } of this.tree.walk(tokens).node.upwards()) {
      if (!entry) continue
      const isUsable = entry.count < tokens.length || entry.value.hasLogits
      if (isUsable && accept(entry)) return this.#lease(entry)
    }
    return undefined
  }

  /**
   * The entry with the longest text that this text begins with, and marks it used; of several with the same text
   * the one used last. Tokens must not reach over the end of an entry's text: `isBorder` tells whether none can at
   * an index of the text. It is not asked about the end of the text itself.
   */
  findText(
    text: string,
    {
      isBorder,
      accept = acceptAny,
    }: { isBorder: (text: string, index: number) => boolean; accept?: Accept<T> | undefined },
  ): FoundText<T> | undefined {
    // One by one: a value is megabytes large, so there are hundreds at most.
    const byLength = [...this.#stored]
      .filter((entry) => entry.text !== undefined && entry.text.length <= text.length)
      .reverse()
      .sort((a, b) => b.text!.length - a.text!.length)
    for (const entry of byLength) {
      const textLength = entry.text!.length
      const isWhole = textLength === text.length
      if (isWhole && !entry.value.hasLogits) continue
      if (!text.startsWith(entry.text!) || !(isWhole || isBorder(text, textLength))) continue
      if (accept(entry)) return { tokens: entry.node.tokens(), textLength, ...this.#lease(entry) }
    }
    return undefined
  }

  /** Whether there is an entry of these tokens, and marks it used. */
  has(tokens: Uint32Array, accept: Accept<T> = acceptAny): boolean {
    const { node } = this.tree.walk(tokens)
    const entry = node.depth === tokens.length ? node.value : undefined
    if (!entry || !accept(entry)) return false
    this.#stored.delete(entry)
    this.#stored.add(entry)
    return true
  }

  /** How many tokens these share with those of any entry, whether or not one ends there. */
  commonLength(tokens: Uint32Array): number {
    return this.tree.walk(tokens).length
  }

  /**
   * Where a snapshot of these tokens is worth taking, because another prompt parts from them after it: the last
   * multiple of 64 within `commonLength(tokens)`, or 0 where an entry that the tokens begin with is as long already.
   * This is the branch point of Marconi (https://arxiv.org/abs/2411.19379).
   */
  branchPoint(tokens: Uint32Array, accept: Accept<T> = acceptAny): number {
    const { node, length } = this.tree.walk(tokens)
    const point = length - (length % SCAN_TOKENS)
    for (const { depth, value: entry } of node.upwards()) {
      if (depth < point) break
      if (entry && accept(entry)) return 0
    }
    return point
  }

  /**
   * Evicts those not used for longest until `bytes` more fit, and `parts`: called before they are allocated, so that
   * memory is never above the budget. Returns false, and evicts nothing, where the budget is too small or leases hold it.
   */
  makeRoom(bytes: number, parts: readonly SharedPart[] = []): boolean {
    if (!this.#couldFit(bytes, parts)) return false
    for (const entry of this.#stored) {
      if (this.bytes + bytes + this.#parts.missing(parts) <= this.maxBytes) break
      if (entry.leases === 0) this.#remove(entry)
    }
    return true
  }

  /** Evicts the one not used for longest. Returns false where there is none that may be. */
  evictOldest(): boolean {
    for (const entry of this.#stored) {
      if (entry.leases > 0) continue
      this.#remove(entry)
      return true
    }
    return false
  }

  /**
   * Stores the value of these tokens, which are copied, in place of one of the same tokens; that one's text stays
   * where there is no new one. The value is the cache's from now on. Returns false where it is disposed of at
   * once: it does not fit, it stands for no tokens, or the cache is disposed of.
   */
  add(tokens: Uint32Array, value: T, { isExact, text, reserved = 0 }: Facts): boolean {
    const { node } = this.tree.walk(tokens)
    const replaced = node.depth === tokens.length ? node.value : undefined
    const kept = text !== undefined && text.length <= MAX_TEXT_LENGTH ? text : replaced?.text
    const bytes = entryBytes(value.bytes, tokens.length, kept)
    if (this.#isDisposed || tokens.length === 0 || !this.#couldFit(bytes + reserved, value.parts)) {
      value.dispose()
      return false
    }
    if (replaced) this.#remove(replaced)
    this.makeRoom(bytes + reserved, value.parts)
    const entry: StoredEntry<T> = {
      count: tokens.length,
      value,
      isExact,
      text: kept && ownCopy(kept),
      node: this.tree.insert(tokens),
      bytes,
      leases: 0,
      isStored: true,
    }
    entry.node.value = entry
    this.#stored.add(entry)
    this.#bytes += bytes
    this.#parts.add(value.parts ?? [])
    return true
  }

  /** Removes every entry. Those that are leased are disposed of when they are released. */
  clear(): void {
    for (const entry of this.#stored) this.#remove(entry)
  }

  /** As `clear`, and stores nothing any more. */
  dispose(): void {
    this.#isDisposed = true
    this.clear()
  }

  #couldFit(bytes: number, parts: readonly SharedPart[] = []): boolean {
    const leased = this.#leasedBytes + this.#leasedParts.bytes
    return leased + bytes + this.#leasedParts.missing(parts) <= this.maxBytes
  }

  #remove(entry: StoredEntry<T>): void {
    this.tree.remove(entry.node)
    this.#stored.delete(entry)
    entry.isStored = false
    if (entry.leases === 0) this.#disposeOf(entry)
  }

  #disposeOf({ value, bytes }: StoredEntry<T>): void {
    this.#bytes -= bytes
    this.#parts.remove(value.parts ?? [])
    value.dispose()
  }

  #lease(entry: StoredEntry<T>): Found<T> {
    this.#stored.delete(entry)
    this.#stored.add(entry)
    const parts = entry.value.parts ?? []
    if (entry.leases++ === 0) {
      this.#leasedBytes += entry.bytes
      this.#leasedParts.add(parts)
    }
    let isReleased = false
    const release = () => {
      if (isReleased) return
      isReleased = true
      if (--entry.leases > 0) return
      this.#leasedBytes -= entry.bytes
      this.#leasedParts.remove(parts)
      if (!entry.isStored) this.#disposeOf(entry)
    }
    return {
      count: entry.count,
      value: entry.value,
      lease: { release, [Symbol.dispose]: release },
    }
  }
}

function acceptAny(): boolean {
  return true
}

/** A part of a string keeps the whole one alive, which the budget would not know. */
function ownCopy(text: string): string {
  return Buffer.from(text, 'utf16le').toString('utf16le')
}

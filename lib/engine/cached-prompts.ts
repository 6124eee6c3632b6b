// The prompt cache of a model: which states of prompts and turns are kept, and which one a prompt begins with.

import type { LanguageModel } from '../models/language-model.js'
import { concatenated } from '../support/token-ids.js'
import { PREFILL_CHUNK_SIZE, SCAN_TOKENS } from './chunks.js'
import {
  type Moment,
  type MomentPlace,
  type MomentReceiver,
  type Moments,
  PendingCopies,
} from './moments.js'
import { type Cached, type Entry, entryBytes, PromptCache } from './prompt-cache.js'
import type { SharedPart } from './shared-parts.js'
import { type Snapshot, snapshotBytes } from './snapshot.js'

// Tokens of a long prompt between two snapshots: a prompt that parts from it runs so many again at most.
const SNAPSHOT_TOKENS = 2048

export interface CachedPromptsOptions {
  maxBytes: number
  /** Begin only where the bits are those of a prompt that nothing is known of. */
  exact: boolean
}

/** A prompt on its way to an engine. */
export interface CachedPrompt {
  tokens: Uint32Array
  /** What the tokens stand for, where that is known. */
  text?: string | undefined
  /** Turns tokens that were drawn into text. */
  decode?: ((tokens: readonly number[]) => string) | undefined
  /** The most tokens that run through the model at once. Defaults to 256. */
  chunkSize?: number | undefined
}

/**
 * Snapshots of prompts within a budget of bytes: after each prompt, after each turn, after every 2048 tokens of a
 * prompt, and where two prompts part. With `exact` only after multiples of 64 tokens of prompts that began in the
 * same way.
 *
 * @example
 * const cached = new CachedPrompts(model, { maxBytes: 2 ** 30, exact: false })
 * const stream = await engine.open('generate', { ...options, moments: cached.momentsOf({ tokens }) })
 */
export class CachedPrompts {
  readonly isExact: boolean
  readonly #cache: PromptCache<CachedSnapshot>
  readonly #snapshotBytes: number
  readonly #copies = new PendingCopies()
  /** Bytes of the entries that copies on their way will be. */
  #reserved = 0
  /** While room is made for a copy, the memory that it gives it. */
  #room: { spare: Snapshot | undefined } | undefined

  readonly #isUsable = ({ isExact, value }: Entry<CachedSnapshot>) =>
    (isExact || !this.isExact) && !value.snapshot.isLost

  constructor(model: LanguageModel, { maxBytes, exact }: CachedPromptsOptions) {
    this.isExact = exact
    this.#cache = new PromptCache({ maxBytes })
    this.#snapshotBytes = snapshotBytes(model)
  }

  get maxBytes(): number {
    return this.#cache.maxBytes
  }

  /** Bytes of what is kept, and of copies that are being made. */
  get bytes(): number {
    return this.#cache.bytes + this.#reserved
  }

  /** Resolves when the copies that are being made are there; undefined where there are none. */
  ready(): Promise<void> | undefined {
    return this.#copies.settled()
  }

  /** Frees what was not used for longest; returns false where nothing is kept. */
  freeSome(): boolean {
    return this.#cache.evictOldest()
  }

  /** For the stream of a prompt. */
  momentsOf(prompt: CachedPrompt): Moments {
    const { tokens, chunkSize = PREFILL_CHUNK_SIZE } = prompt
    // Cut elsewhere, it would leave other bits than it does alone.
    const mayCut = chunkSize % SCAN_TOKENS === 0
    return {
      ready: () => this.ready(),
      beginning: () => (mayCut || !this.isExact ? this.find(tokens) : undefined),
      cuts: (from) => (mayCut ? this.#cuts(tokens, from) : []),
      receiver: (place) => (mayCut || !this.isExact ? this.#receiver(prompt, place) : undefined),
      spare: () => this.#takeSpare(),
    }
  }

  /** The longest moment that the tokens begin with: to be copied before anything else happens. */
  find(tokens: Uint32Array): Moment | undefined {
    const found = this.#cache.find(tokens, this.#isUsable)
    if (!found) return undefined
    found.lease.release()
    return { snapshot: found.value.snapshot, position: found.count }
  }

  /**
   * A text whose beginning was generated may have other tokens than the tokenizer would give it: those that led to
   * the state, and where the rest of the text begins. Not with `exact`, nor where `tokens` find as much.
   */
  findText(
    text: string,
    tokens: Uint32Array,
    isBorder: (text: string, index: number) => boolean,
  ): { tokens: Uint32Array; textLength: number } | undefined {
    if (this.isExact) return undefined
    const found = this.#cache.findText(text, { isBorder })
    found?.lease.release()
    if (!found || found.count <= (this.find(tokens)?.position ?? 0)) return undefined
    return found
  }

  dispose(): void {
    this.#cache.dispose()
  }

  #cuts(tokens: Uint32Array, from: number): number[] {
    const cuts = new Set<number>()
    for (let end = SNAPSHOT_TOKENS; end < tokens.length; end += SNAPSHOT_TOKENS) cuts.add(end)
    cuts.add(this.#cache.branchPoint(tokens, this.#isUsable))
    // The same prompt needs a token more than a state without logits.
    if (this.isExact) cuts.add(tokens.length - 1 - ((tokens.length - 1) % SCAN_TOKENS))
    return [...cuts].filter((end) => end > from && end < tokens.length).sort((a, b) => a - b)
  }

  #receiver(
    prompt: CachedPrompt,
    { prompt: length, drawn, pages }: MomentPlace,
  ): MomentReceiver | undefined {
    const isExact = this.isExact && drawn.length === 0 && length % SCAN_TOKENS === 0
    if (this.isExact && !isExact) return undefined
    const tokens = concatenated(prompt.tokens.subarray(0, length), drawn)
    const text = length === prompt.tokens.length ? textAfter(prompt, drawn) : undefined
    const isEnd = length === prompt.tokens.length
    const isKnown = this.#cache.has(
      tokens,
      (entry) =>
        this.#isUsable(entry) &&
        (entry.value.hasLogits || !isEnd) &&
        (entry.text !== undefined || text === undefined),
    )
    if (isKnown) return undefined
    const { shared, bytes: own } = pages ?? { shared: [], bytes: 0 }
    const least = entryBytes(this.#snapshotBytes, tokens.length, text) + own
    if (!this.#makeRoom(least, shared)) return undefined
    const bytes = least + this.#cache.missing(shared)
    this.#reserved += bytes
    return this.#copies.receiver((snapshot) => {
      this.#reserved -= bytes
      if (snapshot) {
        const value = new CachedSnapshot(snapshot, (unused) => this.#letGo(unused))
        this.#cache.add(tokens, value, { isExact, text, reserved: this.#reserved })
      }
    })
  }

  // The first write of new memory takes many times as long as one of memory that was used.
  #makeRoom(bytes: number, parts: readonly SharedPart[]): boolean {
    this.#room = { spare: undefined }
    if (this.#cache.makeRoom(this.#reserved + bytes, parts)) return true
    this.#room = undefined
    return false
  }

  #letGo(unused: Snapshot): void {
    if (this.#room && !this.#room.spare && unused.isAlone) {
      unused.setPages(undefined, 0)
      this.#room.spare = unused
    } else unused.dispose()
  }

  #takeSpare(): Snapshot | undefined {
    const spare = this.#room?.spare
    this.#room = undefined
    return spare
  }
}

/** A snapshot in the cache. */
class CachedSnapshot implements Cached {
  readonly snapshot: Snapshot
  readonly #onUnused: (snapshot: Snapshot) => void

  constructor(snapshot: Snapshot, onUnused: (snapshot: Snapshot) => void) {
    this.snapshot = snapshot
    this.#onUnused = onUnused
  }

  get bytes(): number {
    return this.snapshot.bytes
  }

  get parts(): readonly SharedPart[] {
    return this.snapshot.pages?.pages ?? []
  }

  get hasLogits(): boolean {
    return this.snapshot.hasLogits
  }

  dispose(): void {
    this.#onUnused(this.snapshot)
  }
}

/** What a prompt and the tokens after it stand for. */
function textAfter({ text, decode }: CachedPrompt, drawn: readonly number[]): string | undefined {
  if (text === undefined || drawn.length === 0) return text
  return text + decode!(drawn)
}

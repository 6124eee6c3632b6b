// A moment of a session that somebody holds.

import type { Snapshot } from '../engine/snapshot.js'
import type { TokenHistory } from '../engine/token-history.js'

/** What a checkpoint needs of its model. */
export interface CheckpointHost {
  /** Counts the memory of what is alive. */
  holds(checkpoint: SessionCheckpoint): void
  letsGo(checkpoint: SessionCheckpoint): void
}

/** The moment of a session that `checkpoint` took. It never changes, and outlives the session. */
export class SessionCheckpoint {
  /** @internal */
  readonly snapshot: Snapshot
  /** @internal */
  readonly history: TokenHistory
  /** @internal */
  readonly host: CheckpointHost
  #isDisposed = false

  /** @internal Use `session.checkpoint`. */
  constructor(host: CheckpointHost, snapshot: Snapshot, history: TokenHistory) {
    this.host = host
    this.snapshot = snapshot
    this.history = history
    host.holds(this)
  }

  /** Tokens that it has consumed. */
  get position(): number {
    return this.history.length
  }

  /** Bytes in memory; those of pages that it shares with others among them. */
  get stateBytes(): number {
    return this.#isDisposed ? 0 : this.snapshot.bytes + this.snapshot.pageBytes
  }

  get isDisposed(): boolean {
    return this.#isDisposed
  }

  dispose(): void {
    if (this.#isDisposed) return
    this.#isDisposed = true
    this.snapshot.dispose()
    this.host.letsGo(this)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

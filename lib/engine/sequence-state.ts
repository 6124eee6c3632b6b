// The state of one sequence, wherever it is.

import type { PageList } from './page-list.js'
import type { Snapshot } from './snapshot.js'

/**
 * `new`: it has seen nothing. `slot`: in the pool, where it can run; `pages`: of its positions, where
 * the model keeps such. `snapshot`: in memory of its own, because it
 * has not run yet or others needed its slot. `lost`: the device failed while it was in the pool.
 */
export type Place =
  | { kind: 'new' }
  | { kind: 'slot'; slot: number; pages?: PageList | undefined }
  | { kind: 'snapshot'; snapshot: Snapshot }
  | { kind: 'lost'; error: unknown }

/** A sequence's state. Only `SlotAllocator` changes where it is. */
export class SequenceState {
  place: Place
  /** Whether the logits of the next token are known where the state is. */
  hasLogits = false
  /** A stream runs it: it keeps its slot. */
  isActive = false
  /** Grows with each use, over all states. */
  lastUse = 0

  constructor(snapshot?: Snapshot) {
    this.place = snapshot ? { kind: 'snapshot', snapshot } : { kind: 'new' }
    this.hasLogits = snapshot?.hasLogits ?? false
  }
}

/** Bytes of the pages that a state has, shared or not. */
export function pageBytesOf({ place }: SequenceState): number {
  if (place.kind === 'slot') return place.pages?.bytes ?? 0
  return place.kind === 'snapshot' ? place.snapshot.pageBytes : 0
}

// States of a stream that outlive it: where it begins, and copies that somebody wants.

import type { SharedPart } from './shared-parts.js'
import type { Snapshot } from './snapshot.js'

/** A state after so many tokens of a prompt. */
export interface Moment {
  snapshot: Snapshot
  /** Tokens that it has consumed. */
  position: number
}

/** Where a copy is taken. */
export interface MomentPlace {
  /** Tokens of the prompt that the state has consumed. */
  prompt: number
  /** Tokens that were drawn and consumed after them. */
  drawn: readonly number[]
  /** Of models that keep something of each position: what the copy would share, and the bytes that it would take beside. */
  pages?: { shared: readonly SharedPart[]; bytes: number }
}

/** Gets the copy, to dispose of, or undefined and why there is none. */
export type MomentReceiver = (snapshot: Snapshot | undefined, failure?: unknown) => void

/** Of one stream with a prompt, whose state nobody keeps. */
export interface Moments {
  /** Resolves when the copies that are being made are there; undefined where there are none. Asked before `beginning`. */
  ready(): Promise<void> | undefined
  /**
   * Asked once, when the stream has its place. The snapshot stays as it is; the stream holds it until it has copied it. One
   * of the whole prompt has logits.
   */
  beginning(): Moment | undefined
  /** Where copies are wanted within the prompt: numbers of its tokens, ascending, above `from`. */
  cuts(from: number): readonly number[]
  /** Whether a copy is wanted, and who gets it. */
  receiver(place: MomentPlace): MomentReceiver | undefined
  /** One that made room for that copy, which takes its memory: nobody else holds it. Asked right after `receiver`. */
  spare?(): Snapshot | undefined
}

/**
 * The same moments, where one more wants copies and has states of its own to begin with: the longer of two is begun
 * with.
 */
export function alsoFor(
  moments: Moments | undefined,
  own: Pick<Moments, 'beginning' | 'receiver'> & Partial<Pick<Moments, 'ready'>>,
): Moments {
  return {
    ready: () => bothOf(moments?.ready(), own.ready?.()),
    beginning: () => {
      const theirs = moments?.beginning()
      const ours = own.beginning()
      return (ours?.position ?? 0) >= (theirs?.position ?? 0) ? ours : theirs
    },
    cuts: (from) => moments?.cuts(from) ?? [],
    spare: () => moments?.spare?.(),
    receiver: (place) => {
      const receivers = [moments?.receiver(place), own.receiver(place)].filter(
        (receive) => receive !== undefined,
      )
      if (receivers.length === 0) return undefined
      return (snapshot, failure) => {
        for (const receive of receivers) receive(snapshot?.share(), failure)
        snapshot?.dispose()
      }
    },
  }
}

function bothOf(
  a: Promise<void> | undefined,
  b: Promise<void> | undefined,
): Promise<void> | undefined {
  return a && b ? Promise.all([a, b]).then(() => {}) : (a ?? b)
}

/** Copies that are being made: whoever looks for one waits for them. */
export class PendingCopies {
  readonly #pending = new Set<Promise<void>>()

  /** How many there are. */
  get count(): number {
    return this.#pending.size
  }

  /** The receiver of one more. */
  receiver(receive: MomentReceiver): MomentReceiver {
    let end!: () => void
    const copy = new Promise<void>((resolve) => {
      end = resolve
    })
    this.#pending.add(copy)
    return (...copied) => {
      this.#pending.delete(copy)
      try {
        receive(...copied)
      } finally {
        end()
      }
    }
  }

  /** Resolves when those that there are now have arrived; undefined where there are none. */
  settled(): Promise<void> | undefined {
    return this.#pending.size === 0 ? undefined : Promise.all(this.#pending).then(() => {})
  }
}

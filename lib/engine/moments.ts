// States of a stream that outlive it: where it begins, and copies that somebody wants.

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
}

/** Gets the copy, to dispose of, or undefined where it failed. */
export type MomentReceiver = (snapshot: Snapshot | undefined) => void

/** Of one stream with a prompt, whose state nobody keeps. */
export interface Moments {
  /**
   * Asked once, when the stream has its place. The snapshot stays as it is; the stream copies it at once. One of the
   * whole prompt has logits.
   */
  beginning(): Moment | undefined
  /** Where copies are wanted within the prompt: numbers of its tokens, ascending, above `from`. */
  cuts(from: number): readonly number[]
  /** Whether a copy is wanted, and who gets it. */
  receiver(place: MomentPlace): MomentReceiver | undefined
}

/**
 * The same moments, where one more wants copies and has states of its own to begin with: the longer of two is begun
 * with.
 */
export function alsoFor(
  moments: Moments | undefined,
  own: Pick<Moments, 'beginning' | 'receiver'>,
): Moments {
  return {
    beginning: () => {
      const theirs = moments?.beginning()
      const ours = own.beginning()
      return (ours?.position ?? 0) >= (theirs?.position ?? 0) ? ours : theirs
    },
    cuts: (from) => moments?.cuts(from) ?? [],
    receiver: (place) => {
      const receivers = [moments?.receiver(place), own.receiver(place)].filter(
        (receive) => receive !== undefined,
      )
      if (receivers.length === 0) return undefined
      return (snapshot) => {
        for (const receive of receivers) receive(snapshot?.share())
        snapshot?.dispose()
      }
    },
  }
}

// One piece of work after the other.

import { onAbort, reasonOf, type Signal } from '../support/abort.js'

/** Starts a piece of work once all that came before have ended, however they did. */
export type InTurn = <T>(work: () => Promise<T>, signal: Signal | undefined) => Promise<T>

/**
 * Work that waits rejects with `signal.reason` as soon as it is aborted, and never starts.
 *
 * @example
 * const inTurn = takeTurns()
 * await Promise.all([inTurn(first, signal), inTurn(second, signal)])
 */
export function takeTurns(): InTurn {
  let last: Promise<unknown> = Promise.resolve()
  return <T>(work: () => Promise<T>, signal: Signal | undefined) => {
    const before = last
    const mine = new Promise<T>((resolve, reject) => {
      const forget = onAbort(signal, () => reject(reasonOf(signal!)))
      const begin = () => {
        forget()
        if (signal?.aborted) reject(reasonOf(signal))
        else work().then(resolve, reject)
      }
      before.then(begin, begin)
    })
    last = Promise.allSettled([before, mine])
    return mine
  }
}

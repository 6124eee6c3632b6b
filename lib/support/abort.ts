// Signals of callers. They may come from another realm or a library for older systems, so only `aborted`, `reason`
// and the event are used. One signal, such as that of a server's shutdown, may stop any number of runs:
// it gets one listener for all of them, because Node warns of a leak from the eleventh on, and none when the
// last run has ended.

/**
 * What is used of an `AbortSignal`, so that the declarations need neither those of Node nor of the DOM, and
 * one of a library will do.
 */
export interface Signal {
  readonly aborted: boolean
  readonly reason?: unknown
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void
  removeEventListener(type: 'abort', listener: () => void): void
}

interface Watch {
  callbacks: Set<() => void>
  listener: () => void
}

const watches = new WeakMap<Signal, Watch>()

/**
 * Calls `callback` once when `signal` aborts, unless the function that it returns was called before. The
 * signal has not aborted yet.
 *
 * @example
 * const forget = onAbort(signal, () => child.kill())
 * try { await ended } finally { forget() }
 */
export function onAbort(signal: Signal | undefined, callback: () => void): () => void {
  if (!signal) return () => {}
  const watch = watches.get(signal) ?? startWatching(signal)
  // The same callback may be given twice.
  const own = () => callback()
  watch.callbacks.add(own)
  return () => {
    if (!watch.callbacks.delete(own) || watch.callbacks.size > 0) return
    signal.removeEventListener('abort', watch.listener)
    watches.delete(signal)
  }
}

function startWatching(signal: Signal): Watch {
  const callbacks = new Set<() => void>()
  const listener = () => {
    watches.delete(signal)
    // Signals of older libraries do not know `once`.
    signal.removeEventListener('abort', listener)
    const called = [...callbacks]
    callbacks.clear()
    for (const callback of called) callback()
  }
  const watch = { callbacks, listener }
  watches.set(signal, watch)
  signal.addEventListener('abort', listener, { once: true })
  return watch
}

/** Throws the signal's reason when it has aborted. */
export function throwIfAborted(signal: Signal | undefined): void {
  if (signal?.aborted) throw reasonOf(signal)
}

/** Why a signal aborted. */
export function reasonOf(signal: Signal): unknown {
  return signal.reason ?? new DOMException('This operation was aborted', 'AbortError')
}

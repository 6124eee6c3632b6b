// The moment after a prefix, from which several sequences go on.

import { type Signal, throwIfAborted } from '../abort.js'
import type { Engine } from './engine.js'
import { SequenceState } from './sequence-state.js'
import type { Snapshot } from './snapshot.js'

export interface PrefixOptions {
  /** Ends the prefix between two pieces. */
  signal?: Signal | undefined
  /** The most tokens that run through the model at once. */
  prefillChunkSize?: number | undefined
}

/** The caller disposes of `snapshot`, which has the logits of the next token. */
export interface PrefixMoment {
  snapshot: Snapshot
  /** Tokens of the prefix that were not computed again. */
  cachedTokens: number
}

/**
 * Runs a prefix through the model, as a stream that takes turns with others. Rejects as `engine.open` does, and with
 * the reason of `options.signal`.
 *
 * @example const { snapshot } = await prefixMoment(engine, tokens, { operation: 'score' })
 */
export async function prefixMoment(
  engine: Engine,
  tokens: Uint32Array,
  { operation, signal, prefillChunkSize: chunkSize }: PrefixOptions & { operation: string },
): Promise<PrefixMoment> {
  const state = new SequenceState()
  const stream = await engine.open(operation, {
    state,
    position: 0,
    history: tokens,
    maxTokens: 1,
    stopTokens: new Set(),
    readsLogits: false,
    signal,
  })
  try {
    await stream.prefill(tokens, { chunkSize, betweenPieces: signal })
    throwIfAborted(signal) // in the last piece
    state.hasLogits = true
    return { snapshot: await engine.snapshot(state), cachedTokens: 0 }
  } finally {
    stream.close()
    engine.release(state)
  }
}

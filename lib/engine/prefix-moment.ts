// The moment after a prefix, from which several sequences go on.

import { type Signal, throwIfAborted } from '../support/abort.js'
import type { Engine } from './engine.js'
import type { Moments } from './moments.js'
import { SharedPrompt } from './shared-prompt.js'
import type { Snapshot } from './snapshot.js'

export interface PrefixOptions {
  /** Ends the prefix between two pieces. */
  signal?: Signal | undefined
  /** The most tokens that run through the model at once. */
  prefillChunkSize?: number | undefined
  /** Where it may begin, and who else wants copies of its states. */
  moments?: Moments | undefined
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
  {
    operation,
    signal,
    prefillChunkSize: chunkSize,
    moments,
  }: PrefixOptions & { operation: string },
): Promise<PrefixMoment> {
  using prompt = new SharedPrompt(tokens.length)
  const stream = await engine.open(operation, {
    position: 0,
    history: tokens,
    generated: 0,
    maxTokens: 1,
    stopTokens: new Set(),
    alternatives: undefined,
    signal,
    moments: prompt.first(moments),
  })
  try {
    const { position } = stream
    if (position < tokens.length) await stream.prefill(tokens.subarray(position), { chunkSize })
    throwIfAborted(signal) // in the last piece
    return { snapshot: await prompt.state(), cachedTokens: position }
  } finally {
    stream.close()
  }
}

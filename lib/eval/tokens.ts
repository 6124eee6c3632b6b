// Requests as token ids, split where lm-eval-harness splits them.

import type { Request } from './item.js'

/** What texts are encoded with: without what a tokenizer puts around them. */
export interface TaskEncoder {
  encode(text: string): Uint32Array
  /** What an empty context is replaced with. */
  start: number
}

export interface RequestTokens {
  context: Uint32Array
  continuation: Uint32Array
  /** Tokens that were cut off on the left. */
  cut: number
}

/**
 * The tokens of a request: context and continuation are encoded together and split after as many tokens as the context
 * has alone. White space that the context ends with belongs to the continuation. What is longer than `most` is cut on
 * the left.
 *
 * @throws RangeError for a continuation that adds no token, or does not fit.
 */
export function requestTokens(
  { context, continuation }: Request,
  { encode, start }: TaskEncoder,
  most: number,
): RequestTokens {
  const before = context.trimEnd()
  const after = context.slice(before.length) + continuation
  const [alone, whole] =
    before === ''
      ? [Uint32Array.of(start), Uint32Array.of(start, ...encode(after))]
      : [encode(before), encode(before + after)]
  const own = whole.slice(alone.length)
  if (own.length === 0) {
    throw new RangeError(`${JSON.stringify(continuation)} adds no token to its context`)
  }
  // One token of the context must be left, from which the first one is predicted.
  if (own.length >= most) {
    throw new RangeError(`a continuation has ${own.length} tokens, and the context is ${most}`)
  }
  const cut = Math.max(0, alone.length + own.length - most)
  return { context: alone.slice(cut), continuation: own, cut }
}

// Rings: what a convolution and an attention window remember of a sequence.

/**
 * Row t mod `slots` holds the token at position t, for the last `slots` tokens; rows that no token
 * has reached are zero.
 */
export function ringOf(tokens: number[][], slots: number, cols: number): number[][] {
  const ring = Array.from({ length: slots }, () => new Array<number>(cols).fill(0))
  for (const [t, token] of tokens.entries()) ring[t % slots] = token
  return ring
}

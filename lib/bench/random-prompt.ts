// Random token ids for prompts.

/**
 * A function that gives the next random tokens below `vocabulary`; the same seed gives the same ones.
 *
 * @example const ids = randomTokens(1, 50288)(512)
 */
export function randomTokens(seed: number, vocabulary: number): (count: number) => Uint32Array {
  // Mulberry32.
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
  return (count) => Uint32Array.from({ length: count }, () => next() % vocabulary)
}

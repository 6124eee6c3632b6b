// Lists of token ids.

/**
 * One after another.
 *
 * @example concatenated(Uint32Array.of(1, 2), [3]) // Uint32Array [1, 2, 3]
 */
export function concatenated(...parts: readonly ArrayLike<number>[]): Uint32Array {
  const all = new Uint32Array(parts.reduce((sum, { length }) => sum + length, 0))
  let end = 0
  for (const part of parts) {
    all.set(part, end)
    end += part.length
  }
  return all
}

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

/**
 * How many tokens both begin with.
 *
 * @example commonLength(Uint32Array.of(1, 2), Uint32Array.of(1, 3)) // 1
 */
export function commonLength(a: Uint32Array, b: Uint32Array): number {
  const most = Math.min(a.length, b.length)
  let length = 0
  while (length < most && a[length] === b[length]) length += 1
  return length
}

// Sets of code points, and how UTF-8 spells them.

/** Sorted ranges, both ends included, that neither touch nor overlap. No surrogates: UTF-8 has none. */
export type CodePoints = readonly (readonly [number, number])[]

export const MAX_CODE_POINT = 0x10ffff
const SURROGATES = [0xd800, 0xdfff] as const

/** A set of the ranges given in any order. */
export function codePoints(ranges: CodePoints): CodePoints {
  const sorted = ranges.flatMap(withoutSurrogates).sort(([a], [b]) => a - b)
  const merged: [number, number][] = []
  for (const [from, to] of sorted) {
    const last = merged.at(-1)
    if (last && from <= last[1] + 1) last[1] = Math.max(last[1], to)
    else merged.push([from, to])
  }
  return merged
}

function withoutSurrogates([from, to]: readonly [number, number]): [number, number][] {
  const parts: [number, number][] = [
    [from, Math.min(to, SURROGATES[0] - 1)],
    [Math.max(from, SURROGATES[1] + 1), to],
  ]
  return parts.filter(([first, last]) => first <= last)
}

/** All code points that a set lacks. */
export function complement(set: CodePoints): CodePoints {
  const gaps: [number, number][] = []
  let next = 0
  for (const [from, to] of set) {
    if (from > next) gaps.push([next, from - 1])
    next = to + 1
  }
  if (next <= MAX_CODE_POINT) gaps.push([next, MAX_CODE_POINT])
  return codePoints(gaps)
}

/** The code points of both sets. */
export function intersection(a: CodePoints, b: CodePoints): CodePoints {
  return a.flatMap(([from, to]) =>
    b
      .map(([low, high]): [number, number] => [Math.max(from, low), Math.min(to, high)])
      .filter(([first, last]) => first <= last),
  )
}

/** The code points of `a` that `b` lacks. */
export function difference(a: CodePoints, b: CodePoints): CodePoints {
  return intersection(a, complement(b))
}

export const ANY: CodePoints = complement([])

/** A range of bytes for each place of a UTF-8 sequence. */
export type ByteRanges = readonly (readonly [number, number])[]

// The longest sequences of 1, 2, 3 and 4 bytes.
const LAST_OF_LENGTH = [0x7f, 0x7ff, 0xffff, MAX_CODE_POINT]

/** The UTF-8 sequences of a set: any byte of each range, one after another. */
export function utf8Sequences(set: CodePoints): ByteRanges[] {
  return set.flatMap(([from, to]) => {
    const starts = [0, ...LAST_OF_LENGTH.map((last) => last + 1)]
    return LAST_OF_LENGTH.flatMap((last, index) => {
      const [first, end] = [Math.max(from, starts[index]!), Math.min(to, last)]
      return first <= end ? sequencesBetween(first, end) : []
    })
  })
}

/** For a range whose code points have sequences of one length. */
function sequencesBetween(from: number, to: number): ByteRanges[] {
  // The bytes behind the first that differs must run through all of their values.
  for (let bits = 6; bits <= 18; bits += 6) {
    const rest = 2 ** bits - 1
    if (from >> bits === to >> bits) break
    if ((from & rest) !== 0) {
      return [...sequencesBetween(from, from | rest), ...sequencesBetween((from | rest) + 1, to)]
    }
    if ((to & rest) !== rest) {
      return [...sequencesBetween(from, (to & ~rest) - 1), ...sequencesBetween(to & ~rest, to)]
    }
  }
  const last = utf8(to)
  return [utf8(from).map((byte, index) => [byte, last[index]!] as const)]
}

function utf8(codePoint: number): number[] {
  return [...new TextEncoder().encode(String.fromCodePoint(codePoint))]
}

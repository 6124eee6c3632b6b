import { describe, expect, it } from 'vitest'
import {
  type CodePoints,
  codePoints,
  complement,
  difference,
  intersection,
  utf8Sequences,
} from '../../lib/grammar/code-points.js'
import { seededIntegers } from './random.js'

const has = (set: CodePoints, code: number) => set.some(([from, to]) => from <= code && code <= to)
const isSurrogate = (code: number) => code >= 0xd800 && code <= 0xdfff

/** Where something changes: the ends of lengths in UTF-8, of surrogates, and random places. */
function interesting(integer: (below: number) => number): number[] {
  const edges = [
    0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xd800, 0xdfff, 0xe000, 0xffff, 0x10000, 0x10ffff,
  ]
  return [...edges, ...Array.from({ length: 12 }, () => integer(2 ** (4 + integer(17))))].filter(
    (code) => code <= 0x10ffff,
  )
}

describe('sets of code points', () => {
  it('are what their ranges say, and so are their UTF-8 sequences', () => {
    const integer = seededIntegers(4)
    for (let trial = 0; trial < 80; trial++) {
      const places = interesting(integer)
      const place = () => places[integer(places.length)]!
      const ranges = Array.from({ length: integer(5) }, () => {
        const [a, b] = [place(), place()]
        return [Math.min(a, b), Math.max(a, b)] as const
      })
      const [set, other] = [codePoints(ranges), codePoints(ranges.slice(1))]
      const sequences = utf8Sequences(set)
      for (const code of places.flatMap((at) => [at - 1, at, at + 1])) {
        if (code < 0 || code > 0x10ffff || isSurrogate(code)) continue
        const expected = has(ranges, code)
        expect(has(set, code)).toBe(expected)
        expect(has(complement(set), code)).toBe(!expected)
        expect(has(intersection(complement(set), other), code)).toBe(false)
        expect(has(difference(set, other), code)).toBe(expected && !has(other, code))
        const bytes = new TextEncoder().encode(String.fromCodePoint(code))
        const spelt = sequences.filter(
          (one) =>
            one.length === bytes.length &&
            one.every(([from, to], index) => from <= bytes[index]! && bytes[index]! <= to),
        )
        expect(spelt.length, code.toString(16)).toBe(expected ? 1 : 0)
      }
      expect(has(set, 0xd800) || has(complement(set), 0xdfff)).toBe(false)
    }
  })
})

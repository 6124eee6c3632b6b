// Text and tokens of a conversation, against the definition.

import { describe, expect, it } from 'vitest'
import { type Border, Transcript } from '../../lib/chat/transcript.js'
import type { Draw } from '../support/session-cases.js'
import { seededIntegers } from './random.js'

// One token a UTF-16 unit, marked by the call: what was encoded when can be told.
function markingEncoder() {
  const calls: string[] = []
  const encode = (text: string) => {
    calls.push(text)
    return Array.from({ length: text.length }, (_, i) => 1000 * calls.length + i)
  }
  return { calls, encode }
}

const ALPHABET = ['a', 'b', '\n', 'é', '語', '😀', '😁', '👩‍👩', '\ud83d', '\ude00', '<think>']
const textOf = (draw: Draw, most: number) =>
  Array.from({ length: draw(most) }, () => ALPHABET[draw(ALPHABET.length)]!).join('')

// By definition: unit by unit, and never between the halves of a pair.
function common(a: string, b: string): number {
  let length = 0
  while (length < Math.min(a.length, b.length) && a[length] === b[length]) length += 1
  const parts = (text: string) =>
    /[\ud800-\udbff]$/.test(text.slice(0, length)) && /^[\udc00-\udfff]/.test(text.slice(length))
  return parts(a) || parts(b) ? length - 1 : length
}

function longestBorder(transcript: Transcript, text: string): Border {
  const shared = common(transcript.text, text)
  const all = [{ characters: 0, tokens: 0 }, ...transcript.borders]
  return all.filter(({ characters }) => characters <= shared).at(-1)!
}

// The text before, kept, continued, cut, or changed somewhere, within a pair too.
function rewritten(text: string, draw: Draw): string {
  const at = draw(text.length + 1)
  const ways = [
    () => text,
    () => text + textOf(draw, 8),
    () => text.slice(0, at),
    () => text.slice(0, at) + textOf(draw, 4) + text.slice(at),
    () => text.slice(0, at) + textOf(draw, 4) + text.slice(at + draw(4)),
    () => textOf(draw, 8),
  ]
  return ways[draw(ways.length)]!()
}

describe('Transcript', () => {
  it('keeps the tokens up to the longest border in common, whatever is rewritten', () => {
    let [kept, begun, withinPairs] = [0, 0, 0]
    for (let seed = 1; seed <= 3000; seed++) {
      const draw = seededIntegers(seed)
      let transcript = Transcript.empty
      for (let turn = 0; turn < 6; turn++) {
        if (draw(2) === 0) {
          const said = textOf(draw, 6).replace(/^[\udc00-\udfff]+/, '') // decoders write no halves
          const tokens = Array.from({ length: draw(5) }, () => draw(1000))
          const next = transcript.withGenerated(said, tokens)
          expect(next.text).toBe(transcript.text + said)
          expect([...next.tokens]).toEqual([...transcript.tokens, ...tokens])
          transcript = next
          continue
        }
        const text = rewritten(transcript.text, draw)
        const border = longestBorder(transcript, text)
        const { calls, encode } = markingEncoder()
        const before = [...transcript.tokens]
        const next = transcript.extendedTo(text, encode)
        const where = `seed ${seed}, turn ${turn}`
        const rest = text.slice(border.characters)
        expect(calls, where).toEqual(rest === '' ? [] : [rest])
        expect(next.text, where).toBe(text)
        expect([...next.tokens], where).toEqual([
          ...before.slice(0, border.tokens),
          ...Array.from({ length: rest.length }, (_, i) => 1000 + i),
        ])
        expect([...transcript.tokens], where).toEqual(before)
        for (const [i, { characters, tokens }] of next.borders.entries()) {
          const last = next.borders[i - 1] ?? { characters: 0, tokens: 0 }
          expect(characters, where).toBeGreaterThan(i === 0 ? -1 : last.characters)
          expect(tokens, where).toBeGreaterThanOrEqual(last.tokens)
        }
        if (border.tokens > 0) kept += 1
        else begun += 1
        if (common(transcript.text, text) < plainlyCommon(transcript.text, text)) withinPairs += 1
        transcript = next
      }
    }
    // The cases that matter came up.
    expect(Math.min(kept, begun)).toBeGreaterThan(1000)
    expect(withinPairs).toBeGreaterThan(20)
  })

  it('cuts no pair of surrogates where a template ended with one half of it', () => {
    const { calls, encode } = markingEncoder()
    const transcript = Transcript.empty.extendedTo('ab', encode).extendedTo('ab\ud83d', encode)
    transcript.extendedTo('ab\ude00', encode)
    transcript.extendedTo('ab\ud83d\ude00', encode)
    expect(calls).toEqual(['ab', '\ud83d', '\ude00', '\ud83d\ude00'])
  })

  it('keeps tokens without text only until the text goes on', () => {
    const { calls, encode } = markingEncoder()
    const transcript = Transcript.empty.extendedTo('ab', encode).withGenerated('', [7])
    expect([...transcript.tokens]).toEqual([1000, 1001, 7])
    const next = transcript.extendedTo('abc', encode)
    expect(calls).toEqual(['ab', 'c'])
    expect([...next.tokens]).toEqual([1000, 1001, 2000])
  })

  it('compares long texts to the unit', () => {
    for (const length of [4095, 4096, 4097, 8192, 20_000]) {
      const text = 'x'.repeat(length)
      const { calls, encode } = markingEncoder()
      const transcript = Transcript.empty.extendedTo(text, encode)
      transcript.extendedTo(`${text}y`, encode)
      transcript.extendedTo(`${text.slice(1)}y`, encode)
      expect(calls).toEqual([text, 'y', `${text.slice(1)}y`])
    }
  })

  it('is empty at first', () => {
    const { calls, encode } = markingEncoder()
    expect(Transcript.empty.extendedTo('', encode).tokens).toHaveLength(0)
    expect(calls).toEqual([])
  })
})

function plainlyCommon(a: string, b: string): number {
  let length = 0
  while (length < Math.min(a.length, b.length) && a[length] === b[length]) length += 1
  return length
}

import { describe, expect, it } from 'vitest'
import { StopStrings } from '../../lib/tokenizer/stop-strings.js'
import { seededIntegers } from './random.js'

/** Pushes all parts until stopped; returns the released text of each and what the flush gave. */
function run(stop: string[], parts: string[]) {
  const watcher = new StopStrings(stop)
  const released: string[] = []
  for (const part of parts) {
    const { text, stopped } = watcher.push(part)
    released.push(text)
    if (stopped) break
  }
  return { released, flushed: watcher.flush(), stopped: watcher.stopped }
}

/** The definition, character by character and without cleverness. */
function expected(stop: string[], text: string): { text: string; stopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const ending = stop.filter((string) => text.slice(0, end).endsWith(string))
    if (ending.length > 0) {
      const longest = Math.max(...ending.map((string) => string.length))
      return { text: text.slice(0, end - longest), stopped: true }
    }
  }
  return { text, stopped: false }
}

describe('StopStrings', () => {
  it('passes text through when there are none', () => {
    expect(run([], ['a', 'b'])).toEqual({ released: ['a', 'b'], flushed: '', stopped: false })
  })

  it('holds back what may begin a stop string, and releases it when it does not', () => {
    expect(run(['END'], ['xE', 'N', 'Q'])).toEqual({
      released: ['x', '', 'ENQ'],
      flushed: '',
      stopped: false,
    })
    expect(run(['END'], ['xEN'])).toEqual({ released: ['x'], flushed: 'EN', stopped: false })
  })

  it('finds a stop string that spans many parts', () => {
    expect(run(['\n\nUser:'], ['Hi', '\n', '\n', 'Us', 'er', ': x'])).toEqual({
      released: ['Hi', '', '', '', '', ''],
      flushed: '',
      stopped: true,
    })
  })

  it('finds one that begins inside a failed beginning', () => {
    expect(run(['aab'], ['aaab']).released).toEqual(['a'])
    expect(run(['abac'], ['ab', 'abac']).released).toEqual(['', 'ab'])
    expect(run(['abcd', 'bce'], ['xabce']).released).toEqual(['xa'])
  })

  it('stops at the first to be complete, and the longest of those', () => {
    expect(run(['world', 'lo'], ['hello world']).released).toEqual(['hel'])
    expect(run(['b', 'ab'], ['xab']).released).toEqual(['x'])
    expect(run(['abcd', 'c'], ['abcd']).released).toEqual(['ab'])
  })

  it('finds the second stop string in one part, and ignores text after it', () => {
    const watcher = new StopStrings(['X', 'Y'])
    expect(watcher.push('aYbX')).toEqual({ text: 'a', stopped: true })
    expect(watcher.push('more')).toEqual({ text: '', stopped: true })
    expect(watcher.flush()).toBe('')
  })

  it('agrees with its definition however random text is cut', () => {
    const integer = seededIntegers(5)
    const word = (longest: number) =>
      Array.from({ length: 1 + integer(longest) }, () => 'abc'[integer(3)]).join('')
    for (let trial = 0; trial < 5000; trial++) {
      const stop = Array.from({ length: 1 + integer(4) }, () => word(5))
      const parts = Array.from({ length: 1 + integer(10) }, () => word(4))
      const { released, flushed, stopped } = run(stop, parts)
      expect({ text: released.join('') + flushed, stopped }).toEqual(expected(stop, parts.join('')))
    }
  })

  it('holds back less than the longest stop string', () => {
    const watcher = new StopStrings([`${'a'.repeat(50)}b`])
    let released = 0
    for (let count = 0; count < 10_000; count++) released += watcher.push('a').text.length
    expect(released).toBe(10_000 - 50)
    expect(watcher.flush()).toHaveLength(50)
  })

  it('refuses empty strings and what is not a list', () => {
    expect(() => new StopStrings(['a', ''])).toThrow('[stop] string 1 must not be empty')
    expect(() => new StopStrings('a' as unknown as string[])).toThrow(TypeError)
    expect(() => new StopStrings([1 as unknown as string])).toThrow(
      '[stop] string 0 must be a string but is number',
    )
  })
})

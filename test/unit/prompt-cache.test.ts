import { describe, expect, it } from 'vitest'
import { type Accept, MAX_TEXT_LENGTH, PromptCache } from '../../lib/engine/prompt-cache.js'
import { checkTree, entryBytes, exact, Fake, nodesOf, range, withLogits } from './fake-values.js'

describe('PromptCache', () => {
  it('finds the longest entry that the tokens begin with', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 1e6 })
    const [short, long, other] = ['short', 'long', 'other'].map((name) => new Fake(name))
    expect(cache.find(range(3))).toBeUndefined()
    cache.add(range(4), long!, exact)
    cache.add(range(2), short!, exact)
    cache.add(Uint32Array.of(0, 1, 9, 9), other!, exact)
    expect(cache.find(range(9))).toMatchObject({ count: 4, value: long })
    expect(cache.find(Uint32Array.of(0, 1, 2, 9, 9))).toMatchObject({ count: 2, value: short })
    expect(cache.find(Uint32Array.of(0, 1, 9, 9, 0))).toMatchObject({ count: 4, value: other })
    expect(cache.find(range(9, 1))).toBeUndefined()
    expect(cache.find(range(0))).toBeUndefined()
    expect(cache.entries).toBe(3)
    checkTree(cache)
  })

  it('takes an entry as long as the tokens only with logits', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 1e6 })
    cache.add(range(2), new Fake('with', withLogits), exact)
    cache.add(range(4), new Fake('without'), exact)
    expect(cache.find(range(2))?.value.name).toBe('with')
    expect(cache.find(range(4))?.value.name).toBe('with')
    expect(cache.find(range(5))?.value.name).toBe('without')
  })

  it('takes only what is accepted', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 1e6 })
    cache.add(range(64), new Fake('exact'), { isExact: true })
    cache.add(range(128), new Fake('not'), { isExact: false })
    expect(cache.find(range(200))?.count).toBe(128)
    expect(cache.find(range(200), ({ isExact }) => isExact)?.count).toBe(64)
    expect(cache.find(range(200), () => false)).toBeUndefined()
    expect(cache.branchPoint(range(128))).toBe(0)
    expect(cache.branchPoint(range(128), ({ isExact }) => isExact)).toBe(128)
  })

  it('keeps tokens of its own', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 1e6 })
    const tokens = range(4)
    cache.add(tokens, new Fake('a'), exact)
    tokens.fill(7)
    expect(cache.commonLength(range(4))).toBe(4)
  })

  it('tells how many tokens are shared, and where prompts part', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 1e6 })
    const forked = (length: number) => Uint32Array.of(...range(length), 1e6, 1e6)
    expect(cache.branchPoint(range(300))).toBe(0)
    cache.add(range(300), new Fake('whole'), exact)
    expect(cache.commonLength(forked(63))).toBe(63)
    expect(cache.branchPoint(forked(63))).toBe(0)
    expect(cache.branchPoint(forked(64))).toBe(64)
    expect(cache.branchPoint(forked(200))).toBe(192)
    expect(cache.branchPoint(range(256))).toBe(256)
    expect(cache.branchPoint(forked(300))).toBe(0) // the entry lies behind it
    cache.add(range(64), new Fake('first'), exact)
    expect(cache.branchPoint(forked(200))).toBe(192)
    cache.add(range(195), new Fake('behind'), exact)
    expect(cache.branchPoint(forked(200))).toBe(0)
    expect(cache.branchPoint(forked(257))).toBe(256)
    cache.add(range(256), new Fake('there'), exact)
    expect(cache.branchPoint(forked(257))).toBe(0)
  })

  it('evicts what was not used for longest', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 3 * entryBytes(2) })
    const values = [0, 10, 20, 30].map((first) => new Fake(`${first}`))
    for (const [index, value] of values.slice(0, 3).entries()) {
      expect(cache.add(range(2, 10 * index), value, exact)).toBe(true)
    }
    expect(cache.bytes).toBe(cache.maxBytes)
    cache.find(range(3))?.lease.release()
    cache.add(range(2, 30), values[3]!, exact)
    expect(values.map(({ disposals }) => disposals)).toEqual([0, 1, 0, 0])
    expect(cache.bytes).toBe(cache.maxBytes)
    expect(cache.find(range(3, 10))).toBeUndefined()
    checkTree(cache)
  })

  it('refuses what is larger than the budget, and evicts nothing for it', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 2 * entryBytes(2) })
    const large = new Fake('large', { bytes: 2 * entryBytes(2) - 8 - 1024 + 1 })
    const [old, replacement] = [new Fake('old'), new Fake('replacement', { bytes: 1e6 })]
    cache.add(range(2), old, exact)
    expect(cache.add(range(2, 10), large, exact)).toBe(false)
    expect(cache.add(range(2), replacement, exact)).toBe(false)
    expect([old.disposals, large.disposals, replacement.disposals]).toEqual([0, 1, 1])
    expect(cache.makeRoom(cache.maxBytes + 1)).toBe(false)
    expect(cache.entries).toBe(1)
    const full = new Fake('full', { bytes: 2 * entryBytes(2) - 8 - 1024 })
    expect(cache.add(range(2, 10), full, exact)).toBe(true)
    expect([old.disposals, full.disposals]).toEqual([1, 0])
  })

  it('stores nothing for no tokens', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 1e6 })
    const value = new Fake('none', withLogits)
    expect(cache.add(range(0), value, exact)).toBe(false)
    expect([value.disposals, cache.bytes, cache.entries]).toEqual([1, 0, 0])
  })

  it('makes room before something is allocated', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 3 * entryBytes(2) })
    for (const first of [0, 10, 20]) cache.add(range(2, first), new Fake(`${first}`), exact)
    expect(cache.makeRoom(entryBytes(2) + 1)).toBe(true)
    expect([cache.entries, cache.bytes]).toEqual([1, entryBytes(2)])
    expect(cache.find(range(3, 20))?.value.name).toBe('20')
    expect(cache.makeRoom(2 * entryBytes(2) + 1)).toBe(false) // the rest is leased
    expect(cache.makeRoom(2 * entryBytes(2))).toBe(true)
    expect(cache.entries).toBe(1)
  })

  it('evicts others rather than what is leased', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 2 * entryBytes(2) })
    const [leased, other, third] = [new Fake('leased'), new Fake('other'), new Fake('third')]
    cache.add(range(2), leased, exact)
    const first = cache.find(range(3))!
    const second = cache.find(range(3))!
    cache.add(range(2, 10), other, exact)
    cache.find(range(3, 10))!.lease.release()
    cache.add(range(2, 20), third, exact)
    expect([leased.disposals, other.disposals, third.disposals]).toEqual([0, 1, 0])
    first.lease.release()
    first.lease.release() // once counts
    expect(cache.makeRoom(cache.maxBytes)).toBe(false)
    second.lease.release()
    expect(leased.disposals).toBe(0)
    expect(cache.makeRoom(cache.maxBytes)).toBe(true)
    expect([leased.disposals, third.disposals, cache.bytes]).toEqual([1, 1, 0])
  })

  it('replaces the value of the same tokens, and disposes of a leased one when it is released', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 1e6 })
    const [first, second, third] = [new Fake('first'), new Fake('second'), new Fake('third')]
    cache.add(range(2), first, exact)
    cache.add(range(2), second, exact)
    expect([first.disposals, cache.entries, cache.bytes]).toEqual([1, 1, entryBytes(2)])
    {
      using _lease = cache.find(range(3))!.lease
      cache.add(range(2), third, exact)
      expect([second.disposals, cache.entries, cache.bytes]).toEqual([0, 1, 2 * entryBytes(2)])
      expect(cache.find(range(3))?.value).toBe(third)
    }
    expect([second.disposals, cache.entries, cache.bytes]).toEqual([1, 1, entryBytes(2)])
  })

  it('forgets everything when cleared, and stores nothing when disposed of', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 1e6 })
    const [leased, other, late] = [new Fake('leased'), new Fake('other'), new Fake('late')]
    cache.add(range(2), leased, exact)
    cache.add(range(4), other, exact)
    const { lease } = cache.find(range(3))!
    cache.clear()
    expect([leased.disposals, other.disposals, cache.entries]).toEqual([0, 1, 0])
    expect(cache.bytes).toBe(entryBytes(2))
    expect(cache.commonLength(range(4))).toBe(0)
    expect(cache.add(range(4), new Fake('again'), exact)).toBe(true)
    cache.dispose()
    expect(cache.add(range(2), late, exact)).toBe(false)
    lease.release()
    expect([leased.disposals, late.disposals, cache.bytes]).toEqual([1, 1, 0])
  })
})

describe('findText', () => {
  const anywhere = { isBorder: () => true }

  it('finds the longest text with a border behind it', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 1e6 })
    for (const [index, text] of ['Hi', 'Hi there', 'Hi there.', 'Ho'].entries()) {
      cache.add(range(3, 10 * index), new Fake(text), { isExact: true, text })
    }
    cache.add(range(9), new Fake('no text'), exact)
    const found = cache.findText('Hi there. You', anywhere)
    expect(found).toMatchObject({ value: { name: 'Hi there.' }, count: 3, textLength: 9 })
    expect(found!.tokens).toEqual(range(3, 20))
    const isBorder = (text: string, index: number) => text[index] === '.'
    expect(cache.findText('Hi there. You', { isBorder })?.value.name).toBe('Hi there')
    const accept: Accept<Fake> = ({ text }) => text!.length < 5
    expect(cache.findText('Hi there. You', { ...anywhere, accept })?.value.name).toBe('Hi')
    expect(cache.findText('H', anywhere)).toBeUndefined()
    expect(cache.findText('Hi there. You', { isBorder: () => false })).toBeUndefined()
  })

  it('takes a whole text only with logits, and asks about no border at its end', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 1e6 })
    const never = { isBorder: () => false }
    cache.add(range(1), new Fake('without'), { isExact: true, text: 'a' })
    expect(cache.findText('a', anywhere)).toBeUndefined()
    cache.add(range(2), new Fake('with', withLogits), { isExact: true, text: 'a' })
    expect(cache.findText('a', never)?.value.name).toBe('with')
  })

  it('takes the one used last of the same text', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 1e6 })
    cache.add(range(1), new Fake('short'), { isExact: true, text: 'a' })
    cache.add(range(2), new Fake('long'), { isExact: true, text: 'a' })
    expect(cache.findText('ab', anywhere)?.value.name).toBe('long')
    cache.find(range(2))
    expect(cache.findText('ab', anywhere)?.value.name).toBe('short')
  })

  it('leases what it finds', () => {
    const cache = new PromptCache<Fake>({ maxBytes: entryBytes(1, { text: 'a' }) })
    cache.add(range(1), new Fake('a'), { isExact: true, text: 'a' })
    const { lease } = cache.findText('ab', anywhere)!
    expect(cache.makeRoom(cache.maxBytes)).toBe(false)
    lease.release()
    expect(cache.makeRoom(cache.maxBytes)).toBe(true)
  })

  it('counts texts, keeps one where a value without replaces it, and none that is too long', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 1e8 })
    cache.add(range(2), new Fake('first'), { isExact: true, text: 'é\ud800' })
    expect(cache.bytes).toBe(entryBytes(2) + 4)
    cache.add(range(2), new Fake('second'), exact)
    expect(cache.bytes).toBe(entryBytes(2) + 4)
    expect(cache.findText('é\ud800b', anywhere)?.value.name).toBe('second')
    cache.add(range(2), new Fake('third'), { isExact: true, text: 'c' })
    expect(cache.findText('é\ud800b', anywhere)).toBeUndefined()
    cache.clear()
    const [most, over] = ['x'.repeat(MAX_TEXT_LENGTH), 'y'.repeat(MAX_TEXT_LENGTH + 1)]
    cache.add(range(1), new Fake('most'), { isExact: true, text: most })
    cache.add(range(1, 1), new Fake('over'), { isExact: true, text: over })
    expect(cache.findText(`${most}.`, anywhere)?.value.name).toBe('most')
    expect(cache.findText(`${over}.`, anywhere)).toBeUndefined()
    expect(cache.find(range(2, 1))?.value.name).toBe('over')
  })
})

describe('large trees', () => {
  it('takes a thousand forks of a prompt of 200,000 tokens', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 2 ** 40 })
    const length = 200_000
    const whole = range(length)
    const fork = (index: number) => {
      const tokens = whole.slice()
      tokens.fill(length + index, 199 * (index + 1))
      return tokens
    }
    cache.add(whole, new Fake('whole'), exact)
    for (let index = 0; index < 1000; index++) {
      expect(cache.commonLength(fork(index))).toBe(199 * (index + 1))
      cache.add(fork(index), new Fake(`${index}`, withLogits), exact)
    }
    expect(cache.find(fork(500))?.value.name).toBe('500')
    checkTree(cache)
    cache.clear()
    expect(nodesOf(cache).length).toBe(1)
  })

  it('goes deeper than a stack could', () => {
    const cache = new PromptCache<Fake>({ maxBytes: 2 ** 40 })
    const tokens = range(12_000)
    // The longest first: the others then cut its edge, where to go down to a longer one takes time.
    for (let count = tokens.length; count > 0; count--) {
      cache.add(tokens.subarray(0, count), new Fake(`${count}`), exact)
    }
    expect(cache.find(tokens)?.count).toBe(tokens.length - 1)
    expect(cache.find(tokens, ({ count }) => count < 5)?.count).toBe(4)
    cache.clear()
    expect(nodesOf(cache).length).toBe(1)
  })
})

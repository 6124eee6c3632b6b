// Random requests of the prompt cache and of a plain list, compared after each.

import { describe, expect, it } from 'vitest'
import { PromptCache } from '../../lib/engine/prompt-cache.js'
import { checkTree, entryBytes, Fake } from './fake-values.js'
import { seededIntegers } from './random.js'

interface NaiveEntry {
  tokens: number[]
  value: Fake
  isExact: boolean
  text: string | undefined
  bytes: number
  leases: number
}

/** The definition: a list, those used last at its end. */
class NaiveCache {
  entries: NaiveEntry[] = []
  departed: NaiveEntry[] = []
  evictions = 0
  readonly maxBytes: number

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  get bytes(): number {
    return sum([...this.entries, ...this.departed])
  }

  longest(usable: NaiveEntry[], lengthOf: (entry: NaiveEntry) => number): NaiveEntry | undefined {
    const most = Math.max(...usable.map(lengthOf))
    const entry = usable.findLast((other) => lengthOf(other) === most)
    if (!entry) return undefined
    this.entries = [...this.entries.filter((other) => other !== entry), entry]
    entry.leases++
    return entry
  }

  find(tokens: number[], accept: (entry: NaiveEntry) => boolean): NaiveEntry | undefined {
    const usable = this.entries.filter(
      (entry) =>
        common(entry.tokens, tokens) === entry.tokens.length &&
        (entry.tokens.length < tokens.length || entry.value.hasLogits) &&
        accept(entry),
    )
    return this.longest(usable, (entry) => entry.tokens.length)
  }

  findText(
    text: string,
    isBorder: (text: string, index: number) => boolean,
    accept: (entry: NaiveEntry) => boolean,
  ): NaiveEntry | undefined {
    const usable = this.entries.filter((entry) => {
      if (entry.text === undefined || !text.startsWith(entry.text) || !accept(entry)) return false
      return entry.text === text ? entry.value.hasLogits : isBorder(text, entry.text.length)
    })
    return this.longest(usable, (entry) => entry.text!.length)
  }

  commonLength(tokens: number[]): number {
    return Math.max(0, ...this.entries.map((entry) => common(entry.tokens, tokens)))
  }

  branchPoint(tokens: number[], accept: (entry: NaiveEntry) => boolean): number {
    const most = this.commonLength(tokens)
    const begun = this.entries
      .filter((entry) => common(entry.tokens, tokens) === entry.tokens.length && accept(entry))
      .map((entry) => entry.tokens.length)
    let point = 0
    for (let next = 64; next <= most; next += 64) {
      if (begun.every((length) => length < next)) point = next
    }
    return point
  }

  makeRoom(bytes: number): boolean {
    const leased = [...this.entries.filter(({ leases }) => leases > 0), ...this.departed]
    if (sum(leased) + bytes > this.maxBytes) return false
    while (this.bytes + bytes > this.maxBytes) {
      this.remove(this.entries.find(({ leases }) => leases === 0)!)
      this.evictions++
    }
    return true
  }

  add(entry: NaiveEntry): boolean {
    const { tokens } = entry
    const replaced = this.entries.find(
      (other) =>
        other.tokens.length === tokens.length && common(other.tokens, tokens) === tokens.length,
    )
    entry.text ??= replaced?.text
    entry.bytes += entryBytes(tokens.length, { bytes: 0, text: entry.text ?? '' })
    const others = this.entries.filter((other) => other !== replaced && other.leases === 0)
    const free = this.maxBytes - this.bytes + sum(others)
    const freed = replaced?.leases === 0 ? replaced.bytes : 0
    if (tokens.length === 0 || entry.bytes > free + freed) return false
    if (replaced) this.remove(replaced)
    this.makeRoom(entry.bytes)
    this.entries.push(entry)
    return true
  }

  remove(entry: NaiveEntry): void {
    this.entries = this.entries.filter((other) => other !== entry)
    if (entry.leases > 0) this.departed.push(entry)
  }

  release(entry: NaiveEntry): void {
    entry.leases--
    this.departed = this.departed.filter(({ leases }) => leases > 0)
  }
}

function sum(entries: NaiveEntry[]): number {
  return entries.reduce((total, { bytes }) => total + bytes, 0)
}

function common(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let length = 0
  while (length < a.length && length < b.length && a[length] === b[length]) length++
  return length
}

/** Makes random requests of a cache and of the list, and compares them after each. */
class Comparison {
  readonly #random: (below: number) => number
  readonly #alphabet: number
  readonly #cache: PromptCache<Fake>
  readonly #naive: NaiveCache
  readonly #values: Fake[] = []
  #leases: { entry: NaiveEntry; release: () => void }[] = []
  #recent: number[][] = [[]]
  /** How often something was seen that the comparison is for. */
  readonly #seen = { found: 0, foundText: 0, branched: 0, refused: 0, departed: 0 }

  constructor({ seed, alphabet, maxBytes }: { seed: number; alphabet: number; maxBytes: number }) {
    this.#random = seededIntegers(seed)
    this.#alphabet = alphabet
    this.#cache = new PromptCache<Fake>({ maxBytes })
    this.#naive = new NaiveCache(maxBytes)
  }

  step(): void {
    const tokens = this.#tokens()
    const exactOnly = this.#random(3) === 0
    const accept = (entry: { isExact: boolean }) => entry.isExact || !exactOnly
    const request = this.#random(1000)
    if (request < 400) this.#add(tokens)
    else if (request < 550) this.#find(tokens, accept)
    else if (request < 700) this.#findText(tokens, accept)
    else if (request < 960) this.#release()
    else if (request < 995) this.#makeRoom()
    else this.#clear()
    this.#compare(tokens, accept)
  }

  /** Everything that was added is disposed of once, when all are released; and all kinds of requests came. */
  end(): void {
    this.#cache.dispose()
    while (this.#leases.length > 0) this.#release()
    expect(this.#cache.bytes).toBe(0)
    expect(this.#naive.evictions).toBeGreaterThan(10)
    for (const times of Object.values(this.#seen)) expect(times).toBeGreaterThan(10)
    expect(this.#values.filter(({ disposals }) => disposals !== 1)).toEqual([])
  }

  /** One of those before, or one that is stored: as it was, gone on with, or cut somewhere and gone on with. */
  #tokens(): number[] {
    const stored = this.#naive.entries.map(({ tokens }) => tokens)
    const from = stored.length > 0 && this.#random(2) === 0 ? stored : this.#recent
    const before = from[this.#random(from.length)]!
    const kept = before.slice(0, this.#random(2) === 0 ? 300 : this.#random(before.length + 1))
    const added = Array.from({ length: this.#random(80) }, () => this.#random(this.#alphabet))
    const tokens = this.#random(6) === 0 ? before : [...kept, ...added].slice(0, 300)
    this.#recent = [...this.#recent, tokens].slice(-12)
    return tokens
  }

  #add(tokens: number[]): void {
    const bytes = this.#random(30) === 0 ? 1e9 : 100 + this.#random(3000)
    const value = new Fake('', { bytes, hasLogits: this.#random(2) === 0 })
    this.#values.push(value)
    const isExact = this.#random(2) === 0
    const text = this.#random(2) === 0 ? textOf(tokens) : undefined
    const entry = { tokens, value, isExact, text, bytes, leases: 0 }
    const isStored = this.#naive.add(entry)
    expect(this.#cache.add(Uint32Array.from(tokens), value, { isExact, text })).toBe(isStored)
    if (!isStored) this.#seen.refused++
  }

  #find(tokens: number[], accept: (entry: { isExact: boolean }) => boolean): void {
    const entry = this.#naive.find(tokens, accept)
    const found = this.#cache.find(Uint32Array.from(tokens), accept)
    expect(found?.value).toBe(entry?.value)
    if (!entry || !found) return
    this.#seen.found++
    expect(found.count).toBe(entry.tokens.length)
    this.#leases.push({ entry, release: found.lease.release })
  }

  #findText(tokens: number[], accept: (entry: { isExact: boolean }) => boolean): void {
    const text = textOf(tokens)
    const isBorder = (whole: string, index: number) => (index + whole.length) % 3 > 0
    const entry = this.#naive.findText(text, isBorder, accept)
    const found = this.#cache.findText(text, { isBorder, accept })
    expect(found?.value).toBe(entry?.value)
    if (!entry || !found) return
    this.#seen.foundText++
    expect([...found.tokens]).toEqual(entry.tokens)
    expect([found.count, found.textLength]).toEqual([entry.tokens.length, entry.text!.length])
    this.#leases.push({ entry, release: found.lease.release })
  }

  #release(): void {
    const [lease] = this.#leases.splice(this.#random(this.#leases.length), 1)
    if (!lease) return
    this.#naive.release(lease.entry)
    lease.release()
    lease.release()
  }

  #makeRoom(): void {
    const bytes = this.#random(this.#naive.maxBytes + 2)
    expect(this.#cache.makeRoom(bytes)).toBe(this.#naive.makeRoom(bytes))
    if (this.#cache.bytes + bytes <= this.#naive.maxBytes) return
    expect(this.#leases.length).toBeGreaterThan(0)
  }

  #clear(): void {
    for (const entry of this.#naive.entries) this.#naive.remove(entry)
    this.#cache.clear()
  }

  #compare(numbers: number[], accept: (entry: { isExact: boolean }) => boolean): void {
    const [cache, naive, tokens] = [this.#cache, this.#naive, Uint32Array.from(numbers)]
    expect(cache.commonLength(tokens)).toBe(naive.commonLength(numbers))
    const point = naive.branchPoint(numbers, accept)
    expect(cache.branchPoint(tokens, accept)).toBe(point)
    if (point > 0) this.#seen.branched++
    expect([cache.bytes, cache.entries]).toEqual([naive.bytes, naive.entries.length])
    expect(cache.bytes).toBeLessThanOrEqual(cache.maxBytes)
    const held = [...naive.entries, ...naive.departed].map(({ value }) => value)
    expect(held.every(({ disposals }) => disposals === 0)).toBe(true)
    expect(this.#values.filter(({ disposals }) => disposals === 0).length).toBe(held.length)
    if (naive.departed.length > 0) this.#seen.departed++
    checkTree(cache)
  }
}

/** Several sequences have the same text. */
function textOf(tokens: number[]): string {
  return tokens.map((token) => 'ab'[token % 2]).join('')
}

describe('against a list', () => {
  it.each([
    { seed: 1, alphabet: 2, maxBytes: 50_000 },
    { seed: 2, alphabet: 3, maxBytes: 50_000 },
    { seed: 3, alphabet: 1, maxBytes: 20_000 },
    { seed: 4, alphabet: 20, maxBytes: 100_000 },
  ])('finds, counts and evicts alike with seed $seed', (options) => {
    const comparison = new Comparison(options)
    for (let step = 0; step < 2500; step++) comparison.step()
    comparison.end()
  })
})

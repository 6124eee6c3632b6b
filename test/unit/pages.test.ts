// Pages against sequences that each have arrays of their own: what is shared is never written, and nothing is lost.

import { setFlagsFromString } from 'node:v8'
import { setImmediate as turn } from 'node:timers/promises'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { PageAllocator } from '../../lib/engine/page-allocator.js'
import type { PageList } from '../../lib/engine/page-list.js'
import { PagedCache } from '../../lib/engine/paged-cache.js'
import { createDevice, type Device } from '../../lib/index.js'
import type { LanguageModel } from '../../lib/models/language-model.js'
import { NO_PAGE, PAGE_SIZE } from '../../lib/operations/arguments.js'
import { seededIntegers } from './random.js'

const SLOTS = 5
const WIDTH = 3
const BYTES_PER_TOKEN = 4 * 2 * WIDTH

const modelOn = (device: Device) => {
  const field = (name: string) => ({ name, dtype: 'float32' as const, shape: [WIDTH] })
  const fields = [[field('keys')], [], [field('values')]]
  return { device, pagedFields: fields } as unknown as LanguageModel
}

describe('the allocator of pages', () => {
  it('takes the lowest ids, all or none', () => {
    const allocator = new PageAllocator(8, 4)
    const [a, b, c] = allocator.take(3)!
    expect([a, b, c].map((page) => page!.id)).toEqual([0, 1, 2])
    expect(allocator.take(2)).toBeUndefined()
    allocator.hold(b!)
    allocator.release(b!)
    expect(allocator.inUse).toBe(3)
    allocator.release(b!)
    expect(allocator.take(2)!.map(({ id }) => id)).toEqual([1, 3])
    expect(allocator.touched).toBe(4)
  })

  it('refuses a page that was freed', () => {
    const allocator = new PageAllocator(8, 1)
    const [page] = allocator.take(1)!
    allocator.release(page!)
    expect(() => allocator.release(page!)).toThrow('page 0 was freed before')
    allocator.take(1)
    expect(() => allocator.hold(page!)).toThrow('page 0 was freed before')
  })

  it('moves pages into the room that is left', () => {
    const allocator = new PageAllocator(8, 6)
    const pages = allocator.take(6)!
    for (const i of [0, 2, 4]) allocator.release(pages[i]!)
    expect(() => allocator.shrink(2)).toThrow('more pages are in use')
    expect(allocator.shrink(4)).toEqual([{ from: 5, to: 0 }])
    expect([pages[1]!.id, pages[3]!.id, pages[5]!.id]).toEqual([1, 3, 0])
    expect(allocator.take(1)!.map(({ id }) => id)).toEqual([2])
  })
})

interface Sequence {
  pages: PageList
  /** What its positions hold. */
  values: number[]
  slot: number | undefined
}

/** A cache, and sequences that are what they should be. */
class Rig {
  readonly device = createDevice('cpu', { threads: 1 })
  readonly sequences: Sequence[] = []
  readonly cache: PagedCache
  runs: Promise<void>[] = []
  pools = 0
  #next = 1

  constructor(maxPages: number) {
    const maxBytes = maxPages * PAGE_SIZE * BYTES_PER_TOKEN
    const options = { slots: SLOTS, maxBytes, keptBytes: 0 }
    this.cache = new PagedCache(modelOn(this.device), options, {
      newPool: () => (this.pools += 1),
      freeSome: () => false,
      run: async (record) => {
        using list = this.device.record(record)
        const run = list.length > 0 ? list.run().then(() => {}) : Promise.resolve()
        this.runs.push(run)
        return run
      },
    })
  }

  add(pages: PageList, values: number[]): Sequence {
    const used = new Set(this.sequences.map(({ slot }) => slot))
    const slot = [...Array(SLOTS).keys()].find((slot) => !used.has(slot))
    const sequence = { pages, values, slot }
    if (slot !== undefined) this.cache.bind(slot, pages)
    this.sequences.push(sequence)
    return sequence
  }

  /** Goes on with as many positions; whether there were pages. */
  async write({ pages, values }: Sequence, count: number): Promise<boolean> {
    const from = values.length
    if (!this.cache.reserve(pages, { from, to: from + count })) return false
    for (let i = 0; i < count; i++) values.push(this.#next++)
    await Promise.all(this.runs)
    for (const [i, { count, fields }] of this.cache.usedPages(pages, values.length).entries()) {
      // All of it, as if it had been there before: what is shared would show it.
      if ((i + 1) * PAGE_SIZE <= from) continue
      const kept = values.slice(i * PAGE_SIZE, i * PAGE_SIZE + count)
      for (const field of fields) field.write(Float32Array.from(kept.flatMap((x) => [x, x, x])))
    }
    return true
  }

  /** Another sequence of the first `length` positions. */
  share({ pages, values }: Sequence, length: number): boolean {
    const shared = this.cache.share(pages, length)
    if (!shared) return false
    void this.run((cl) => shared.record(cl))
    this.add(shared.pages, values.slice(0, length))
    return true
  }

  free(sequence: Sequence): void {
    sequence.pages.free()
    if (sequence.slot !== undefined) this.cache.unbind(sequence.slot)
    this.sequences.splice(this.sequences.indexOf(sequence), 1)
  }

  async run(record: Parameters<Device['record']>[0]): Promise<void> {
    using list = this.device.record(record)
    const run = list.length > 0 ? list.run().then(() => {}) : Promise.resolve()
    this.runs.push(run)
    await run
  }

  /** Whether every sequence has what it should have, and every count is right. */
  async check(): Promise<void> {
    await this.run((cl) => this.cache.recordTable(cl))
    await Promise.all(this.runs)
    this.runs = []
    const holders = new Map<object, number>()
    for (const { pages, values, slot } of this.sequences) {
      const held = this.cache.usedPages(pages, values.length).flatMap(({ fields }) => {
        const [keys, others] = fields.map((field) => [...(field.read() as Float32Array)])
        expect(others).toEqual(keys)
        return keys!
      })
      expect(held).toEqual(values.flatMap((x) => [x, x, x]))
      for (const page of pages.pages) holders.set(page, (holders.get(page) ?? 0) + 1)
      if (slot === undefined) continue
      const row = [...(this.cache.pool.table.at(slot).read() as Uint32Array)]
      const ids: number[] = pages.pages.map(({ id }) => id)
      expect(row).toEqual([...ids, ...Array(row.length - ids.length).fill(NO_PAGE)])
    }
    const pages = [...holders.keys()] as { id: number; holders: number }[]
    for (const page of pages) expect(page.holders).toBe(holders.get(page))
    expect(new Set(pages.map(({ id }) => id)).size).toBe(pages.length)
    expect(this.cache.memory.pagesInUse).toBe(pages.length)
  }
}

describe('the cache of pages', () => {
  it.each([1, 2, 3, 4])('random operations, seed %i', async (seed) => {
    const draw = seededIntegers(seed)
    const maxPages = [9, 20][seed % 2]!
    const rig = new Rig(maxPages)
    const refused = { write: 0, share: 0 }
    for (let round = 0; round < 120; round++) {
      const sequence = rig.sequences[draw(rig.sequences.length || 1)]
      const operation = draw(10)
      if (!sequence || operation === 0) rig.add(rig.cache.empty(), [])
      else if (operation < 5) {
        const count = [1, 3, PAGE_SIZE - 1, PAGE_SIZE, 300][draw(5)]!
        if (!(await rig.write(sequence, count))) refused.write += 1
      } else if (operation < 8) {
        // Also of less than all, as a moment that somebody held.
        const { length } = sequence.values
        const shorter = draw(2) === 0 ? length : draw(length + 1)
        if (!rig.share(sequence, shorter)) refused.share += 1
      } else if (operation === 8 || rig.sequences.length > 12) rig.free(sequence)
      else rig.cache.giveBack()
      if (round % 3 === 0) await rig.check()
    }
    await rig.check()
    expect(refused.write, 'the cache has been full').toBeGreaterThan(0)
    const { memory } = rig.cache
    expect(memory.pages).toBeLessThanOrEqual(maxPages)
    for (const sequence of [...rig.sequences]) rig.free(sequence)
    expect(rig.cache.memory.pagesInUse).toBe(0)
    rig.cache.giveBack()
    expect(rig.cache.memory.pages).toBe(1)
    await rig.check()
    rig.cache.dispose()
    rig.device.dispose()
  })

  it('shares full pages, and copies the partial one', async () => {
    const rig = new Rig(100)
    const first = rig.add(rig.cache.empty(), [])
    await rig.write(first, 2 * PAGE_SIZE + 1)
    rig.share(first, 2 * PAGE_SIZE + 1)
    rig.share(first, PAGE_SIZE)
    const [a, b, c] = rig.sequences.map(({ pages }) => pages.pages)
    expect(b!.map((page, i) => page === a![i])).toEqual([true, true, false])
    expect(c).toEqual([a![0]])
    expect(rig.cache.memory.pagesInUse).toBe(4)
    // It may go on only where nobody else reads.
    expect(() => rig.cache.reserve(first.pages, { from: PAGE_SIZE, to: PAGE_SIZE + 1 })).toThrow(
      'is shared and would be written',
    )
    await rig.write(first, 5)
    await rig.check()
  })

  it('grows for what is expected, and stays below its budget', async () => {
    const rig = new Rig(11)
    const sequence = rig.add(rig.cache.empty(), [])
    const reserve = (to: number, expected: number) =>
      rig.cache.reserve(sequence.pages, { from: 0, to, expected })
    expect(reserve(1, 6 * PAGE_SIZE)).toBe(true)
    expect(rig.cache.memory.pages).toBe(1)
    expect(reserve(PAGE_SIZE + 1, 6 * PAGE_SIZE)).toBe(true)
    expect(rig.cache.memory.pages).toBe(6)
    expect(reserve(7 * PAGE_SIZE, 1e9)).toBe(true)
    expect(rig.cache.memory).toMatchObject({ pages: 11, pagesInUse: 7 })
    expect(rig.cache.pool.table.shape).toEqual([SLOTS, 16])
    expect(reserve(12 * PAGE_SIZE, 12 * PAGE_SIZE)).toBe(false)
    expect(rig.cache.memory).toMatchObject({ pages: 11, pagesInUse: 7 })
    const { bytes, maxBytes, bytesPerToken } = rig.cache.memory
    expect([bytes, maxBytes, bytesPerToken]).toEqual([
      7 * PAGE_SIZE * BYTES_PER_TOKEN,
      11 * PAGE_SIZE * BYTES_PER_TOKEN,
      BYTES_PER_TOKEN,
    ])
  })

  it('tells whoever holds pages that were lost', () => {
    const rig = new Rig(4)
    const { pages } = rig.add(rig.cache.empty(), [])
    rig.cache.reserve(pages, { from: 0, to: 1 })
    rig.cache.lose(new Error('the device failed'))
    expect(() => rig.cache.share(pages, 1)).toThrow('the device failed')
    expect(rig.cache.memory.pagesInUse).toBe(0)
    pages.free()
    expect(rig.cache.reserve(rig.cache.empty(), { from: 0, to: 1 })).toBe(true)
    expect(rig.cache.memory.pagesInUse).toBe(1)
  })

  it('frees the pages of a list that nobody holds any more', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const rig = new Rig(4)
    const forget = () => rig.cache.reserve(rig.cache.empty(), { from: 0, to: 1 })
    forget()
    expect(rig.cache.memory.pagesInUse).toBe(1)
    for (let i = 0; i < 50 && rig.cache.memory.pagesInUse > 0; i++) {
      collect()
      await turn()
    }
    expect(rig.cache.memory.pagesInUse).toBe(0)
  })
})

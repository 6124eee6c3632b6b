// What a model is said to need is what is then allocated. What the Metal device allocates is held
// against it in test/metal-device.

import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { addon } from '../../lib/operations/addon.js'
import { createDevice } from '../../lib/operations/create-device.js'
import { memoryNeeds } from '../../lib/memory/needs.js'
import { loadModel } from '../../lib/load-model.js'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import { contextBytesPerToken, hasPages } from '../../lib/models/state-fields.js'
import { Memory } from '../../lib/operations/tensor.js'
import { fixture, KIND_CHECKPOINTS } from '../support/checkpoints.js'

const BUILT_IN = fileURLToPath(new URL('../../models/rene-tiny', import.meta.url))
// The check of the device has memory of its own.
process.env.SSM_METAL_SELF_CHECK = 'off'

const PAGE = 4096
const pages = (bytes: number) => Math.ceil(bytes / PAGE) * PAGE

/** The most bytes of memory that existed at any time of `work`, and how often some was asked for. */
async function allocated(work: () => Promise<void>): Promise<{ most: number; times: number }> {
  const { allocate } = Memory
  const { dispose } = Memory.prototype
  const alive = new Set<Memory>()
  let now = 0
  let most = 0
  let times = 0
  Memory.allocate = (byteLength) => {
    const memory = allocate.call(Memory, byteLength)
    alive.add(memory)
    times += 1
    now += pages(byteLength)
    most = Math.max(most, now)
    return memory
  }
  Memory.prototype.dispose = function () {
    if (alive.delete(this)) now -= pages(this.byteLength)
    dispose.call(this)
  }
  try {
    await work()
  } finally {
    Memory.allocate = allocate
    Memory.prototype.dispose = dispose
  }
  expect(now).toBe(0)
  return { most, times }
}

describe('on the CPU', () => {
  const models = [...KIND_CHECKPOINTS.map(fixture), BUILT_IN]
  const choices = [
    {},
    { dtype: 'float16' },
    { dtype: 'float32' },
    { quantize: { bits: 4, groupSize: 64 } },
    { quantize: { bits: 8, groupSize: 32 } },
  ] as const
  const cases = models.flatMap((path) => choices.map((wishes) => ({ path, wishes })))

  it.each(cases)('$path $wishes', async ({ path, wishes }) => {
    using device = createDevice('cpu', { threads: 1 })
    const checkpoint = await openCheckpoint(path)
    // One whose last page is full of the prompt, but for the text.
    const context = hasPages(checkpoint.config) ? { maxContext: 2048 } : {}
    const isQuantized = checkpoint.config.quantization !== undefined
    if (isQuantized && 'quantize' in wishes) {
      await expect(memoryNeeds(device, checkpoint, wishes)).rejects.toThrow(/is quantised already/)
      return
    }
    let needs: Awaited<ReturnType<typeof memoryNeeds>> | undefined
    const planning = await allocated(async () => {
      needs = await memoryNeeds(device, checkpoint, { ...wishes, ...context })
    })
    expect(planning).toEqual({ most: 0, times: 0 })
    const { most } = await allocated(async () => {
      // With one place: memory that nobody touches takes none, but is counted here.
      const options = { device: 'cpu', threads: 2, maxStreams: 1 } as const
      await using model = await loadModel(path, {
        ...options,
        ...wishes,
        ...context,
        promptCache: false,
      })
      const length = (context.maxContext ?? 515) - 3
      const prompt = Array.from({ length }, (_, i) => i % 50)
      await model.generate(prompt, { maxTokens: 3, ignoreEos: true })
    })
    expect(Math.abs(most / needs!.totalBytes - 1)).toBeLessThan(0.03)
    expect(needs!.pageBytes > 0).toBe('maxContext' in context)
  })

  it('lists of memory that was only planned cannot be run', async () => {
    using device = createDevice('cpu', { threads: 1 })
    const native = addon()
    const memory = native.planMemory(256, false, 256)
    const list = native.createList()
    const add = native.operations().findIndex(({ name }) => name === 'add')
    const binding = [memory, 0, 256, 0]
    native.record(list, add, [...binding, ...binding, ...binding], new Uint8Array(4))
    expect(() => native.run(device.handle, list, new Uint8Array(0), 0, () => {})).toThrow(
      /only planned/,
    )
    expect(() => native.readMemory(memory, 0, new Uint8Array(4))).toThrow(/only planned/)
    expect(() => native.writeMemory(memory, 0, new Uint8Array(4))).toThrow(/only planned/)
    native.disposeList(list)
    native.disposeMemory(memory)
  })
})

it('is the sum of its parts', async () => {
  using device = createDevice('cpu', { threads: 1 })
  const checkpoint = await openCheckpoint(fixture('rene'))
  const needs = await memoryNeeds(device, checkpoint)
  const { ownWeightBytes, loadingBytes, stateBytes, workspaceBytes, totalBytes } = needs
  expect(loadingBytes).toBe(0)
  expect(totalBytes).toBe(ownWeightBytes + stateBytes + workspaceBytes)
  expect(needs.pageBytes).toBe(0)
  // Weights stay in their file, which need not fit, unless they are converted.
  expect(needs.mappedWeightBytes).toBeGreaterThan(5 * ownWeightBytes)
  const halves = await memoryNeeds(device, checkpoint, { dtype: 'float16' })
  expect(halves.mappedWeightBytes).toBe(0)
  expect(halves.ownWeightBytes).toBeGreaterThan(3 * ownWeightBytes)
})

it('has the pages of the context that is asked for', async () => {
  using device = createDevice('cpu', { threads: 1 })
  const checkpoint = await openCheckpoint(fixture('granite-h-mixed'))
  const [least, page, two, long, narrow] = await Promise.all([
    memoryNeeds(device, checkpoint),
    memoryNeeds(device, checkpoint, { maxContext: 256 }),
    memoryNeeds(device, checkpoint, { maxContext: 257 }),
    memoryNeeds(device, checkpoint, { maxContext: 8192 }),
    memoryNeeds(device, checkpoint, { maxContext: 8192, kvDtype: 'float16' }),
  ])
  expect(page).toEqual(least)
  const bytes = 256 * contextBytesPerToken(checkpoint.config, 'float32')
  // And the tables of who has which.
  const tables = 4 * PAGE
  const expectPages = (needs: typeof least, pages: number) => {
    expect(needs.pageBytes).toBeGreaterThanOrEqual(pages * bytes)
    expect(needs.pageBytes).toBeLessThan(pages * bytes + tables)
    expect(needs.totalBytes - needs.pageBytes).toBe(least.totalBytes - least.pageBytes)
  }
  expectPages(least, 1)
  // The first one, and what it moves to.
  expectPages(two, 1 + 2)
  expectPages(long, 1 + 32)
  expectPages(narrow, (1 + 32) / 2)
})

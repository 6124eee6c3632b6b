// Native memory that there is while a test runs.

import { onTestFinished, vi } from 'vitest'
import { snapshotBytes } from '../../lib/engine/snapshot.js'
import type { Model } from '../../lib/index.js'
import { Memory } from '../../lib/operations/tensor.js'

/** Memory that is allocated from now on and not disposed of. `onAllocated`: called after each of it. */
export function watchMemory(
  isWatched: (bytes: number) => boolean = () => true,
  onAllocated: () => void = () => {},
): ReadonlySet<Memory> {
  const live = new Set<Memory>()
  const { allocate } = Memory
  const { dispose } = Memory.prototype
  const spies = [
    vi.spyOn(Memory, 'allocate').mockImplementation((bytes, options) => {
      const memory = allocate.call(Memory, bytes, options)
      if (isWatched(bytes)) live.add(memory)
      onAllocated()
      return memory
    }),
    vi.spyOn(Memory.prototype, 'dispose').mockImplementation(function (this: Memory) {
      live.delete(this)
      dispose.call(this)
    }),
  ]
  onTestFinished(() => {
    for (const spy of spies) spy.mockRestore()
  })
  return live
}

/** That of snapshots of a model. */
export function watchSnapshots(
  { languageModel }: Pick<Model, 'languageModel'>,
  onAllocated?: () => void,
): ReadonlySet<Memory> {
  const size = snapshotBytes(languageModel)
  return watchMemory((bytes) => bytes === size, onAllocated)
}

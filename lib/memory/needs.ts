// What a model will need, from the headers of its checkpoint and the options of the load. The code
// that loads and records a model runs here on a device that only counts (planned.ts), so that what it
// counts is what is later allocated.

import { addon } from '../operations/addon.js'
import type { CommandList, Device } from '../operations/device.js'
import { Engine } from '../engine/engine.js'
import { pageBytes, PagePool } from '../engine/page-pool.js'
import { poolSizesFor } from '../engine/paged-cache.js'
import { formatBytes } from '../support/format.js'
import type { Checkpoint } from '../models/checkpoint.js'
import { LanguageModel } from '../models/language-model.js'
import type { LoadOptions } from '../options/loading.js'
import type { WeightWishes } from '../weights/planned-format.js'
import { PlannedDevice, PlannedStore } from './planned.js'

/** In bytes, whole pages. */
export interface MemoryNeeds {
  /** Weights that stay in their files, which are mapped. A GPU needs all of them in memory at once. */
  mappedWeightBytes: number
  /** Weights in memory of their own: converted ones, and vectors. */
  ownWeightBytes: number
  /** What loading needs besides the weights that stay, at its worst moment. */
  loadingBytes: number
  /** What one sequence keeps between tokens, whatever its length, and what sampling keeps for it. */
  stateBytes: number
  /**
   * Keys and values of one sequence of `maxContext` tokens, and the first page, which they move from; without
   * `maxContext` that page. 0 where nothing is kept of all positions.
   */
  pageBytes: number
  /** Scratch memory of one sequence: for a chunk of a prompt, the logits, and what kernels need. */
  workspaceBytes: number
  /** The most that is needed at any time. */
  totalBytes: number
}

/**
 * The parts that count on a device, for people.
 *
 * @example
 * describeNeeds(needs, device) // 'weights 2.61 GiB, state 58.9 MiB, workspace 118 MiB'
 */
export function describeNeeds(needs: MemoryNeeds, { name }: Pick<Device, 'name'>): string {
  const parts = [
    ['weights', needs.ownWeightBytes + (name === 'cpu' ? 0 : needs.mappedWeightBytes)],
    ['loading', needs.loadingBytes],
    ['state', needs.stateBytes],
    ['keys and values', needs.pageBytes],
    ['workspace', needs.workspaceBytes],
  ] as const
  return parts
    .filter(([, bytes]) => bytes > 0)
    .map(([part, bytes]) => `${part} ${formatBytes(bytes)}`)
    .join(', ')
}

// Blocks for the inputs and outputs of runs (native/run_block.h): of the last two chunks of a prompt, and of the
// first token, which is started beside them.
const RUN_BLOCKS = 3
const RUN_BLOCK_BYTES = 8192

// The first token after a prompt is started before the prompt has ended: all lists are there at once.
const scratchOf = (device: Device, lists: readonly CommandList[]): number =>
  lists.reduce((sum, { handle }) => sum + addon().listScratch(device.handle, handle), 0)

/** What a load asks for that changes what is needed. */
export type NeedsWishes = WeightWishes & Pick<LoadOptions, 'maxContext' | 'kvDtype'>

/**
 * What a checkpoint needs on a device with one sequence that reads prompts in chunks of the default
 * size. A text that goes on beyond the pages of its prompt takes more while they move. Reads no weights and allocates nothing. Throws what loading would throw for the headers, and
 * `InsufficientMemoryError` for a tensor that the device cannot use in one piece.
 *
 * @example
 * const { totalBytes } = await memoryNeeds(device, await openCheckpoint('./rene'), { quantize })
 */
export async function memoryNeeds(
  device: Device,
  checkpoint: Checkpoint,
  { dtype, quantize, kvDtype, maxContext = 1 }: NeedsWishes = {},
): Promise<MemoryNeeds> {
  const planned = new PlannedDevice(device)
  const store = new PlannedStore(planned, checkpoint.tensors)
  const model = await LanguageModel.load(planned, checkpoint, { dtype, quantize, kvDtype }, store)
  const counted = (make: () => void): number => {
    const before = planned.bytes
    make()
    return planned.bytes - before
  }
  const poolBytes = (positions: number): number =>
    counted(() => {
      for (const size of poolSizesFor(positions)) new PagePool(model, size).dispose()
    })
  try {
    const { mappedBytes: mappedWeightBytes } = store
    const ownWeightBytes = planned.bytes
    const keeps = pageBytes(model) > 0
    const engine = new Engine(model, { maxStreams: 1, maxQueue: 0 })
    const reserved = counted(() => engine.reserve())
    // The first page is there with the state.
    const stateBytes = keeps ? reserved - poolBytes(1) : reserved
    const ofPages = keeps ? poolBytes(maxContext) : 0
    const blocks = counted(() => {
      for (let i = 0; i < RUN_BLOCKS; i++) planned.tensor('uint32', [RUN_BLOCK_BYTES / 4])
    })
    let lists: CommandList[] = []
    const scratch = counted(() => {
      lists = engine.plan()
    })
    try {
      const weightBytes = ownWeightBytes + (device.name === 'cpu' ? 0 : mappedWeightBytes)
      const workspaceBytes = blocks + scratch + scratchOf(device, lists)
      const loadingBytes = Math.max(0, store.mostBytes - weightBytes)
      return {
        mappedWeightBytes,
        ownWeightBytes,
        loadingBytes,
        stateBytes,
        pageBytes: ofPages,
        workspaceBytes,
        totalBytes: weightBytes + Math.max(loadingBytes, stateBytes + ofPages + workspaceBytes),
      }
    } finally {
      for (const list of lists) list.dispose()
      engine.dispose()
    }
  } finally {
    model.dispose()
  }
}

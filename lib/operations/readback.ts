// Reading tensors in the order of the runs of its device.

import type { Signal } from '../support/abort.js'
import type { CommandList, Device } from './device.js'
import type { Tensor, TensorData } from './tensor.js'

interface Slot {
  list: CommandList
  copies: Tensor[]
}

/**
 * Reads tensors that runs in flight may write: a copy is queued behind them, and before any later run. Any
 * number of reads may be under way; each has a place of its own, which later ones use again.
 *
 * @example
 * const readback = new Readback(device, [logits])
 * void decode.run()
 * const after = readback.read() // what that run leaves
 * void decode.run()
 * await after
 */
export class Readback {
  readonly sources: readonly Tensor[]
  readonly #device: Device
  readonly #idle: Slot[] = []
  #isDisposed = false

  constructor(device: Device, sources: readonly Tensor[]) {
    this.#device = device
    this.sources = sources
  }

  /** The elements of each. Rejects as a run does. */
  async read(options: { signal?: Signal | undefined } = {}): Promise<TensorData[]> {
    const slot = this.#idle.pop() ?? this.#makeSlot()
    try {
      await slot.list.run(options)
      return slot.copies.map((copy) => copy.read())
    } finally {
      if (this.#isDisposed) disposeSlot(slot)
      else this.#idle.push(slot)
    }
  }

  /** Reads under way end as they would have. */
  dispose(): void {
    this.#isDisposed = true
    for (const slot of this.#idle.splice(0)) disposeSlot(slot)
  }

  #makeSlot(): Slot {
    const copies = this.sources.map(({ dtype, shape }) => this.#device.tensor(dtype, shape))
    const list = this.#device.record((cl) => {
      for (const [i, source] of this.sources.entries()) cl.copy(source, copies[i]!)
    })
    return { copies, list }
  }
}

function disposeSlot({ list, copies }: Slot): void {
  list.dispose()
  for (const copy of copies) copy.dispose()
}

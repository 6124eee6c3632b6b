// Reading a tensor in the order of the runs of its device.

import type { Signal } from './abort.js'
import type { CommandList } from './command-list.js'
import type { Device } from './device.js'
import type { Tensor, TensorData } from './tensor.js'

interface Slot {
  list: CommandList
  copy: Tensor
}

/**
 * Reads a tensor that runs in flight may write: a copy is queued behind them, and before any later run. Any
 * number of reads may be under way; each has a place of its own, which later ones use again.
 *
 * @example
 * const readback = new Readback(device, logits)
 * void decode.run()
 * const after = readback.read() // what that run leaves
 * void decode.run()
 * await after
 */
export class Readback {
  readonly source: Tensor
  readonly #device: Device
  readonly #idle: Slot[] = []
  #isDisposed = false

  constructor(device: Device, source: Tensor) {
    this.#device = device
    this.source = source
  }

  /** Rejects as a run does. */
  async read(options: { signal?: Signal | undefined } = {}): Promise<TensorData> {
    const slot = this.#idle.pop() ?? this.#makeSlot()
    try {
      await slot.list.run(options)
      return slot.copy.read()
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
    const { dtype, shape } = this.source
    const copy = this.#device.tensor(dtype, shape)
    return { copy, list: this.#device.record((cl) => cl.copy(this.source, copy)) }
  }
}

function disposeSlot({ list, copy }: Slot): void {
  list.dispose()
  copy.dispose()
}

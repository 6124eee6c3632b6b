// Streams that may not draw every token: what they may draw next is computed while the model runs.

import type { CommandList, Device } from '../operations/device.js'
import type { Tensor } from '../operations/tensor.js'

/** What may come next. */
export interface Allowed {
  /** A bit for each token: 1 for those that may be drawn. uint32 (padded vocabulary / 32, rounded up). */
  mask: Uint32Array
  /** The text is complete: nothing but an end may follow. */
  isOver: boolean
}

/** Says what a stream may draw, token after token. */
export interface Masker {
  /** For the first token. */
  first(): Promise<Allowed>
  /** After a token, which was allowed. */
  after(token: number): Promise<Allowed>
}

/** Brings masks to a row of the device, in the order of its runs. */
export class MaskUpload {
  /** Of one slot: uint32 (1, words). */
  readonly target: Tensor
  readonly #staging: Tensor
  readonly #list: CommandList

  constructor(device: Device, target: Tensor) {
    this.target = target
    this.#staging = device.tensor('uint32', target.shape)
    try {
      this.#list = device.record((cl) => cl.copy(this.#staging, target))
    } catch (error) {
      this.#staging.dispose()
      throw error
    }
  }

  /** The one before has arrived: its token was drawn. */
  async start(mask: Uint32Array): Promise<void> {
    this.#staging.write(mask)
    await this.#list.run()
  }

  dispose(): void {
    this.#list.dispose()
    this.#staging.dispose()
  }
}

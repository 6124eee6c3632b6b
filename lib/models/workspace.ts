// Scratch tensors of a forward pass, shared by all layers: operations run in order, so one layer's
// intermediate results may overwrite another's.

import type { Device } from '../device.js'
import { elementCount, type Tensor } from '../tensor.js'

/** Hands out float32 scratch tensors by name. */
export class Workspace {
  readonly #device: Device
  readonly #tensors = new Map<string, Tensor>()

  constructor(device: Device) {
    this.#device = device
  }

  /**
   * A tensor (...leading, cols) whose contents are undefined. In one command list the same name and
   * cols mean the same bytes, as long as the first to ask needs the most rows.
   */
  take(name: string, leading: readonly number[], cols: number): Tensor {
    const key = `${name} ${cols}`
    const rows = elementCount(leading)
    let tensor = this.#tensors.get(key)
    if (!tensor || tensor.rows < rows) {
      // Lists recorded before keep the smaller one alive.
      tensor?.dispose()
      tensor = this.#device.tensor('float32', [rows, cols])
      this.#tensors.set(key, tensor)
    }
    return tensor.view([...leading, cols])
  }

  dispose(): void {
    for (const tensor of this.#tensors.values()) tensor.dispose()
    this.#tensors.clear()
  }
}

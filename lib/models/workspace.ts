// Scratch tensors of a forward pass, shared by all layers: operations run in order, so one layer's
// intermediate results may overwrite another's.

import type { ActivationType, Device } from '../operations/device.js'
import { type DType, elementCount, type Tensor } from '../operations/tensor.js'

/** Hands out scratch tensors by name: float32, or of the type that layers compute in. */
export class Workspace {
  readonly #device: Device
  readonly #activationType: ActivationType
  readonly #tensors = new Map<string, Tensor>()
  #replaced = 0

  constructor(device: Device, activationType: ActivationType) {
    this.#device = device
    this.#activationType = activationType
  }

  /**
   * A tensor (...leading, cols) whose contents are undefined. In one command list the same name,
   * cols and dtype mean the same bytes, as long as the first to ask needs the most rows.
   */
  take(
    name: string,
    leading: readonly number[],
    cols: number,
    dtype: DType = this.#activationType,
  ): Tensor {
    const key = `${name} ${cols} ${dtype}`
    const rows = elementCount(leading)
    let tensor = this.#tensors.get(key)
    if (!tensor || tensor.rows < rows) {
      // Lists recorded before keep the smaller one alive.
      if (tensor) {
        tensor.dispose()
        this.#replaced += 1
      }
      tensor = this.#device.tensor(dtype, [rows, cols])
      this.#tensors.set(key, tensor)
    }
    return tensor.view([...leading, cols])
  }

  /** How many tensors larger ones have taken the place of. */
  get replaced(): number {
    return this.#replaced
  }

  /** Bytes of all that was handed out. */
  get bytes(): number {
    let sum = 0
    for (const { memory } of this.#tensors.values()) sum += memory.byteLength
    return sum
  }

  dispose(): void {
    for (const tensor of this.#tensors.values()) tensor.dispose()
    this.#tensors.clear()
  }
}

// Inputs and outputs of a run: at most 4 KB that go in at submission, and 4 KB that come with completion.

import { addon } from './addon.js'
import { describe } from '../support/option-checks.js'
import { isTypedArray } from '../support/realms.js'
import {
  bytesPerElement,
  checkShape,
  type DType,
  DTYPE_NUMBERS,
  elementCount,
  formatShape,
  Memory,
  Tensor,
  type TensorData,
  typedArrayOf,
} from './tensor.js'

/** Bytes that the inputs of a run take at most, and the outputs: native/run_block.h. */
export const MOST_RUN_BYTES = 4096

/** What a run is given, or gives, by name. */
export type RunData = Readonly<Record<string, TensorData>>

// What any kernel may ask of the place where a tensor begins.
const ALIGNMENT = 16

type Kind = 'input' | 'output'

/** The inputs, or the outputs, that a list was recorded with. */
export class RunLayout {
  readonly #kind: Kind
  readonly #tensors = new Map<string, Tensor>()
  /** Bytes so far. */
  #bytes = 0

  constructor(kind: Kind) {
    this.#kind = kind
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The next tensor, in `block`. Throws for a name that is taken, and beyond 4 KB. */
  add(block: Memory, name: string, dtype: DType, shape: readonly number[]): Tensor {
    const kind = this.#kind
    if (typeof name !== 'string' || name === '') {
      throw new TypeError(`[${kind}] the name must be a text but is ${describe(name)}`)
    }
    if (this.#tensors.has(name)) {
      throw new RangeError(`[${kind}] there is an ${kind} ${JSON.stringify(name)} already`)
    }
    if (!Object.hasOwn(DTYPE_NUMBERS, dtype)) {
      throw new TypeError(
        `[${kind}] dtype of ${JSON.stringify(name)} must be one of ${Object.keys(DTYPE_NUMBERS).join(', ')} but is ${describe(dtype)}`,
      )
    }
    checkShape(kind, shape)
    const begin = Math.ceil(this.#bytes / ALIGNMENT) * ALIGNMENT
    const end = begin + elementCount(shape) * bytesPerElement(dtype)
    if (end > MOST_RUN_BYTES) {
      throw new RangeError(
        `[${kind}] the ${kind}s of a run take at most ${MOST_RUN_BYTES} bytes, but with ${JSON.stringify(name)} of shape ${formatShape(shape)} they are ${end}: use a tensor of the device`,
      )
    }
    this.#bytes = end
    const first = kind === 'input' ? 0 : MOST_RUN_BYTES
    const tensor = new Tensor(block, dtype, shape, first + begin)
    this.#tensors.set(name, tensor)
    return tensor
  }

  /** The bytes of `data`, which must have every input by name and nothing else. */
  pack(data: RunData): Uint8Array {
    const bytes = new Uint8Array(this.#bytes)
    const known = [...this.#tensors.keys()]
    if (typeof data !== 'object' || data === null) {
      throw new TypeError(`[run] inputs must be an object but is ${describe(data)}`)
    }
    for (const name of Object.keys(data)) {
      if (this.#tensors.has(name)) continue
      throw new RangeError(
        `[run] this list has no input ${JSON.stringify(name)}` +
          (known.length > 0 ? `. It has: ${known.join(', ')}` : ', nor any other'),
      )
    }
    for (const [name, tensor] of this.#tensors) {
      const values = Object.hasOwn(data, name) ? data[name] : undefined
      const wanted = typedArrayOf(tensor.dtype)
      const isWanted = isTypedArray<TensorData>(values, wanted)
      if (!isWanted || values.length !== tensor.elements) {
        const given = isWanted ? `one of ${values.length}` : describe(values)
        throw new TypeError(
          `[run] input ${JSON.stringify(name)} must be a ${wanted.name} of ${tensor.elements} elements, for ${tensor.dtype} ${formatShape(tensor.shape)}, but is ${given}`,
        )
      }
      bytes.set(
        new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
        tensor.byteOffset,
      )
    }
    return bytes
  }

  /** The outputs by name, as views of `buffer`. */
  unpack(buffer: ArrayBuffer): Record<string, TensorData> {
    const data: Record<string, TensorData> = {}
    for (const [name, { dtype, byteOffset, elements }] of this.#tensors) {
      data[name] = new (typedArrayOf(dtype))(buffer, byteOffset - MOST_RUN_BYTES, elements)
    }
    return data
  }
}

/** The memory that stands for the block of each run while a list is recorded. */
export function blockOf(list: number): Memory {
  return Memory.ofHandle(addon().listBlock(list))
}

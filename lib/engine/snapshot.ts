// The state of one sequence in memory of its own: a moment that somebody holds.

import type { LanguageModel } from '../models/language-model.js'
import { fieldBytes } from '../models/state-fields.js'
import { Memory, Tensor } from '../tensor.js'
import { namedFields } from './state-pool.js'

// Each field begins where any kernel may read it in whole cache lines.
const ALIGNMENT = 256

/** One block of memory: the fields of a sequence, and the logits of its next token where they are known. */
export class Snapshot {
  /** In order, each (1, ...shape). */
  readonly fields: readonly { name: string; tensor: Tensor }[]
  /** float32 (1, padded vocabulary). */
  readonly logits: Tensor
  hasLogits = false
  readonly #memory: Memory

  constructor(model: LanguageModel) {
    let end = 0
    const places = namedFields(model).map((field) => {
      const begin = Math.ceil(end / ALIGNMENT) * ALIGNMENT
      end = begin + fieldBytes(field)
      return { ...field, begin }
    })
    const logits = Math.ceil(end / ALIGNMENT) * ALIGNMENT
    const vocabulary = model.config.paddedVocabSize
    this.#memory = Memory.allocate(logits + 4 * vocabulary)
    this.fields = places.map(({ name, dtype, shape, begin }) => ({
      name,
      tensor: new Tensor(this.#memory, dtype, [1, ...shape], begin),
    }))
    this.logits = new Tensor(this.#memory, 'float32', [1, vocabulary], logits)
  }

  get bytes(): number {
    return this.#memory.byteLength
  }

  dispose(): void {
    this.#memory.dispose()
  }
}

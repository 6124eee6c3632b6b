// The state of one sequence in memory of its own: a moment that somebody holds.

import type { LanguageModel } from '../models/language-model.js'
import { fieldBytes } from '../models/state-fields.js'
import { Memory, Tensor } from '../operations/tensor.js'
import type { PageList } from './page-list.js'
import { namedFields } from './state-pool.js'

// Each field begins where any kernel may read it in whole cache lines.
const ALIGNMENT = 256

/**
 * One block of memory: the fields of a sequence, and the logits of its next token where they are known. It has one
 * holder at first; each disposes of it once.
 */
export class Snapshot {
  /** In order, each (1, ...shape). */
  readonly fields: readonly { name: string; tensor: Tensor }[]
  /** float32 (1, padded vocabulary). */
  readonly logits: Tensor
  hasLogits = false
  /** Positions that it holds, where the model keeps pages. */
  position = 0
  #pages: PageList | undefined
  readonly #memory: Memory
  #holders = 1

  constructor(model: LanguageModel) {
    const { places, logits, bytes } = layoutOf(model)
    const vocabulary = model.config.paddedVocabSize
    this.#memory = Memory.allocate(bytes, { whole: true })
    this.fields = places.map(({ name, dtype, shape, begin }) => ({
      name,
      tensor: new Tensor(this.#memory, dtype, [1, ...shape], begin),
    }))
    this.logits = new Tensor(this.#memory, 'float32', [1, vocabulary], logits)
  }

  get bytes(): number {
    return this.#memory.byteLength
  }

  /** What it holds of its positions, where the model keeps such: it frees them. Pages may be shared with others. */
  get pages(): PageList | undefined {
    return this.#pages
  }

  /** Bytes of its pages, shared or not. */
  get pageBytes(): number {
    return this.#pages?.bytes ?? 0
  }

  /** Whether its pages are of no use any more, because the device failed. */
  get isLost(): boolean {
    return this.#pages?.space.lost !== undefined
  }

  setPages(pages: PageList | undefined, position: number): void {
    this.#pages?.free()
    this.#pages = pages
    this.position = position
  }

  /** Its pages, for the caller to free: it has none then. */
  takePages(): PageList | undefined {
    const pages = this.#pages
    this.#pages = undefined
    return pages
  }

  /** Whether there is one holder. */
  get isAlone(): boolean {
    return this.#holders === 1
  }

  /** For one holder more. */
  share(): this {
    this.#holders += 1
    return this
  }

  /** Between copies it takes no memory of a GPU. */
  letGo(): void {
    this.#memory.letGo()
  }

  /** Frees the memory when no holder is left. */
  dispose(): void {
    this.#holders -= 1
    if (this.#holders > 0) return
    this.#pages?.free()
    this.#memory.dispose()
  }
}

/** Bytes of a snapshot of a model. */
export function snapshotBytes(model: LanguageModel): number {
  return layoutOf(model).bytes
}

// Where each field begins, and the logits after them.
function layoutOf(model: LanguageModel) {
  let end = 0
  const places = namedFields(model).map((field) => {
    const begin = Math.ceil(end / ALIGNMENT) * ALIGNMENT
    end = begin + fieldBytes(field)
    return { ...field, begin }
  })
  const logits = Math.ceil(end / ALIGNMENT) * ALIGNMENT
  return { places, logits, bytes: logits + 4 * model.config.paddedVocabSize }
}

// The memory of pages, and the table that says whose they are.

import type { LanguageModel, ModelState } from '../models/language-model.js'
import { fieldBytes } from '../models/state-fields.js'
import { elementCount, type Tensor } from '../operations/tensor.js'
import type { NamedField } from './state-pool.js'
import { NO_PAGE, PAGE_SIZE } from '../operations/arguments.js'
import { pagesFor } from './page-list.js'

/** How much a pool of pages holds. */
export interface PagePoolSize {
  pages: number
  /** Sequences that have a row in the table. */
  slots: number
  /** Entries of a row. */
  pagesPerSlot: number
}

/** The fields that a model keeps of each position of a sequence, as files know them: `pages.layers.3.keys`. */
export function namedPagedFields(model: Pick<LanguageModel, 'pagedFields'>): NamedField[] {
  return model.pagedFields.flatMap((fields, index) =>
    fields.map((field) => ({
      ...field,
      name: `pages.layers.${index}.${field.name}`,
      index,
      field: field.name,
    })),
  )
}

/** Bytes of a page in all layers; 0 for a model without paged fields. */
export function pageBytes(model: Pick<LanguageModel, 'pagedFields'>): number {
  return PAGE_SIZE * namedPagedFields(model).reduce((sum, field) => sum + fieldBytes(field), 0)
}

/** Pages of a model: one tensor for each field and layer. A page has the same id in all of them. */
export class PagePool {
  readonly size: PagePoolSize
  /** Of each layer, by field: (pages, 256, ...shape). */
  readonly layers: ModelState
  /** The page of each 256 positions of each slot: uint32 (slots, pagesPerSlot). */
  readonly table: Tensor

  constructor({ device, pagedFields }: LanguageModel, size: PagePoolSize) {
    this.size = size
    const { pages, slots, pagesPerSlot } = size
    const made: Tensor[] = []
    const tensor = (...wanted: Parameters<typeof device.tensor>) => {
      const result = device.tensor(...wanted)
      made.push(result)
      return result
    }
    try {
      const none = new Uint32Array(slots * pagesPerSlot).fill(NO_PAGE)
      this.table = tensor('uint32', [slots, pagesPerSlot], none)
      this.layers = pagedFields.map((fields) =>
        Object.fromEntries(
          fields.map(({ name, dtype, shape }) => [
            name,
            tensor(dtype, [pages, PAGE_SIZE, ...shape]),
          ]),
        ),
      )
    } catch (error) {
      for (const { memory } of made) memory.dispose()
      throw error
    }
  }

  /** All fields of all layers, (pages, 256, ...shape), in order. */
  get fields(): Tensor[] {
    return this.layers.flatMap((layer) => Object.values(layer))
  }

  /** The first `count` positions of a page: each field as (count, elements). */
  positionsOf(page: number, count: number): Tensor[] {
    return this.fields.map((tensor) => {
      const elements = elementCount(tensor.shape.slice(2))
      return tensor.at(page).view([count, elements])
    })
  }

  /** A row of the table for these pages. */
  rowOf(pages: readonly { id: number }[]): Uint32Array {
    const row = new Uint32Array(this.size.pagesPerSlot).fill(NO_PAGE)
    row.set(pages.map(({ id }) => id))
    return row
  }

  dispose(): void {
    for (const tensor of this.fields) tensor.dispose()
    this.table.dispose()
  }
}

/** The pages of one sequence of so many positions, which runs beside the engine's; undefined for a model without pages. */
export function pagesOfOne(model: LanguageModel, positions: number): PagePool | undefined {
  if (pageBytes(model) === 0) return undefined
  const pages = pagesFor(positions)
  const pool = new PagePool(model, { pages, slots: 1, pagesPerSlot: pages })
  pool.table.write(Uint32Array.from({ length: pages }, (_, id) => id))
  return pool
}

/** The state of each block: what it keeps of a sequence, and of its positions. */
export function withPages(layers: ModelState, pages: PagePool | undefined): ModelState {
  if (!pages) return layers
  return layers.map((layer, i) => ({ ...layer, ...pages.layers[i] }))
}

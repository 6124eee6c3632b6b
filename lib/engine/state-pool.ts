// The memory of the sequences that a model runs: one tensor a field, with a place for each slot.

import type { LanguageModel, ModelState } from '../models/language-model.js'
import type { StateField } from '../models/blocks/block.js'
import { NO_TOKEN } from '../operations/drawn-token.js'
import type { Tensor } from '../operations/tensor.js'

/** Alternatives that a token's report has room for. */
export const MOST_ALTERNATIVES = 100

/** How much a pool holds. */
export interface PoolSize {
  slots: number
  /** Tokens that may end a sequence, of each slot. */
  stops: number
  /** Recent tokens that a penalty may look at, of each slot. */
  recent: number
  /** Tokens that may have a bias, of each slot. */
  biases: number
}

/** A field of the state, with the name that files know it by: `layers.3.ssm`. */
export interface NamedField extends StateField {
  /** Of the layer. */
  index: number
  /** In the layer. */
  field: string
}

/** The fields of one sequence of a model, in order. */
export function namedFields(model: Pick<LanguageModel, 'stateFields'>): NamedField[] {
  return model.stateFields.flatMap((fields, index) =>
    fields.map(({ name, dtype, shape }) => ({
      name: `layers.${index}.${name}`,
      index,
      field: name,
      dtype,
      shape,
    })),
  )
}

/**
 * States of sequences, each at its slot, and what the first operation of a list resolves rows by: how many
 * tokens a slot may still draw, the token that it consumes next, and how many it has consumed.
 */
export class StatePool {
  readonly slots: number
  /** Of each layer, by field: (slots, ...shape). */
  readonly layers: ModelState
  /** Tokens consumed: uint32 (slots). */
  readonly position: Tensor
  /** Drawn last, consumed next: uint32 (slots). */
  readonly token: Tensor
  /** Tokens that may still be drawn; a slot with none is done: uint32 (slots). */
  readonly remaining: Tensor

  constructor({ device, stateFields }: LanguageModel, slots: number) {
    this.slots = slots
    this.layers = stateFields.map((fields) =>
      Object.fromEntries(
        fields.map(({ name, dtype, shape }) => [name, device.tensor(dtype, [slots, ...shape])]),
      ),
    )
    this.position = device.tensor('uint32', [slots])
    this.token = device.tensor('uint32', [slots])
    this.remaining = device.tensor('uint32', [slots])
  }

  /** The state at a slot: each field as (1, ...shape). */
  fieldsOf(slot: number): Tensor[] {
    return this.layers.flatMap((layer) => Object.values(layer).map((tensor) => tensor.at(slot)))
  }

  /** Everything of it, (slots, ...). */
  get tensors(): Tensor[] {
    const fields = this.layers.flatMap((layer) => Object.values(layer))
    return [...fields, this.position, this.token, this.remaining]
  }

  dispose(): void {
    for (const tensor of this.tensors) tensor.dispose()
  }
}

/** What `sample` reads and keeps for each slot. */
export class SamplingSlots {
  /** float32 (slots, 6). */
  readonly settings: Tensor
  /** uint32 (slots, 8). */
  readonly selection: Tensor
  /** uint32 (slots, stops). */
  readonly stops: Tensor
  /** uint32 (slots, 2 * biases). */
  readonly biases: Tensor
  /** Bits of tokens that may be drawn: uint32 (slots, padded vocabulary / 32). */
  readonly mask: Tensor
  /** How often tokens were generated, of slots that look at it: uint32 (slots, padded vocabulary). */
  readonly counts: Tensor
  /** uint32 (slots, recent). */
  readonly history: Tensor
  /** Logits of the last token consumed, where they are kept: float32 (slots, padded vocabulary). */
  readonly kept: Tensor
  /** What is reported of the token drawn last and its alternatives: uint32 (slots, 101). */
  readonly reported: Tensor
  /** float32 (slots, 101). */
  readonly logprobs: Tensor

  constructor({ device, config }: LanguageModel, { slots, stops, recent, biases }: PoolSize) {
    const vocabulary = config.paddedVocabSize
    this.settings = device.tensor('float32', [slots, 6])
    this.selection = device.tensor('uint32', [slots, 8])
    // Whoever came before the row was so long has no more of them.
    const none = new Uint32Array(slots * stops).fill(NO_TOKEN)
    this.stops = device.tensor('uint32', [slots, stops], none)
    this.biases = device.tensor('uint32', [slots, 2 * biases])
    this.mask = device.tensor('uint32', [slots, Math.ceil(vocabulary / 32)])
    this.counts = device.tensor('uint32', [slots, vocabulary])
    this.history = device.tensor('uint32', [slots, recent])
    this.kept = device.tensor('float32', [slots, vocabulary])
    this.reported = device.tensor('uint32', [slots, 1 + MOST_ALTERNATIVES])
    this.logprobs = device.tensor('float32', [slots, 1 + MOST_ALTERNATIVES])
  }

  get tensors(): Tensor[] {
    const { settings, selection, stops, biases, mask, counts, history, kept } = this
    return [
      settings,
      selection,
      stops,
      biases,
      mask,
      counts,
      history,
      kept,
      this.reported,
      this.logprobs,
    ]
  }

  dispose(): void {
    for (const tensor of this.tensors) tensor.dispose()
  }
}

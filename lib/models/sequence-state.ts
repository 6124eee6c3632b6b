// What a sequence keeps between tokens: a value of fixed size, which can be copied and held.

import type { Device } from '../device.js'
import type { Tensor } from '../tensor.js'
import type { LanguageModel, ModelState } from './language-model.js'

/** One field of the state: `layers.3.ssm`. */
export interface StateField {
  name: string
  /** (1, ...): one sequence. */
  tensor: Tensor
}

/**
 * The memory of one sequence: the state of every layer, how many tokens they have consumed, and the logits
 * of the next one. Copies are queued behind the runs of the device, so that they hold what those leave.
 *
 * @example
 * const state = new SequenceState(model)
 * const before = new SequenceState(model)
 * await before.copyFrom(state)
 */
export class SequenceState {
  readonly layers: ModelState
  /** Tokens consumed so far: uint32 (1). */
  readonly position: Tensor
  readonly #device: Device
  readonly #vocabulary: number
  #logits: Tensor | undefined
  #hasLogits = false

  /** That of a sequence that has seen nothing. */
  constructor(model: LanguageModel) {
    this.#device = model.device
    this.layers = model.createState(1)
    this.position = model.device.tensor('uint32', [1])
    this.#vocabulary = model.config.paddedVocabSize
  }

  /** What the next token is drawn from, float32 (1, padded vocabulary); undefined where nobody knows. */
  get logits(): Tensor | undefined {
    return this.#hasLogits ? this.#logits : undefined
  }

  /** Fields of the layers, in order. */
  get fields(): StateField[] {
    return this.layers.flatMap((layer, i) =>
      Object.entries(layer).map(([name, tensor]) => ({ name: `layers.${i}.${name}`, tensor })),
    )
  }

  /** Bytes in memory. */
  get bytes(): number {
    const tensors = [...this.#kept(), ...(this.#logits ? [this.#logits] : [])]
    return tensors.reduce((sum, { memory }) => sum + memory.byteLength, 0)
  }

  /** Takes over what a state of the same model holds once all runs in flight have ended. */
  async copyFrom(source: SequenceState): Promise<void> {
    const from = source.#kept()
    const to = this.#kept()
    using list = this.#device.record((cl) => {
      for (const [i, tensor] of from.entries()) cl.copy(tensor, to[i]!)
      if (source.logits) cl.copy(source.logits, this.#ownLogits())
    })
    this.#hasLogits = false
    const hasLogits = source.logits !== undefined
    await list.run()
    this.#hasLogits = hasLogits
  }

  /** The state is about to consume more tokens. */
  forgetLogits(): void {
    this.#hasLogits = false
  }

  /** Keeps the logits of the tokens consumed, once all runs in flight have ended. */
  async keepLogits(logits: Tensor): Promise<void> {
    const own = this.#ownLogits()
    this.#hasLogits = false
    using list = this.#device.record((cl) => cl.copy(logits, own))
    await list.run()
    this.#hasLogits = true
  }

  dispose(): void {
    for (const tensor of this.#kept()) tensor.dispose()
    this.#logits?.dispose()
  }

  #ownLogits(): Tensor {
    this.#logits ??= this.#device.tensor('float32', [1, this.#vocabulary])
    return this.#logits
  }

  #kept(): Tensor[] {
    return [...this.fields.map(({ tensor }) => tensor), this.position]
  }
}

// Several sequences of equal length that run through a model together, each with its own state.

import type { CommandList } from '../command-list.js'
import type { LanguageModel, ModelState } from '../models/language-model.js'
import type { Pass } from '../models/layers/layer.js'
import { PREFILL_CHUNK_SIZE } from '../models/sequence.js'
import { Workspace } from '../models/workspace.js'
import type { Recorder } from '../recorder.js'
import type { Tensor } from '../tensor.js'

/** As `Sequence`, for several sequences, with the most likely token each time. */
export class SequenceBatch {
  readonly size: number
  readonly #model: LanguageModel
  readonly #state: ModelState
  readonly #workspace: Workspace
  /** Tokens consumed so far: uint32 (size). */
  readonly #position: Tensor
  /** Tokens chosen last: uint32 (size). */
  readonly #tokens: Tensor
  #decode: CommandList | undefined

  constructor(model: LanguageModel, size: number) {
    this.size = size
    this.#model = model
    this.#state = model.createState(size)
    this.#workspace = new Workspace(model.device, model.activationType)
    this.#position = model.device.tensor('uint32', [size])
    this.#tokens = model.device.tensor('uint32', [size])
  }

  /** The tokens that `prefill` or `decode` chose last, one a sequence. */
  get tokens(): Uint32Array {
    return this.#tokens.read() as Uint32Array
  }

  set tokens(ids: Uint32Array) {
    this.#tokens.write(ids)
  }

  /** Runs prompts through the model, (size, length) row by row, and chooses a token after each. */
  async prefill(prompts: Uint32Array): Promise<void> {
    const total = prompts.length / this.size
    // As many rows at once as a single sequence has.
    const chunkSize = Math.max(1, Math.floor(PREFILL_CHUNK_SIZE / this.size))
    for (let first = 0; first < total; first += chunkSize) {
      const length = Math.min(chunkSize, total - first)
      const tokens = this.#model.device.tensor('uint32', [this.size, length])
      const rows = Array.from({ length: this.size }, (_, row) =>
        prompts.subarray(row * total + first, row * total + first + length),
      )
      tokens.write(Uint32Array.from(rows.flatMap((row) => [...row])))
      const isLast = first + length === total
      using list = this.#record(length, (pass) =>
        this.#model.prefill(pass, tokens, this.#state, isLast ? 'last' : 'none'),
      )
      await list.run()
      tokens.dispose()
    }
  }

  /** Runs the tokens chosen last through the model and chooses the next ones. */
  async decode(): Promise<void> {
    this.#decode ??= this.#record(1, (pass) => this.#model.decode(pass, this.#tokens, this.#state))
    await this.#decode.run()
  }

  dispose(): void {
    this.#decode?.dispose()
    this.#workspace.dispose()
    for (const layer of this.#state) {
      for (const tensor of Object.values(layer)) tensor.dispose()
    }
    this.#position.dispose()
    this.#tokens.dispose()
  }

  #record(length: number, forward: (pass: Pass) => Tensor | undefined): CommandList {
    return this.#model.device.record((cl: Recorder) => {
      const position = this.#position
      const logits = forward({ cl, workspace: this.#workspace, position })
      cl.advancePosition(position, length)
      if (logits) cl.argmax(logits, this.#tokens)
    })
  }
}

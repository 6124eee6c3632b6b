// Tokens that are given one by one, not drawn, through what a generation runs: with the logits after each.

import { Engine } from '../../lib/engine/engine.js'
import { SequenceState } from '../../lib/engine/sequence-state.js'
import type { Drawn, StreamOptions } from '../../lib/engine/stream.js'
import type { LanguageModel } from '../../lib/models/language-model.js'

/**
 * One sequence of a model.
 *
 * @example
 * using sequence = new ForcedTokens(model)
 * await sequence.prefill(prompt) // logits after it
 * await sequence.decode(5) // after 5
 */
export class ForcedTokens {
  readonly #engine: Engine
  readonly #state = new SequenceState()
  #position = 0

  constructor(model: LanguageModel) {
    this.#engine = new Engine(model, { maxStreams: 1, maxQueue: 0 })
  }

  prefill(tokens: Uint32Array, chunkSize?: number): Promise<Float32Array> {
    return this.#logits({}, tokens.length, (stream) => stream.prefill(tokens, { chunkSize }))
  }

  decode(token: number): Promise<Float32Array> {
    return this.#logits({ token }, 1, (stream) => stream.decode())
  }

  dispose(): void {
    this.#engine.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  async #logits(
    options: Partial<StreamOptions>,
    count: number,
    run: (stream: Awaited<ReturnType<Engine['open']>>) => Promise<Drawn>,
  ): Promise<Float32Array> {
    const stream = await this.#engine.open('test', {
      state: this.#state,
      position: this.#position,
      history: new Uint32Array(0),
      generated: 0,
      maxTokens: 2,
      stopTokens: new Set(),
      alternatives: undefined,
      ...options,
    })
    try {
      await run(stream)
      this.#position += count
      return await keptLogits(this.#engine, this.#state, this.#position)
    } finally {
      stream.close()
    }
  }
}

/** What the next token would be drawn from. */
async function keptLogits(
  engine: Engine,
  state: SequenceState,
  position: number,
): Promise<Float32Array> {
  state.hasLogits = true
  const snapshot = await engine.snapshot(state, position)
  try {
    return snapshot.logits.read() as Float32Array
  } finally {
    snapshot.dispose()
  }
}

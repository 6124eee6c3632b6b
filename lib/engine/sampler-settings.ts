// How a stream's tokens are drawn, as the rows of its slot that the `sample` operation reads.

import { NO_TOKEN } from '../operations/drawn-token.js'

/** How the next token is chosen: numbers that have been checked. `GREEDY` has those that change nothing. */
export interface Sampling {
  /** 0 takes the most probable token every time. */
  temperature: number
  topK: number
  topP: number
  minP: number
  repetitionPenalty: number
  /** How many recent tokens the repetition penalty looks at. */
  repetitionContextSize: number
  presencePenalty: number
  frequencyPenalty: number
  seed: number
}

/** The most probable token every time. */
export const GREEDY: Sampling = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  repetitionContextSize: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: 0,
}

/** What a slot does besides drawing: see `selection`. */
export interface SlotDuties {
  /** Whether its logits are kept for each token. */
  keepsLogits: boolean
  /** Whether its mask says which tokens may be drawn. */
  isMasked: boolean
  /** How many alternatives `recorder.tokenLogprobs` reports; undefined for no report. */
  alternatives: number | undefined
}

/**
 * @example new SamplerSettings({ ...GREEDY, temperature: 0.8, seed: 7 })
 */
export class SamplerSettings {
  readonly seed: number
  /** Six floats: see `recorder.sample`. */
  readonly settings: Float32Array
  /** Pairs of a token and the bits of what is added to its score. */
  readonly biases: Uint32Array
  /** Whether it matters how often tokens were generated. */
  readonly usesCounts: boolean
  /** Tokens that the repetition penalty looks at; 0 without one. */
  readonly recent: number
  readonly #topK: number

  constructor(sampling: Sampling, biases: Uint32Array = new Uint32Array(0)) {
    const { temperature, topP, minP, repetitionPenalty } = sampling
    const { presencePenalty, frequencyPenalty } = sampling
    this.seed = sampling.seed
    this.settings = Float32Array.of(
      temperature,
      topP,
      minP,
      repetitionPenalty,
      presencePenalty,
      frequencyPenalty,
    )
    this.biases = biases
    this.usesCounts = presencePenalty !== 0 || frequencyPenalty !== 0
    this.recent = repetitionPenalty === 1 ? 0 : sampling.repetitionContextSize
    this.#topK = sampling.topK
  }

  /** Whether it takes the most probable token every time. */
  get isGreedy(): boolean {
    return this.settings[0] === 0
  }

  /** Eight words: see `recorder.sample`. */
  selection({ keepsLogits, isMasked, alternatives }: SlotDuties): Uint32Array {
    return Uint32Array.of(
      this.#topK,
      this.seed % 2 ** 32,
      Math.floor(this.seed / 2 ** 32),
      this.recent,
      keepsLogits ? 1 : 0,
      this.biases.length / 2,
      isMasked ? 1 : 0,
      alternatives === undefined ? 0 : alternatives + 1,
    )
  }

  /** How often each token of the vocabulary was generated, where that matters; else empty. */
  counts(generated: Uint32Array, vocabulary: number): Uint32Array {
    const counts = new Uint32Array(this.usesCounts ? vocabulary : 0)
    for (const token of generated) if (token < counts.length) counts[token]! += 1
    return counts
  }

  /** The ring of recent tokens after `tokens`: the one at position i stands at i mod its size. */
  ring(tokens: Uint32Array): Uint32Array {
    const size = this.recent
    const ring = new Uint32Array(size).fill(NO_TOKEN)
    for (let i = Math.max(0, tokens.length - size); i < tokens.length; i++) {
      ring[i % size] = tokens[i]!
    }
    return ring
  }
}

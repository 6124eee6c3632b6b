// How the next token is chosen: options of the caller, checked, as the `sample` operation reads them.

import { randomInt } from 'node:crypto'
import { UnsupportedOptionError } from '../support/errors.js'
import { type LogitBias, logitBiasOption } from './logit-bias.js'
import { integerOption, numberOption } from '../support/option-checks.js'
import { SAMPLE_STATUS } from '../operations/arguments.js'
import type { TensorData } from '../operations/tensor.js'

export interface SamplingOptions {
  /** 0 takes the most probable token every time. Defaults to 0. */
  temperature?: number | undefined
  /** Keep the k most probable tokens; 0 keeps all. Needs a temperature above 0. Defaults to 0. */
  topK?: number | undefined
  /** Keep the most probable tokens whose probabilities sum up to this. Needs a temperature above 0. Defaults to 1. */
  topP?: number | undefined
  /** Keep tokens at least this many times as probable as the most probable one. Needs a temperature above 0. Defaults to 0. */
  minP?: number | undefined
  /** Above 1, makes tokens seen recently less likely (at temperature 0 too). Defaults to 1. */
  repetitionPenalty?: number | undefined
  /** How many recent tokens, the prompt's included, `repetitionPenalty` looks at. Needs a `repetitionPenalty`. Defaults to 64. */
  repetitionContextSize?: number | undefined
  /** Above 0, makes tokens that were generated before less likely, below 0 more likely; −2 to 2. Defaults to 0. */
  presencePenalty?: number | undefined
  /** The same for each time that a token was generated. Defaults to 0. */
  frequencyPenalty?: number | undefined
  /** Added to the scores of tokens, by their ids: −100 to 100, for at most 1024 tokens. */
  logitBias?: LogitBias | undefined
  /** With the same seed, sampling repeats exactly; at temperature 0 it does with any. Defaults to a random one. */
  seed?: number | undefined
}

/** Names of `SamplingOptions`, for checks. */
export const SAMPLING_OPTIONS = [
  'temperature',
  'topK',
  'topP',
  'minP',
  'repetitionPenalty',
  'repetitionContextSize',
  'presencePenalty',
  'frequencyPenalty',
  'logitBias',
  'seed',
] as const satisfies readonly (keyof SamplingOptions)[]

/** What a slot does besides drawing: see `selection`. */
export interface SlotDuties {
  /** Whether its logits are kept for each token. */
  keepsLogits: boolean
  /** Whether its mask says which tokens may be drawn. */
  isMasked: boolean
  /** How many alternatives `recorder.tokenLogprobs` reports; undefined for no report. */
  alternatives: number | undefined
}

/** Alternatives that a token's report has room for. */
export const MOST_ALTERNATIVES = 100

/** An empty row of the ring of recent tokens; no vocabulary is so large. */
export const NO_TOKEN = 0xffffffff

/**
 * The token of a row of what `recorder.sample` reports: uint32 (batch, 2). Throws for a row that drew none.
 *
 * @example const token = drawnToken(outputs.report)
 */
export function drawnToken(report: TensorData, row = 0): number {
  const [token, status] = report.subarray(2 * row) as unknown as [number, number]
  switch (status) {
    case SAMPLE_STATUS.drawn:
      return token
    case SAMPLE_STATUS.nan:
      throw new Error(
        `[sample] logit ${token} is NaN: the weights or the state hold NaN or overflow`,
      )
    case SAMPLE_STATUS.noneAllowed:
      throw new Error('[sample] the mask allows no token that the model can give: none is drawn')
    default:
      throw new Error('[sample] the largest logit is infinite: no token can be drawn')
  }
}

/** Checked sampling options, as the rows of a slot that the `sample` operation reads. */
export class Sampler {
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

  /**
   * Throws a `TypeError` or `RangeError` for a value that makes no sense, an `UnsupportedOptionError` for one
   * that would change nothing. `operation` leads the message; `vocabulary` has the tokens of `logitBias`.
   */
  constructor(operation: string, options: SamplingOptions, vocabulary = NO_TOKEN) {
    const number = (name: keyof SamplingOptions, byDefault: number, min: number, max: number) =>
      numberOption(operation, name, options[name], { min, max }) ?? byDefault
    const integer = (name: keyof SamplingOptions, byDefault: number, min: number, max: number) =>
      integerOption(operation, name, options[name], { min, max }) ?? byDefault

    const temperature = number('temperature', 0, 0, 1000)
    const topP = number('topP', 1, 0, 1)
    const minP = number('minP', 0, 0, 1)
    const repetitionPenalty = number('repetitionPenalty', 1, 0.01, 100)
    const presencePenalty = number('presencePenalty', 0, -2, 2)
    const frequencyPenalty = number('frequencyPenalty', 0, -2, 2)
    const topK = integer('topK', 0, 0, 2 ** 31)
    const contextSize = integer('repetitionContextSize', 64, 1, 2 ** 16)
    const needs = (name: keyof SamplingOptions, other: string) => {
      throw new UnsupportedOptionError(
        `[${operation}] ${name} changes nothing without ${other}: add one, or leave ${name} out`,
      )
    }
    if (temperature === 0) {
      const above = 'a temperature above 0 (--temp)'
      if (topK !== 0) needs('topK', above)
      if (topP !== 1) needs('topP', above)
      if (minP !== 0) needs('minP', above)
    }
    if (options.repetitionContextSize !== undefined && repetitionPenalty === 1) {
      needs('repetitionContextSize', 'a repetitionPenalty other than 1')
    }
    this.seed = integer('seed', randomInt(2 ** 47), 0, Number.MAX_SAFE_INTEGER)

    this.settings = Float32Array.of(
      temperature,
      topP,
      minP,
      repetitionPenalty,
      presencePenalty,
      frequencyPenalty,
    )
    this.biases = logitBiasOption(operation, options.logitBias, vocabulary)
    this.usesCounts = presencePenalty !== 0 || frequencyPenalty !== 0
    this.recent = repetitionPenalty === 1 ? 0 : contextSize
    this.#topK = topK
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

// How likely a model takes given continuations of a prefix to be.

import { Admission } from '../engine/admission.js'
import type { CachedPrompt } from '../engine/cached-prompts.js'
import { scoreContinuations, type TokenScores } from '../engine/continuations.js'
import type { Engine } from '../engine/engine.js'
import type { Moment, Moments } from '../engine/moments.js'
import { prefixMoment } from '../engine/prefix-moment.js'
import {
  type ContinuationTokens,
  continuationTokens,
  type TokenSource,
} from './continuation-tokens.js'
import { callerOf, toldTo } from '../support/caller.js'
import { UnsupportedOptionError } from '../support/errors.js'
import type { Usage } from '../generation/generate.js'
import type { Prompt } from '../options/generation.js'
import { CLASSIFY, type ClassifyOptions, SCORE, type ScoreOptions } from '../options/scoring.js'
import { checkOptions, describe } from '../support/option-checks.js'
import { optionNames, optionValue, optionValues } from '../support/option-table.js'

/** How likely a continuation is. */
export interface Score {
  /** log p of the whole continuation, in nats: the sum of `logprobs`. */
  logprob: number
  /** What it adds to the tokens of the prefix. */
  tokens: number[]
  /** log p of each token after all before it. */
  logprobs: number[]
  /** Whether each token is the most probable one: greedy generation would say the same. */
  isGreedy: boolean
  /**
   * `promptTokens`: those before the continuation, `cachedTokens`: of these, those that were computed before or for
   * another continuation; `completionTokens`: those of the continuation.
   */
  usage: Usage
}

export interface LabelProbability<Label> {
  label: Label
  /** log p of the label after the prefix, in nats, not normalised. */
  logprob: number
  /** Among the labels: they sum up to 1. */
  probability: number
}

export interface Classification<Label> {
  /** The most probable one. */
  label: Label
  /** Of all labels, the most probable first. */
  probabilities: LabelProbability<Label>[]
  /** Of the whole call; `completionTokens`: those of all labels. */
  usage: Usage
}

interface Scored extends ContinuationTokens {
  scores: TokenScores[]
  /** Tokens of the context that were not computed again. */
  cachedTokens: number
}

/** Scores continuations with a model's engine: one call at a time, so that one holds copies of the state. */
export class PrefixScorer {
  readonly #engine: Engine
  readonly #source: TokenSource
  readonly #momentsOf: (prompt: CachedPrompt) => Moments | undefined
  readonly #turns = new Admission(1, Number.POSITIVE_INFINITY)

  /** `momentsOf`: where prefixes may begin. */
  constructor(
    engine: Engine,
    source: TokenSource,
    momentsOf: (prompt: CachedPrompt) => Moments | undefined,
  ) {
    this.#engine = engine
    this.#source = source
    this.#momentsOf = momentsOf
  }

  /** See `Model.score`. */
  async score(
    prefix: Prompt,
    continuations: readonly Prompt[],
    options: ScoreOptions,
  ): Promise<Score[]> {
    checkOptions('score', options, optionNames(SCORE))
    const asked = listOf('score', 'continuations', continuations)
    const texts = { prefix, continuations: asked, noun: 'continuation' }
    const scored = await this.#run('score', texts, options)
    return scored.scores.map((_, i) => ownScoreOf(scored, i))
  }

  /** See `Model.classify`. */
  async classify<Label extends Prompt>(
    prefix: Prompt,
    labels: readonly Label[],
    options: ClassifyOptions,
  ): Promise<Classification<Label>> {
    checkOptions('classify', options, optionNames(CLASSIFY))
    const lengthNormalization = optionValue('classify', CLASSIFY, 'lengthNormalization', options)
    const asked = listOf('classify', 'labels', labels)
    if (lengthNormalization === 'bytes' && asked.some((label) => typeof label !== 'string')) {
      throw new UnsupportedOptionError(
        "[classify] lengthNormalization 'bytes' is for labels of text: take 'tokens' for token ids",
      )
    }
    const texts = { prefix, continuations: asked, noun: 'label' }
    const { scores, context, cachedTokens } = await this.#run('classify', texts, options)
    const lengths = {
      none: () => 1,
      tokens: (i: number) => scores[i]!.logprobs.length,
      bytes: (i: number) => Buffer.byteLength(asked[i] as string),
    }
    const logprobs = scores.map(({ logprobs }) => sum(logprobs))
    const probabilities = softmax(logprobs.map((x, i) => x / lengths[lengthNormalization](i)))
    const all = asked.map((label, i) => ({
      label,
      logprob: logprobs[i]!,
      probability: probabilities[i]!,
    }))
    all.sort((a, b) => b.probability - a.probability)
    const completionTokens = scores.reduce((total, { logprobs }) => total + logprobs.length, 0)
    return {
      label: all[0]!.label,
      probabilities: all,
      usage: usageOf(context.length, cachedTokens, completionTokens),
    }
  }

  /**
   * See `Session.score`: candidates, each at least one token, after a moment with logits.
   *
   * @throws the reason of `signal`; ContextLengthError where one does not fit.
   */
  async scoreAfter(
    operation: string,
    from: Moment,
    candidates: readonly Uint32Array[],
    { signal }: Pick<ScoreOptions, 'signal'>,
  ): Promise<Score[]> {
    await this.#turns.enter(operation, signal)
    try {
      const scores = await scoreContinuations(this.#engine, from, candidates, { operation, signal })
      return scores.map((score, i) => {
        const { length } = candidates[i]!
        return scoreOf(candidates[i]!, score, usageOf(from.position, from.position, length))
      })
    } finally {
      this.#turns.leave()
    }
  }

  async #run(
    operation: string,
    texts: { prefix: Prompt; continuations: readonly Prompt[]; noun: string },
    options: ScoreOptions,
  ): Promise<Scored> {
    const { parseSpecial, prefillChunkSize } = optionValues(operation, SCORE, options)
    const { signal } = options
    const caller = callerOf(this.#run)
    const tokens = await continuationTokens(
      operation,
      { ...texts, parseSpecial, signal },
      this.#source,
    )
    const { context, candidates } = tokens
    const reading = { operation, signal, prefillChunkSize }
    await this.#turns.enter(operation, signal)
    try {
      const { snapshot, cachedTokens } = await prefixMoment(this.#engine, context, {
        ...reading,
        moments: this.#momentsOf({ tokens: context, chunkSize: prefillChunkSize }),
      })
      try {
        const from = { snapshot, position: context.length }
        const scores = await scoreContinuations(this.#engine, from, candidates, reading)
        return { ...tokens, scores, cachedTokens }
      } finally {
        snapshot.dispose()
      }
    } catch (error) {
      this.#engine.check(operation) // a run would say that the device was disposed of
      throw toldTo(caller, error)
    } finally {
      this.#turns.leave()
    }
  }
}

/** A copy: the caller's may change while it is worked on. */
function listOf<T>(operation: string, name: string, values: readonly T[]): T[] {
  if (!Array.isArray(values)) {
    throw new TypeError(
      `[${operation}] the ${name} must be an array of texts or token ids but are ${describe(values)}`,
    )
  }
  if (values.length > 0) return [...values]
  throw new RangeError(`[${operation}] there are no ${name}: give at least one`)
}

// The tokens of the prefix that other continuations change are not its own.
function ownScoreOf(
  { context, candidates, ofPrefix, scores, cachedTokens }: Scored,
  i: number,
): Score {
  const first = ofPrefix[i]!
  const tokens = candidates[i]!.subarray(first)
  const { logprobs, best } = scores[i]!
  return scoreOf(
    tokens,
    { logprobs: logprobs.subarray(first), best: best.subarray(first) },
    usageOf(context.length + first, i === 0 ? cachedTokens : context.length, tokens.length),
  )
}

function scoreOf(tokens: Uint32Array, { logprobs, best }: TokenScores, usage: Usage): Score {
  return {
    logprob: sum(logprobs),
    tokens: Array.from(tokens),
    logprobs: Array.from(logprobs),
    isGreedy: tokens.every((token, at) => token === best[at]),
    usage,
  }
}

function usageOf(promptTokens: number, cachedTokens: number, completionTokens: number): Usage {
  const totalTokens = promptTokens + completionTokens
  return { promptTokens, cachedTokens, completionTokens, totalTokens }
}

function sum(values: ArrayLike<number>): number {
  let total = 0
  for (let i = 0; i < values.length; i++) total += values[i]!
  return total
}

function softmax(values: readonly number[]): number[] {
  const largest = values.reduce((a, b) => Math.max(a, b))
  const weights = values.map((value) => Math.exp(value - largest))
  const total = sum(weights)
  return weights.map((weight) => weight / total)
}

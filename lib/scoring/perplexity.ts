// How well a model predicts a text.

import type { Model } from '../model.js'
import { Scorer } from '../engine/scoring.js'
import { PERPLEXITY, type PerplexityOptions } from '../options/scoring.js'
import { checkOptions, describe } from '../support/option-checks.js'
import { optionNames, optionValue } from '../support/option-table.js'

export interface Perplexity {
  /** Tokens that were predicted. */
  tokens: number
  /** Bytes of the text, in UTF-8. */
  bytes: number
  /** Sum of -log p over the tokens, in nats. */
  negativeLogLikelihood: number
  /** exp of the mean -log p of a token. */
  perplexity: number
  /** Standard error of `perplexity`, taking tokens as independent. */
  perplexityError: number
  /** -log2 p of the text for each of its bytes: comparable between tokenizers. */
  bitsPerByte: number
}

/**
 * Measures how well a model predicts a text of any length, as one sequence whose state is carried on.
 * The text follows the model's end-of-text token, as documents did in training, so that its first token
 * counts too; throws when the model has no such token or no tokenizer, and `ContextLengthError` where the model has a
 * context that cannot hold the text.
 *
 * @example
 * const { bitsPerByte } = await perplexity(model, await readFile('text.txt', 'utf8'))
 */
export async function perplexity(
  model: Model,
  text: string,
  options: PerplexityOptions = {},
): Promise<Perplexity> {
  checkOptions('perplexity', options, optionNames(PERPLEXITY))
  optionValue('perplexity', PERPLEXITY, 'signal', options)
  if (typeof text !== 'string') {
    throw new TypeError(`[perplexity] the text must be a string but is ${describe(text)}`)
  }
  const tokens = textToPredict(model, text, options)
  return perplexityOf(await tokenLosses(model, tokens, options), Buffer.byteLength(text))
}

/** Tokens, each to be predicted from those before it. */
export interface TokensToPredict {
  /** What the first one is predicted from. */
  start: number
  tokens: Uint32Array
}

/** The tokens of a text. Throws as {@link perplexity} does. */
export function textToPredict(
  model: Model,
  text: string,
  { parseSpecial }: Pick<PerplexityOptions, 'parseSpecial'> = {},
): TokensToPredict {
  const ids = model.encode(text, { parseSpecial })
  // A stale configuration may name one that the model does not have.
  const start = model.endOfText.find(({ id }) => id < model.config.paddedVocabSize)?.id
  if (start === undefined) {
    throw new RangeError('[perplexity] the model has no end-of-text token to start from')
  }
  // Each token is predicted from those before it, the first from the end-of-text token: the text's
  // own, when it begins with one.
  const tokens = ids[0] === start ? ids.subarray(1) : ids
  if (tokens.length === 0) throw new RangeError('[perplexity] the text holds nothing to predict')
  return { start, tokens }
}

/** -log p of each token, in nats. */
export async function tokenLosses(
  model: Model,
  { start, tokens }: TokensToPredict,
  options: Omit<PerplexityOptions, 'parseSpecial'> = {},
): Promise<Float32Array> {
  const { signal, onProgress } = options
  const prefillChunkSize = optionValue('perplexity', PERPLEXITY, 'prefillChunkSize', options)
  model.engine.checkContext('perplexity', tokens.length)
  const inputs = new Uint32Array(tokens.length)
  inputs[0] = start
  inputs.set(tokens.subarray(0, -1), 1)
  const all = new Float32Array(tokens.length)
  let done = 0
  const onLosses = (losses: Float32Array) => {
    all.set(losses, done)
    done += losses.length
    onProgress?.({ tokens: done, total: tokens.length })
  }
  using scorer = new Scorer(model.languageModel)
  await scorer.negativeLogLikelihoods(inputs, tokens, onLosses, { signal, prefillChunkSize })
  return all
}

/** What losses of a text of so many bytes come to. */
export function perplexityOf(losses: Float32Array, bytes: number): Perplexity {
  const { mean, error } = meanOf(losses)
  return {
    tokens: losses.length,
    bytes,
    negativeLogLikelihood: mean * losses.length,
    perplexity: Math.exp(mean),
    // Of exp(mean), to first order: exp(mean) times the standard error of the mean.
    perplexityError: Math.exp(mean) * error,
    bitsPerByte: (mean * losses.length) / Math.LN2 / bytes,
  }
}

/** How much better or worse a text is predicted, in bits per byte. */
export interface PerplexityChange {
  bitsPerByte: number
  /** Standard error of the difference, token by token: most of what makes a text hard is the same for both. */
  bitsPerByteError: number
}

/** What other losses of the same tokens come to, against `losses`. */
export function perplexityChange(
  losses: Float32Array,
  others: Float32Array,
  bytes: number,
): PerplexityChange {
  const { mean, error } = meanOf(others.map((loss, i) => loss - losses[i]!))
  const perNat = losses.length / Math.LN2 / bytes
  return { bitsPerByte: mean * perNat, bitsPerByteError: error * perNat }
}

/** Mean and its standard error, taking values as independent. */
function meanOf(values: Float32Array): { mean: number; error: number } {
  const count = values.length
  let [sum, squares] = [0, 0]
  for (const value of values) {
    sum += value
    squares += value * value
  }
  const mean = sum / count
  const variance = count > 1 ? Math.max(0, squares - count * mean * mean) / (count - 1) : 0
  return { mean, error: Math.sqrt(variance / count) }
}

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
  const { signal, onProgress } = options
  if (typeof text !== 'string') {
    throw new TypeError(`[perplexity] the text must be a string but is ${describe(text)}`)
  }
  const prefillChunkSize = optionValue('perplexity', PERPLEXITY, 'prefillChunkSize', options)
  const ids = model.encode(text, { parseSpecial: options.parseSpecial })
  // A stale configuration may name one that the model does not have.
  const start = model.endOfText.find(({ id }) => id < model.config.paddedVocabSize)?.id
  if (start === undefined) {
    throw new RangeError('[perplexity] the model has no end-of-text token to start from')
  }
  // Each token is predicted from those before it, the first from the end-of-text token: the text's
  // own, when it begins with one.
  const tokens = ids[0] === start ? ids.subarray(1) : ids
  if (tokens.length === 0) throw new RangeError('[perplexity] the text holds nothing to predict')
  model.engine.checkContext('perplexity', tokens.length)
  const inputs = new Uint32Array(tokens.length)
  inputs[0] = start
  inputs.set(tokens.subarray(0, -1), 1)
  let sum = 0
  let squares = 0
  let done = 0
  const onLosses = (losses: Float32Array) => {
    for (const loss of losses) {
      sum += loss
      squares += loss * loss
    }
    done += losses.length
    onProgress?.({ tokens: done, total: tokens.length })
  }
  using scorer = new Scorer(model.languageModel)
  await scorer.negativeLogLikelihoods(inputs, tokens, onLosses, { signal, prefillChunkSize })
  const count = tokens.length
  const mean = sum / count
  const variance = count > 1 ? Math.max(0, squares - count * mean * mean) / (count - 1) : 0
  const bytes = Buffer.byteLength(text)
  return {
    tokens: count,
    bytes,
    negativeLogLikelihood: sum,
    perplexity: Math.exp(mean),
    // Of exp(mean), to first order: exp(mean) times the standard error of the mean.
    perplexityError: Math.exp(mean) * Math.sqrt(variance / count),
    bitsPerByte: sum / Math.LN2 / bytes,
  }
}

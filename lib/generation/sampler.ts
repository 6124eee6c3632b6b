// Options of the caller that choose the next token: checked, as the rows of a slot.

import { randomInt } from 'node:crypto'
import { SamplerSettings } from '../engine/sampler-settings.js'
import { NO_TOKEN } from '../operations/drawn-token.js'
import { SAMPLING, type SamplingOptions } from '../options/generation.js'
import { checkNeeds, optionValues } from '../support/option-table.js'
import { logitBiasOption } from './logit-bias.js'

/**
 * How the options have tokens drawn. Throws a `TypeError` or `RangeError` for a value that makes no sense, an
 * `UnsupportedOptionError` for one that would change nothing. `operation` leads the message; `vocabulary` has the
 * tokens of `logitBias`.
 *
 * @example samplerOf('generate', { temperature: 0.8, seed: 7 })
 */
export function samplerOf(
  operation: string,
  options: SamplingOptions,
  vocabulary = NO_TOKEN,
): SamplerSettings {
  const values = optionValues(operation, SAMPLING, options)
  checkNeeds(operation, SAMPLING, options, values)
  const { seed = randomInt(2 ** 47) } = values
  const biases = logitBiasOption(operation, options.logitBias, vocabulary)
  return new SamplerSettings({ ...values, seed }, biases)
}

// Options of calls that read a prompt or generate text.

import type { Signal } from '../support/abort.js'
import { LARGEST_CHUNK_SIZE } from '../engine/chunks.js'
import type { ResponseFormat } from '../grammar/response-format.js'
import { integerOption } from '../support/option-checks.js'
import { SAMPLING_OPTIONS, type SamplingOptions } from '../generation/sampler.js'
import { STOP_OPTIONS, type StopOptions } from '../generation/stopping.js'

/** A text, or token ids. */
export type Prompt = string | ArrayLike<number>

/** How a prompt is read. */
export interface PromptOptions {
  /**
   * Whether special tokens written out in a prompt's text, such as `<|endoftext|>`, become those tokens.
   * `false` is for text that others wrote. Not for prompts of token ids. Defaults to true.
   */
  parseSpecial?: boolean | undefined
  /**
   * Whether what the tokenizer puts around a text, such as a beginning-of-text token, comes with it. `false` is for
   * prompts that a chat template made, which has such tokens itself. Not for prompts of token ids. Defaults to true.
   */
  addSpecialTokens?: boolean | undefined
}

export interface LogitsOptions extends PromptOptions {
  signal?: Signal | undefined
  /**
   * Tokens that run through the model at once, at most 960; fewer where these would need too much memory or hold up
   * other streams. Results do not depend on it. Defaults to 256.
   */
  prefillChunkSize?: number | undefined
}

/** Sampling options that are left out have the model's `generationDefaults`, where it has them. */
export interface GenerateOptions extends SamplingOptions, StopOptions, LogitsOptions {
  /** Defaults to 256. */
  maxTokens?: number | undefined
  /** Report each token's log-probability and this many alternatives. */
  logprobs?: number | undefined
  /** What the text must look like: docs/structured-output.md. Defaults to any text. */
  responseFormat?: ResponseFormat | undefined
}

export interface SamplesOptions extends GenerateOptions {
  /** How many texts, up to 128. Needs a temperature above 0. */
  n: number
}

/** Names of `PromptOptions`, for checks. */
export const PROMPT_OPTIONS = [
  'parseSpecial',
  'addSpecialTokens',
] as const satisfies readonly (keyof PromptOptions)[]
/** Names of `LogitsOptions`. */
export const LOGITS_OPTIONS = [
  ...PROMPT_OPTIONS,
  'signal',
  'prefillChunkSize',
] as const satisfies readonly (keyof LogitsOptions)[]
/** Names of `GenerateOptions`. */
export const GENERATE_OPTIONS = [
  ...SAMPLING_OPTIONS,
  ...STOP_OPTIONS,
  ...LOGITS_OPTIONS,
  'maxTokens',
  'logprobs',
  'responseFormat',
] as const satisfies readonly (keyof GenerateOptions)[]

/** The option `prefillChunkSize`, checked. */
export function chunkSizeOption(operation: string, options: LogitsOptions): number | undefined {
  return integerOption(operation, 'prefillChunkSize', options.prefillChunkSize, {
    min: 1,
    max: LARGEST_CHUNK_SIZE,
  })
}

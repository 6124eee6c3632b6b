// Options of calls that read a prompt or generate text. A new one is a line of an interface, a row of a table, and
// what it does: the checks, and the flag of `ssm-metal generate` where the row has one, follow from here.

import type { Signal } from '../support/abort.js'
import { LARGEST_CHUNK_SIZE, PREFILL_CHUNK_SIZE } from '../engine/chunks.js'
import { MOST_ALTERNATIVES } from '../engine/state-pool.js'
import type { ResponseFormat } from '../grammar/response-format.js'
import type { OptionTable } from '../support/option-table.js'
import { ENCODE } from '../tokenizer/tokenizer-options.js'

/** A text, or token ids. */
export type Prompt = string | ArrayLike<number>

/** By token id: as the keys of an object, or of a Map. */
export type LogitBias = Readonly<Record<number, number>> | ReadonlyMap<number, number>

/** Tokens that one call may have a bias for. */
export const MOST_BIASES = 1024

// As in OpenAI's API: 100 and -100 force and ban a token in practice.
export const LARGEST_BIAS = 100

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

const warm = { option: 'temperature', words: 'a temperature above 0 (--temp)' } as const

/** How the next token is chosen. What `default` says holds where the model's `generationDefaults` say nothing. */
export const SAMPLING = {
  temperature: {
    type: 'number',
    min: 0,
    max: 1000,
    default: 0,
    generationConfig: { key: 'temperature', default: 1 },
    description: 'temperature; 0 always takes the most likely token',
    flag: { name: 'temp', aliases: ['temperature'] },
  },
  topK: {
    type: 'integer',
    min: 0,
    max: 2 ** 31,
    default: 0,
    neutral: 0,
    needs: warm,
    generationConfig: { key: 'top_k', default: 50 },
    description: 'choose among this many most likely tokens; 0 is all',
    flag: { name: 'top-k', hidesMaximum: true },
  },
  topP: {
    type: 'number',
    min: 0,
    max: 1,
    default: 1,
    neutral: 1,
    needs: warm,
    generationConfig: { key: 'top_p', default: 1 },
    description: 'choose among the most likely tokens that together have this probability',
    flag: { name: 'top-p' },
  },
  minP: {
    type: 'number',
    min: 0,
    max: 1,
    default: 0,
    neutral: 0,
    needs: warm,
    generationConfig: { key: 'min_p', default: 0 },
    description: "leave out tokens less likely than this share of the likeliest one's probability",
    flag: { name: 'min-p' },
  },
  repetitionPenalty: {
    type: 'number',
    min: 0.01,
    max: 100,
    default: 1,
    neutral: 1,
    generationConfig: { key: 'repetition_penalty', default: 1 },
    description: 'make recent tokens less likely; 1 is off',
    flag: { name: 'repeat-penalty', aliases: ['repetition-penalty'] },
  },
  repetitionContextSize: {
    type: 'integer',
    min: 1,
    max: 2 ** 16,
    default: 64,
    needs: { option: 'repetitionPenalty', words: 'a repetitionPenalty other than 1' },
    description: 'how many recent tokens the repetition penalty looks at',
  },
  presencePenalty: {
    type: 'number',
    min: -2,
    max: 2,
    default: 0,
    neutral: 0,
    description: 'make tokens that were generated less likely; 0 is off',
    flag: { name: 'presence-penalty' },
  },
  frequencyPenalty: {
    type: 'number',
    min: -2,
    max: 2,
    default: 0,
    neutral: 0,
    description: 'the same for each time that they were generated; 0 is off',
    flag: { name: 'frequency-penalty' },
  },
  logitBias: { type: 'other', description: 'what is added to the scores of tokens, by their ids' },
  seed: {
    type: 'integer',
    min: 0,
    description: 'the same seed gives the same text',
    flag: { name: 'seed' },
  },
} as const satisfies OptionTable<SamplingOptions>

export interface StopOptions {
  /**
   * Texts that end the generation; they are not part of the result. A special token's text, such as
   * `<|im_end|>`, ends it at that token.
   */
  stop?: string | readonly string[] | undefined
  /** Tokens that end the generation besides the model's own ends of text. */
  stopTokens?: readonly number[] | undefined
  /** Go on after the model's own ends of text. Defaults to false. */
  ignoreEos?: boolean | undefined
}

/** When a generation ends besides at its number of tokens. */
export const STOPPING = {
  stop: {
    type: 'texts',
    description: 'end before this text, or at this special token',
    flag: { name: 'stop' },
  },
  stopTokens: { type: 'other', description: 'end at one of these tokens, by their ids' },
  ignoreEos: {
    type: 'boolean',
    default: false,
    description: 'go on after the end-of-text token',
    flag: { name: 'ignore-eos' },
  },
} as const satisfies OptionTable<StopOptions>

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

/** They have no default here: token ids refuse them, whatever they say. */
export const PROMPT = {
  parseSpecial: {
    type: 'boolean',
    description: ENCODE.parseSpecial.description,
    flag: {
      name: 'no-parse-special',
      negates: true,
      description: 'take <|endoftext|> and the like in the text as text, not as tokens',
    },
  },
  addSpecialTokens: {
    type: 'boolean',
    description: ENCODE.addSpecialTokens.description,
  },
} as const satisfies OptionTable<PromptOptions>

export interface LogitsOptions extends PromptOptions {
  signal?: Signal | undefined
  /**
   * Tokens that run through the model at once, at most 960; fewer where these would need too much memory or hold up
   * other streams. Results do not depend on it. Defaults to 256.
   */
  prefillChunkSize?: number | undefined
}

export const LOGITS = {
  ...PROMPT,
  signal: { type: 'signal', description: 'ends the call' },
  prefillChunkSize: {
    type: 'integer',
    min: 1,
    max: LARGEST_CHUNK_SIZE,
    description: `tokens that run through the model at once; ${PREFILL_CHUNK_SIZE} where they fit`,
  },
} as const satisfies OptionTable<LogitsOptions>

/** Sampling options that are left out have the model's `generationDefaults`, where it has them. */
export interface GenerateOptions extends SamplingOptions, StopOptions, LogitsOptions {
  /** Defaults to 256. */
  maxTokens?: number | undefined
  /** Report each token's log-probability and this many alternatives. */
  logprobs?: number | undefined
  /** What the text must look like: docs/structured-output.md. Defaults to any text. */
  responseFormat?: ResponseFormat | undefined
}

export const GENERATION = {
  ...SAMPLING,
  ...STOPPING,
  ...LOGITS,
  maxTokens: {
    type: 'integer',
    min: 1,
    default: 256,
    description: 'end after this many tokens',
    flag: { name: 'max-tokens', short: 'n', saysDefault: true },
  },
  logprobs: {
    type: 'integer',
    min: 0,
    max: MOST_ALTERNATIVES,
    description: "report each token's log-probability and this many alternatives",
  },
  responseFormat: { type: 'other', description: 'what the text must look like' },
} as const satisfies OptionTable<GenerateOptions>

export interface SamplesOptions extends GenerateOptions {
  /** How many texts, up to 128. Needs a temperature above 0. */
  n: number
}

export const SAMPLES = {
  ...GENERATION,
  n: { type: 'integer', min: 1, max: 128, description: 'how many texts' },
} as const satisfies OptionTable<SamplesOptions>

// Options of scoring: of continuations, labels and whole texts.

import type { Signal } from '../support/abort.js'
import type { OptionTable } from '../support/option-table.js'
import { LOGITS, type LogitsOptions } from './generation.js'

/** Text is tokenised with what the tokenizer puts around a prefix; prompts that have it are given as token ids. */
export type ScoreOptions = Omit<LogitsOptions, 'addSpecialTokens'>

const { parseSpecial, signal, prefillChunkSize } = LOGITS

export const SCORE = {
  parseSpecial,
  signal,
  prefillChunkSize,
} as const satisfies OptionTable<ScoreOptions>

export interface ClassifyOptions extends ScoreOptions {
  /**
   * What the log-probability of a label is divided by before labels are compared: nothing, its tokens, or its bytes in
   * UTF-8 (labels of text only). Defaults to `none`.
   */
  lengthNormalization?: 'none' | 'tokens' | 'bytes' | undefined
}

const NORMALIZATIONS = ['none', 'tokens', 'bytes'] as const

export const CLASSIFY = {
  ...SCORE,
  lengthNormalization: {
    type: 'choice',
    choices: NORMALIZATIONS,
    expected: `one of ${NORMALIZATIONS.join(', ')}`,
    default: 'none',
    description: 'what the log-probability of a label is divided by before labels are compared',
  },
} as const satisfies OptionTable<ClassifyOptions>

export interface PerplexityOptions {
  signal?: Signal | undefined
  /** Tokens that run through the model at once, at most 960. Results do not depend on it. Defaults to 256. */
  prefillChunkSize?: number | undefined
  /** As in `generate`: `false` is for text that others wrote. Defaults to true. */
  parseSpecial?: boolean | undefined
  /** Called after each chunk. */
  onProgress?: ((progress: { tokens: number; total: number }) => void) | undefined
}

export const PERPLEXITY = {
  signal,
  prefillChunkSize,
  parseSpecial,
  onProgress: { type: 'function', description: 'called after each chunk' },
} as const satisfies OptionTable<PerplexityOptions>

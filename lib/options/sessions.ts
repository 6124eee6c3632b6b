// Options of sessions. Those of generating are in generation.ts.

import type { Signal } from '../support/abort.js'
import type { OptionTable } from '../support/option-table.js'
import { PROMPT, type PromptOptions } from './generation.js'

export interface PrefillSessionOptions extends PromptOptions {
  /** Ends between two chunks of the prompt: the session then holds those that were finished. */
  signal?: Signal | undefined
}

export const PREFILL_SESSION = {
  ...PROMPT,
  signal: { type: 'signal', description: 'ends the call between two chunks of the prompt' },
} as const satisfies OptionTable<PrefillSessionOptions>

/** Text comes after other text: nothing is put around it. */
export type ScoreSessionOptions = Omit<PrefillSessionOptions, 'addSpecialTokens'>

export const SCORE_SESSION = {
  parseSpecial: PROMPT.parseSpecial,
  signal: { type: 'signal', description: 'ends the call' },
} as const satisfies OptionTable<ScoreSessionOptions>

export interface SaveSessionOptions {
  /** Stores the state in this type; `float16` takes half the space and loses precision. By default as it is. */
  dtype?: 'float32' | 'float16' | undefined
  /** Whether the token ids are saved too. Defaults to true. */
  tokens?: boolean | undefined
}

export const SAVE_SESSION = {
  dtype: {
    type: 'choice',
    choices: ['float32', 'float16'],
    description: 'type that the state is stored in; by default as it is',
  },
  tokens: { type: 'boolean', default: true, description: 'whether the token ids are saved too' },
} as const satisfies OptionTable<SaveSessionOptions>

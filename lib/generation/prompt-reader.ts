// Prompts of callers, as token ids.

import { TokenizerNotFoundError, UnsupportedOptionError } from '../support/errors.js'
import { PROMPT, type Prompt, type PromptOptions } from '../options/generation.js'
import type { ModelConfig } from '../models/config.js'
import { describe } from '../support/option-checks.js'
import { optionValues } from '../support/option-table.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'

/**
 * Reads prompts for one model.
 *
 * @example new PromptReader(config, { tokenizer }).tokens('generate', 'Once upon a time', {})
 */
export class PromptReader {
  readonly tokenizer: Tokenizer | undefined
  /** Rows of the embedding. */
  readonly vocabulary: number
  readonly #problem: Error | undefined
  readonly #name: string | undefined

  /** `problem`: why the tokenizer that is there cannot be used. */
  constructor(
    config: ModelConfig,
    { tokenizer, problem }: { tokenizer: Tokenizer | undefined; problem?: Error | undefined },
  ) {
    this.tokenizer = tokenizer
    this.vocabulary = config.paddedVocabSize
    this.#problem = problem
    this.#name = config.tokenizerName
  }

  /**
   * Token ids, checked against the vocabulary. What the tokenizer puts around a text comes at the beginning of a
   * sequence only. Throws for an empty prompt.
   */
  tokens(operation: string, prompt: Prompt, options: PromptOptions, isFirst = true): Uint32Array {
    const isText = typeof prompt === 'string'
    const { parseSpecial, addSpecialTokens: added } = optionValues(operation, PROMPT, options)
    if (!isText && (typeof prompt !== 'object' || typeof prompt?.length !== 'number')) {
      throw new TypeError(
        `[${operation}] the prompt must be a text or token ids but is ${describe(prompt)}`,
      )
    }
    if (!isText && (parseSpecial ?? added) !== undefined) {
      const name = parseSpecial === undefined ? 'addSpecialTokens' : 'parseSpecial'
      throw new UnsupportedOptionError(
        `[${operation}] ${name} is for a prompt of text: leave it out with token ids`,
      )
    }
    const ids = isText
      ? this.needTokenizer(operation).encode(prompt, {
          parseSpecial,
          addSpecialTokens: isFirst && added !== false,
        })
      : prompt
    if (ids.length === 0) throw new RangeError(`[${operation}] the prompt is empty`)
    const vocabulary = this.vocabulary
    return Uint32Array.from(ids, (id, index) => {
      if (Number.isInteger(id) && id >= 0 && id < vocabulary) return id
      throw new RangeError(
        `[${operation}] token ${index} of the prompt is ${describe(id)}, which is outside the vocabulary of ${vocabulary}`,
      )
    })
  }

  /** Whether the tokens of a prompt are those of its text alone, and its special tokens among them. */
  isPlain(prompt: Prompt, { parseSpecial, addSpecialTokens }: PromptOptions): prompt is string {
    if (typeof prompt !== 'string' || parseSpecial === false || !this.tokenizer) return false
    return addSpecialTokens === false || this.tokenizer.encode('').length === 0
  }

  /** Throws `TokenizerNotFoundError` where there is none that can be used. */
  needTokenizer(operation: string): Tokenizer {
    if (this.tokenizer) return this.tokenizer
    const problem = this.#problem
    if (problem) {
      throw new TokenizerNotFoundError(
        `[${operation}] the model's tokenizer cannot be used: ${problem.message}. ` +
          'Token ids work without one; give loadModel (or --tokenizer) the path of another tokenizer.json if it fits',
        { cause: problem },
      )
    }
    const name = this.#name
    throw new TokenizerNotFoundError(
      `[${operation}] this checkpoint ships no tokenizer.json. ` +
        (name
          ? `Its authors use ${name}: give loadModel (or --tokenizer) the path of that tokenizer.json, or fetch it with: ssm-metal pull --tokenizer-only ${name}`
          : 'Give loadModel (or --tokenizer) the path of a tokenizer.json') +
        '. Token ids work without one.',
    )
  }
}

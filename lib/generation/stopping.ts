// When a generation ends besides at its number of tokens: options of the caller, checked.

import { UnsupportedOptionError } from '../support/errors.js'
import { type StopOptions, STOPPING } from '../options/generation.js'
import { describe } from '../support/option-checks.js'
import { optionValue } from '../support/option-table.js'
import { StopStrings } from '../tokenizer/stop-strings.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'

/** What the options are about. */
export interface StopModel {
  /** The tokenizer; throws where there is none. */
  needTokenizer(): Tokenizer
  /** Rows of the embedding. */
  vocabulary: number
  /** The model's own ends of text. */
  endOfText: readonly { readonly id: number }[]
}

/** What ends a generation. */
export interface Stopping {
  stopTokens: ReadonlySet<number>
  stopStrings: StopStrings
}

/**
 * Checks the options. Throws a `TypeError` or `RangeError` for values that make no sense, an
 * `UnsupportedOptionError` for a text that can never come, and `TokenizerNotFoundError` for texts where
 * there is no tokenizer. `operation` leads the message.
 */
export function stopping(operation: string, options: StopOptions, model: StopModel): Stopping {
  const texts = stopTexts(operation, options.stop)
  const stopTokens = new Set(stopTokenIds(operation, options.stopTokens, model.vocabulary))
  const tokenizer = texts.length > 0 ? model.needTokenizer() : undefined
  for (const text of texts) {
    const special = tokenizer?.specialTokenIn(text)
    if (special === undefined) continue
    const id = tokenizer!.specialTokenId(text)
    if (id === undefined) {
      throw new UnsupportedOptionError(
        `[${operation}] stop holds ${describe(text)}, which never comes: the special token ${describe(special)} in it ` +
          `is no part of the text. Give ${describe(special)} alone to end at that token`,
      )
    }
    stopTokens.add(id)
  }
  const ignoreEos = optionValue(operation, STOPPING, 'ignoreEos', options)
  if (!ignoreEos) for (const { id } of model.endOfText) stopTokens.add(id)
  // A special token's text also ends the generation where ordinary tokens spell it.
  return { stopTokens, stopStrings: new StopStrings(texts) }
}

function stopTexts(operation: string, stop: StopOptions['stop']): readonly string[] {
  const texts = typeof stop === 'string' ? [stop] : (stop ?? [])
  if (!Array.isArray(texts)) {
    throw new TypeError(
      `[${operation}] stop must be a text or a list of texts but is ${describe(stop)}`,
    )
  }
  for (const text of texts) {
    if (typeof text !== 'string' || text === '') {
      throw new TypeError(
        `[${operation}] stop must be of non-empty texts but holds ${describe(text)}`,
      )
    }
  }
  return texts
}

function stopTokenIds(
  operation: string,
  ids: StopOptions['stopTokens'] = [],
  vocabulary: number,
): readonly number[] {
  if (!Array.isArray(ids)) {
    throw new TypeError(
      `[${operation}] stopTokens must be a list of token ids but is ${describe(ids)}`,
    )
  }
  for (const id of ids) {
    if (!Number.isInteger(id) || id < 0 || id >= vocabulary) {
      throw new RangeError(
        `[${operation}] stopTokens holds ${describe(id)}, which is outside the vocabulary of ${vocabulary}`,
      )
    }
  }
  return ids
}

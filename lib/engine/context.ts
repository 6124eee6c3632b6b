// How long a sequence may become, for models that keep something of each position.

import type { LanguageModel } from '../models/language-model.js'
import { contextBytesPerToken } from '../models/state-fields.js'
import { ContextLengthError } from '../support/errors.js'
import { formatBytes } from '../support/format.js'
import { PAGE_SIZE } from '../operations/arguments.js'

export interface ContextLimits {
  /** Tokens of a prompt and what follows it. */
  maxContext: number
  /** What all sequences may keep of their positions. */
  maxBytes: number
}

/** Of models whose state has a fixed size. */
export const UNLIMITED: ContextLimits = {
  maxContext: Number.POSITIVE_INFINITY,
  maxBytes: Number.POSITIVE_INFINITY,
}

/**
 * The limits of a model that keeps something of each position. `maxContext`: what the caller wants; by default as much as
 * the model is made for and `maxBytes` have room for.
 */
export function contextLimits(
  bytesPerToken: number,
  {
    maxContext,
    ofModel = Number.POSITIVE_INFINITY,
    maxBytes,
  }: { maxContext: number | undefined; ofModel: number | undefined; maxBytes: number },
): ContextLimits {
  const pages = Math.max(1, Math.floor(maxBytes / (bytesPerToken * PAGE_SIZE)))
  return { maxContext: maxContext ?? Math.min(ofModel, pages * PAGE_SIZE), maxBytes }
}

/** Throws `ContextLengthError` where a sequence of so many tokens does not fit. */
export function checkContext(
  operation: string,
  tokens: number,
  { model, context }: { model: LanguageModel; context: ContextLimits },
): void {
  const { maxContext } = context
  if (tokens <= maxContext) return
  const { config, kvType } = model
  const madeFor =
    config.maxContext === undefined ? '' : `, the model is made for ${config.maxContext}`
  throw new ContextLengthError(
    `[${operation}] the sequence would have ${tokens} tokens or more but the context holds ${maxContext}: ` +
      `shorten the prompt, begin a new session or chat, or load the model with a larger maxContext ` +
      `(--max-context; a token takes ${formatBytes(contextBytesPerToken(config, kvType))}${madeFor})`,
    { tokens, maxContext },
  )
}

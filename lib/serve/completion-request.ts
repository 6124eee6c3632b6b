// POST /v1/completions: what is asked for.

import type { Prompt } from '../options/generation.js'
import { badField } from './api-error.js'
import type { Fields } from './fields.js'
import {
  type GenerationLimits,
  type GenerationRequest,
  generationRequest,
  maxTokensOf,
  MOST_CHOICES,
  responseFormatOf,
} from './generation-fields.js'

export interface CompletionRequest extends GenerationRequest {
  readonly prompts: readonly Prompt[]
  readonly logprobs: boolean
}

// As OpenAI documents it.
const DEFAULT_MAX_TOKENS = 16
const MOST_LOGPROBS = 20

/** @example completionRequest(new Fields(body), limits).prompts */
export function completionRequest(fields: Fields, limits: GenerationLimits): CompletionRequest {
  const prompts = promptsOf(fields)
  const maxTokens =
    maxTokensOf(fields, ['max_tokens'], limits) ?? Math.min(DEFAULT_MAX_TOKENS, limits.maxTokens)
  const request = generationRequest(fields, limits, maxTokens)
  const logprobs = fields.integer('logprobs', { min: 0, max: MOST_LOGPROBS })
  const responseFormat = responseFormatOf(fields)
  fields.neutral('echo', [false])
  fields.neutral('suffix', [''])
  fields.neutral('best_of', [request.n], 'give n alone')
  fields.end()
  const count = prompts.length * request.n
  if (count > MOST_CHOICES) {
    throw badField(
      'prompt',
      `one request may ask for ${MOST_CHOICES} texts, but ${prompts.length} prompts with n ${request.n} are ${count}`,
    )
  }
  return {
    ...request,
    prompts,
    logprobs: logprobs !== undefined,
    options: { ...request.options, responseFormat, logprobs },
  }
}

/** A text, token ids, or a list of either. */
function promptsOf(fields: Fields): Prompt[] {
  const value = fields.any('prompt')
  const isIds = (one: unknown) =>
    Array.isArray(one) && one.length > 0 && one.every((id) => Number.isSafeInteger(id) && id >= 0)
  const isPrompt = (one: unknown) => (typeof one === 'string' && one !== '') || isIds(one)
  if (isPrompt(value)) return [value as Prompt]
  if (Array.isArray(value) && value.length > 0 && value.every(isPrompt)) return value as Prompt[]
  throw fields.wrong('prompt', 'a text, token ids, or a list of either, none of them empty', value)
}

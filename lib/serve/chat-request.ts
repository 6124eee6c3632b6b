// POST /v1/chat/completions: what is asked for.

import type { ChatMessage } from '../chat/messages.js'
import { CHAT_TEMPLATE } from '../options/chat.js'
import type { Fields } from './fields.js'
import { badField } from './api-error.js'
import { chatMessages } from './chat-messages.js'
import {
  type GenerationLimits,
  type GenerationRequest,
  generationRequest,
  maxTokensOf,
  responseFormatOf,
} from './generation-fields.js'
import { chatTools, type ToolRequest } from './tools/tool-request.js'

export interface ChatRequest extends GenerationRequest {
  readonly messages: readonly ChatMessage[]
  /** What else the template asks for. */
  readonly templateArguments: Readonly<Record<string, unknown>>
  readonly logprobs: boolean
  readonly tools: ToolRequest
  /** The last message is an answer that goes on. */
  readonly continues: boolean
}

const MOST_TOP_LOGPROBS = 20

/** @example chatRequest(new Fields(body), limits).messages */
export function chatRequest(fields: Fields, limits: GenerationLimits): ChatRequest {
  const messages = chatMessages(fields.list('messages'))
  const names = ['max_completion_tokens', 'max_tokens'] as const
  const maxTokens = maxTokensOf(fields, names, limits) ?? limits.maxTokens
  const request = generationRequest(fields, limits, maxTokens)
  const logprobs = fields.boolean('logprobs') ?? false
  const alternatives = fields.integer('top_logprobs', { min: 0, max: MOST_TOP_LOGPROBS })
  if (alternatives !== undefined && !logprobs) {
    throw badField('top_logprobs', 'top_logprobs needs logprobs: true')
  }
  const responseFormat = responseFormatOf(fields)
  const continues = fields.boolean('continue_final_message') ?? false
  const { role, tool_calls: calls } = messages.at(-1)!
  if (continues && (role !== 'assistant' || calls)) {
    throw badField(
      'continue_final_message',
      'continue_final_message needs a last message of the assistant, without calls',
    )
  }
  const tools = chatTools(fields)
  const templateArguments = templateArgumentsOf(fields)
  refuse(fields)
  fields.end()
  return {
    ...request,
    messages,
    templateArguments,
    logprobs,
    tools,
    continues,
    options: {
      ...request.options,
      responseFormat,
      ...(logprobs && { logprobs: alternatives ?? 0 }),
    },
  }
}

function templateArgumentsOf(fields: Fields): Record<string, unknown> {
  const given = fields.object('chat_template_kwargs') ?? {}
  // A client does not choose the template, nor what else the server gives it.
  const own = Object.keys(given).find((name) => Object.hasOwn(CHAT_TEMPLATE, name))
  if (own !== undefined) {
    throw badField('chat_template_kwargs', `chat_template_kwargs must not have ${own}`)
  }
  const effort = fields.string('reasoning_effort')
  return effort === undefined ? given : { ...given, reasoning_effort: effort }
}

/** Fields that would change the answer, and cannot here; some ask for what is done anyway. */
function refuse(fields: Fields): void {
  fields.neutral('functions', [], 'use tools')
  fields.neutral('function_call', ['none', 'auto'], 'use tool_choice')
  fields.neutral('audio')
  fields.neutral('prediction')
  fields.neutral('web_search_options')
  fields.neutral('verbosity', ['medium'])
  const modalities = fields.list('modalities') ?? []
  if (modalities.some((modality) => modality !== 'text')) {
    throw badField('modalities', "modalities must be ['text']: this model writes text only")
  }
}

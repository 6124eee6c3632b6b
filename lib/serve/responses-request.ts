// POST /v1/responses: what is asked for. Nothing is stored: a conversation comes whole.

import type { ChatMessage } from '../chat/messages.js'
import type { ResponseFormat } from '../grammar/response-format.js'
import type { Fields } from './fields.js'
import {
  type GenerationLimits,
  type GenerationRequest,
  generationRequest,
  maxTokensOf,
  namedFormatOf,
} from './generation-fields.js'
import { inputMessages } from './response-items.js'
import { responseTools, type ToolRequest } from './tools/tool-request.js'

export interface ResponsesRequest extends GenerationRequest {
  readonly messages: readonly ChatMessage[]
  readonly templateArguments: Readonly<Record<string, unknown>>
  readonly tools: ToolRequest
  /** What the answer repeats of the request. */
  readonly echoed: Readonly<Record<string, unknown>>
}

/** @example responsesRequest(new Fields(body), limits).messages */
export function responsesRequest(fields: Fields, limits: GenerationLimits): ResponsesRequest {
  const instructions = fields.string('instructions')
  const messages = inputMessages(fields.any('input'), instructions)
  const maxTokens = maxTokensOf(fields, ['max_output_tokens'], limits) ?? limits.maxTokens
  const request = generationRequest(fields, limits, maxTokens)
  const tools = responseTools(fields)
  const effort = effortOf(fields)
  const responseFormat = formatOf(fields)
  fields.neutral('previous_response_id', [], 'nothing is stored here: send the whole conversation')
  fields.neutral('conversation', [], 'nothing is stored here: send the whole conversation')
  fields.neutral('background', [false])
  fields.neutral('n', [1], 'a response has one answer')
  fields.neutral('truncation', ['disabled'])
  checkIncluded(fields)
  fields.neutral('prompt')
  fields.neutral('top_logprobs', [0])
  fields.neutral('max_tool_calls')
  fields.neutral('timings_per_token', [false], 'the last event has them')
  fields.end()
  return {
    ...request,
    messages,
    tools,
    templateArguments: effort === undefined ? {} : { reasoning_effort: effort },
    options: { ...request.options, responseFormat },
    echoed: {
      instructions: instructions ?? null,
      max_output_tokens: fields.any('max_output_tokens') ?? null,
      metadata: fields.any('metadata') ?? {},
      parallel_tool_calls: tools.isParallel,
      temperature: request.options.temperature,
      text: fields.any('text') ?? { format: { type: 'text' } },
      tool_choice: fields.any('tool_choice') ?? 'auto',
      tools: fields.any('tools') ?? [],
      top_p: fields.any('top_p') ?? 1,
      user: fields.any('user') ?? null,
    },
  }
}

// Thoughts come as they are, so that nobody needs them encrypted.
function checkIncluded(fields: Fields): void {
  for (const name of fields.list('include') ?? []) {
    if (name === 'reasoning.encrypted_content') continue
    throw fields.wrong('include', "a list of 'reasoning.encrypted_content' or nothing", name)
  }
}

function effortOf(fields: Fields): string | undefined {
  const reasoning = fields.fields('reasoning')
  const effort = reasoning?.string('effort')
  // Thoughts come whole.
  reasoning?.neutral('summary', ['auto'])
  reasoning?.neutral('generate_summary', ['auto'])
  reasoning?.end()
  return effort
}

function formatOf(fields: Fields): ResponseFormat | undefined {
  const text = fields.fields('text')
  const format = text?.fields('format')
  text?.neutral('verbosity', ['medium'])
  text?.end()
  return format && namedFormatOf(format)
}

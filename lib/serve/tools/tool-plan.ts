// How a model is brought to call tools, and its calls are found.

import type { ResponseFormat } from '../../grammar/response-format.js'
import type { Model } from '../../model.js'
import { ApiError, badField } from '../api-error.js'
import { CallSplitter } from './call-splitter.js'
import { type CallFormat, callFormatOf, type OfferedTool } from './calls.js'
import type { ToolRequest } from './tool-request.js'

export interface ToolPlan {
  /** As templates take them; undefined for none. */
  readonly tools: readonly object[] | undefined
  /** What the prompt ends with, where a call has to be made. */
  readonly lead: string
  /** What the rest of such a call has to keep to. */
  readonly responseFormat: ResponseFormat | undefined
  /** Special tokens that the tags around calls are. */
  readonly shown: ReadonlyMap<number, string> | undefined
  readonly isParallel: boolean
  /** For one text; undefined where nothing can be called. */
  splitter(): CallSplitter | undefined
}

/**
 * @throws ApiError where the model's template writes calls in a way that is not known, or a call cannot be forced.
 * @example const { tools, lead } = toolPlan(model, request.tools, undefined)
 */
export function toolPlan(
  model: Model,
  { tools, required, isParallel }: ToolRequest,
  responseFormat: ResponseFormat | undefined,
): ToolPlan {
  if (tools.length === 0) return NO_TOOLS
  const templates = [...(model.chatTemplate?.templates.values() ?? [])].join('\n')
  const format = callFormatOf(templates)
  if (!format) {
    throw new ApiError(
      400,
      "tools: this model's chat template writes calls in no way that the server knows: leave tools out, or serve a model that was made for them",
      { param: 'tools', code: 'unsupported_parameter' },
    )
  }
  const isForced = required.length > 0
  if (isForced && responseFormat) {
    throw badField(
      'response_format',
      'response_format cannot be kept to where tool_choice asks for a call',
    )
  }
  const shown = [format.open, format.close].flatMap((tag) => {
    const id = model.tokenizer?.specialTokenId(tag)
    return id === undefined ? [] : [[id, tag] as const]
  })
  return {
    tools: tools.map(templateTool),
    lead: isForced ? format.open + (format.lead ?? '') : '',
    responseFormat: isForced ? forced(format, required) : undefined,
    shown: new Map(shown),
    isParallel,
    splitter: () => new CallSplitter(format, tools, { isOpen: isForced }),
  }
}

const NO_TOOLS: ToolPlan = {
  tools: undefined,
  lead: '',
  responseFormat: undefined,
  shown: undefined,
  isParallel: true,
  splitter: () => undefined,
}

function templateTool({ name, description, parameters }: OfferedTool): object {
  const called = { name, ...(description !== undefined && { description }) }
  return {
    type: 'function',
    function: { ...called, parameters: parameters ?? { type: 'object', properties: {} } },
  }
}

function forced({ schemaOf }: CallFormat, required: readonly OfferedTool[]): ResponseFormat {
  if (schemaOf) return { type: 'json_schema', schema: schemaOf(required), strict: true }
  throw new ApiError(
    400,
    "tool_choice: a call can be forced only of models that write calls as JSON, which this one's template does not",
    { param: 'tool_choice', code: 'unsupported_parameter' },
  )
}

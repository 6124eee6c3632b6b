// How a model is brought to call tools, and its calls are found.

import type { ResponseFormat } from '../../grammar/response-format.js'
import type { Model } from '../../model.js'
import { ApiError, badField } from '../api-error.js'
import type { OfferedTool } from './call.js'
import { CallSplitter } from './call-splitter.js'
import { callFormatOf } from './calls.js'
import { type BeforeCalls, forcedCalls } from './forced-calls.js'
import type { ToolRequest } from './tool-request.js'

export interface ToolPlan {
  /** As templates take them; undefined for none. */
  readonly tools: readonly object[] | undefined
  /** What the answer has to match where a call has to be made; `before`: of a model that thinks. */
  grammar(before: BeforeCalls | undefined): string | undefined
  /** Special tokens that the tags around calls are. */
  readonly shown: ReadonlyMap<number, string> | undefined
  readonly isParallel: boolean
  /** For one text; undefined where nothing can be called. */
  splitter(): CallSplitter | undefined
}

/**
 * @throws ApiError where the model's template writes calls in a way that is not known.
 * @example const { tools, splitter } = toolPlan(model, request.tools, undefined)
 */
export function toolPlan(
  model: Model,
  { tools, required, isParallel, isOneNamed }: ToolRequest,
  responseFormat: ResponseFormat | undefined,
): ToolPlan {
  if (tools.length === 0) return NO_TOOLS
  const format = callFormatOf(templateTexts(model), model.tokenizer)
  if (!format) {
    throw new ApiError(
      400,
      "tools: this model's chat template writes calls in no form that is known: leave tools out, or take a model that was made for them",
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
  const specialTokenId = (text: string) => model.tokenizer?.specialTokenId(text)
  const shown = [format.open, format.close].flatMap((tag) => {
    const id = specialTokenId(tag)
    return id === undefined ? [] : [[id, tag] as const]
  })
  const forced = { format, tools: required, isParallel: isParallel && !isOneNamed, specialTokenId }
  return {
    tools: tools.map(templateTool),
    grammar: (before) => (isForced ? forcedCalls(forced, before) : undefined),
    shown: new Map(shown),
    isParallel,
    splitter: () => new CallSplitter(format, tools),
  }
}

/** All of a model's templates. */
export const templateTexts = ({ chatTemplate }: Model) =>
  [...(chatTemplate?.templates.values() ?? [])].join('\n')

const NO_TOOLS: ToolPlan = {
  tools: undefined,
  grammar: () => undefined,
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

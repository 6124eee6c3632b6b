// The tools of a call, as the chat template and the parts of an answer take them.

import type { ResponseFormat } from '../grammar/response-format.js'
import type { OfferedTool } from '../serve/tools/call.js'
import type { ToolRequest } from '../serve/tools/tool-request.js'
import { UnsupportedFunctionalityError } from './errors.js'
import type { CallOptions, FunctionTool, Warning } from './specification.js'

interface Beside {
  responseFormat: ResponseFormat | undefined
  isParallel: boolean
}

/**
 * Adds what has no effect to `warnings`.
 *
 * @throws RangeError for the choice of a tool that is not there, UnsupportedFunctionalityError for a call that has to be
 *   made beside a format of the text.
 */
export function toolRequest(
  operation: string,
  { tools = [], toolChoice = { type: 'auto' } }: CallOptions,
  { responseFormat, isParallel }: Beside,
  warnings: Warning[],
): ToolRequest {
  const none = { tools: [], required: [], isOneNamed: false, isParallel }
  const offered: OfferedTool[] = []
  for (const tool of tools) {
    if (tool.type === 'function') offered.push(offeredTool(tool))
    else {
      const details = 'this provider runs no tools of its own: leave it out'
      warnings.push({ type: 'unsupported', feature: `provider-defined tool ${tool.id}`, details })
    }
  }
  if (offered.length === 0 || toolChoice.type === 'none') return none
  const required = requiredTools(operation, offered, toolChoice)
  if (required.length === 0 && responseFormat) {
    const details = 'an answer in a responseFormat has no calls: ask for one after the other'
    warnings.push({ type: 'unsupported', feature: 'tools', details })
    return none
  }
  if (responseFormat) {
    throw new UnsupportedFunctionalityError(
      'toolChoice',
      'an answer cannot be in a responseFormat and be a call that toolChoice asks for: leave one of them out',
    )
  }
  for (const tool of tools) if (tool.type === 'function') warnOfTool(tool, required, warnings)
  return { tools: offered, required, isOneNamed: toolChoice.type === 'tool', isParallel }
}

function requiredTools(
  operation: string,
  offered: readonly OfferedTool[],
  choice: NonNullable<CallOptions['toolChoice']>,
): readonly OfferedTool[] {
  if (choice.type === 'required') return offered
  if (choice.type !== 'tool') return []
  const chosen = offered.filter(({ name }) => name === choice.toolName)
  if (chosen.length > 0) return chosen
  const names = offered.map(({ name }) => name).join(', ')
  throw new RangeError(
    `[${operation}] toolChoice must name one of the tools (${names}) but names ${JSON.stringify(choice.toolName)}`,
  )
}

function offeredTool({ name, description, inputSchema }: FunctionTool): OfferedTool {
  return { name, description, parameters: inputSchema as Record<string, unknown> }
}

function warnOfTool(
  { name, strict, inputExamples }: FunctionTool,
  required: readonly OfferedTool[],
  warnings: Warning[],
): void {
  if (strict === true && required.length === 0) {
    const details = `calls of ${name} keep to its schema where toolChoice asks for a call; others are the model's own`
    warnings.push({ type: 'unsupported', feature: 'strict', details })
  }
  if (inputExamples?.length) {
    const details = `chat templates have no place for the examples of ${name}: put them into its description`
    warnings.push({ type: 'unsupported', feature: 'inputExamples', details })
  }
}

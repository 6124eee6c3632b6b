// The fields `tools` and `tool_choice` of a request.

import { ApiError, badField } from '../api-error.js'
import { Fields } from '../fields.js'
import type { OfferedTool } from './call.js'

export interface ToolRequest {
  /** What may be called; empty for none. */
  readonly tools: readonly OfferedTool[]
  /** A call of one of these has to be made; empty where it need not be. */
  readonly required: readonly OfferedTool[]
  /** That is one call of a tool that the request names. */
  readonly isOneNamed: boolean
  /** Whether there may be several calls. */
  readonly isParallel: boolean
}

const MOST_TOOLS = 128

/** As chats have them: `{ type: 'function', function: { name, description, parameters } }`. */
export function chatTools(fields: Fields): ToolRequest {
  return toolRequest(fields, (tool) => {
    const called = tool.fields('function')
    if (!called) throw tool.wrong('function', 'an object with a name', undefined)
    return called
  })
}

/** As responses have them: `{ type: 'function', name, description, parameters }`. */
export function responseTools(fields: Fields): ToolRequest {
  return toolRequest(fields, (tool) => tool)
}

function toolRequest(fields: Fields, functionOf: (tool: Fields) => Fields): ToolRequest {
  const given = fields.list('tools') ?? []
  if (given.length > MOST_TOOLS) {
    throw badField('tools', `tools must have at most ${MOST_TOOLS} items but has ${given.length}`)
  }
  const tools = given.map((tool, index) => {
    const path = `tools[${index}]`
    if (typeof tool !== 'object' || tool === null) {
      throw badField(path, `${path} must be { type: 'function', ... }`)
    }
    return offeredTool(new Fields(tool as Record<string, unknown>, `${path}.`), functionOf)
  })
  const isParallel = fields.boolean('parallel_tool_calls') ?? true
  return { ...chosen(fields, tools), isParallel }
}

function offeredTool(tool: Fields, functionOf: (tool: Fields) => Fields): OfferedTool {
  const type = tool.string('type')
  if (type !== 'function') {
    throw new ApiError(
      400,
      `${tool.pathOf('type')} must be 'function': this server runs no tools of its own`,
      {
        param: tool.pathOf('type'),
        code: 'unsupported_parameter',
      },
    )
  }
  const called = functionOf(tool)
  const name = called.string('name')
  if (name === undefined || !/^[\w.-]{1,128}$/.test(name)) {
    throw called.wrong('name', 'a name of letters, digits, _, . and -', name)
  }
  const description = called.string('description')
  const parameters = called.object('parameters')
  // Calls that are forced keep to the schema either way, others are the model's own.
  called.ignored('strict')
  if (called !== tool) called.end()
  tool.end()
  return { name, description, parameters }
}

function chosen(
  fields: Fields,
  tools: readonly OfferedTool[],
): Pick<ToolRequest, 'tools' | 'required' | 'isOneNamed'> {
  const choice = fields.any('tool_choice')
  const allowed = allowedIn(choice)
  if (allowed) {
    const some = tools.filter(({ name }) => allowed.names.includes(name))
    if (some.length === 0) throw wrongChoice(fields, choice)
    return { tools: some, required: allowed.isRequired ? some : [], isOneNamed: false }
  }
  if (choice === undefined || choice === 'auto') return { tools, required: [], isOneNamed: false }
  if (choice === 'none') return { tools: [], required: [], isOneNamed: false }
  const isOneNamed = choice !== 'required'
  const required = isOneNamed ? tools.filter(({ name }) => name === nameIn(choice)) : tools
  if (required.length > 0) return { tools, required, isOneNamed }
  throw wrongChoice(fields, choice)
}

function wrongChoice(fields: Fields, choice: unknown): ApiError {
  const expected =
    "'none', 'auto', 'required' or { type: 'function', function: { name } } with the name of a tool that is given"
  return fields.wrong('tool_choice', expected, choice)
}

/** Of a choice among some of the tools: in chats with an object of its own, in responses without. */
function allowedIn(choice: unknown): { names: unknown[]; isRequired: boolean } | undefined {
  const { type, allowed_tools: inner = choice } = (choice ?? {}) as Record<string, unknown>
  if (type !== 'allowed_tools') return undefined
  const { mode, tools } = (inner ?? {}) as Record<string, unknown>
  const isMode = mode === 'auto' || mode === 'required'
  const names = isMode && Array.isArray(tools) ? tools.map(nameIn) : []
  return { names, isRequired: mode === 'required' }
}

function nameIn(choice: unknown): unknown {
  const { type, name, function: called } = (choice ?? {}) as Record<string, unknown>
  if (type !== 'function') return undefined
  return (called as { name?: unknown } | undefined)?.name ?? name
}

// The fields `tools` and `tool_choice` of a request.

import { ApiError, badField } from '../api-error.js'
import { Fields } from '../fields.js'
import type { OfferedTool } from './calls.js'

export interface ToolRequest {
  /** What may be called; empty for none. */
  readonly tools: readonly OfferedTool[]
  /** A call of one of these has to be made; empty where it need not be. */
  readonly required: readonly OfferedTool[]
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
): Pick<ToolRequest, 'tools' | 'required'> {
  const choice = fields.any('tool_choice')
  if (choice === undefined || choice === 'auto') return { tools, required: [] }
  if (choice === 'none') return { tools: [], required: [] }
  const required =
    choice === 'required' ? tools : tools.filter(({ name }) => name === nameIn(choice))
  if (required.length > 0) return { tools, required }
  throw fields.wrong(
    'tool_choice',
    "'none', 'auto', 'required' or { type: 'function', function: { name } } with the name of a tool that is given",
    choice,
  )
}

function nameIn(choice: unknown): unknown {
  const { type, name, function: called } = (choice ?? {}) as Record<string, unknown>
  if (type !== 'function') return undefined
  return (called as { name?: unknown } | undefined)?.name ?? name
}

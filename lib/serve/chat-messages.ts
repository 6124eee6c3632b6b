// Messages as OpenAI's API has them, as chat templates take them.

import type { ChatMessage, ToolCall } from '../chat/messages.js'
import { ApiError, badField } from './api-error.js'
import { Fields } from './fields.js'

const ROLES = ['system', 'developer', 'user', 'assistant', 'tool']

/**
 * The messages of a request, checked. Parts of text become one text; a developer's message is the system's; a call's
 * arguments, which come as JSON in a text, become the object that templates write.
 *
 * @example chatMessages([{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }]) // [{ role: 'user', content: 'Hi' }]
 */
export function chatMessages(messages: readonly unknown[] | undefined): ChatMessage[] {
  if (!messages?.length)
    throw badField('messages', 'messages must be a list of one or more messages')
  return messages.map((message, index) => {
    const path = `messages[${index}]`
    if (typeof message !== 'object' || message === null || Array.isArray(message)) {
      throw badField(path, `${path} must be an object with role and content`)
    }
    return chatMessage(new Fields(message as Record<string, unknown>, `${path}.`))
  })
}

function chatMessage(fields: Fields): ChatMessage {
  const role = fields.string('role')
  if (role === undefined || !ROLES.includes(role)) {
    throw fields.wrong('role', `one of ${ROLES.join(', ')}`, role)
  }
  const content = contentOf(fields, fields.any('content'))
  const name = fields.string('name')
  const message: ChatMessage = {
    role: role === 'developer' ? 'system' : role,
    ...(content !== undefined && { content }),
    ...(name !== undefined && { name }),
  }
  if (role === 'assistant') addAssistantFields(fields, message)
  else if (role === 'tool') message.tool_call_id = fields.string('tool_call_id')
  if (content === undefined) {
    if (!message.tool_calls) throw fields.wrong('content', 'a text or a list of parts', undefined)
    // Many templates look into it.
    message.content = ''
  }
  fields.end()
  return message
}

function addAssistantFields(fields: Fields, message: ChatMessage): void {
  fields.neutral('refusal')
  fields.neutral('audio')
  fields.neutral('function_call')
  fields.neutral('annotations')
  const reasoning = fields.string('reasoning_content')
  if (reasoning !== undefined) message.reasoning_content = reasoning
  const calls = fields.list('tool_calls')
  if (calls?.length) message.tool_calls = calls.map((call, index) => toolCall(fields, call, index))
}

function contentOf(fields: Fields, content: unknown): string | undefined {
  if (content === undefined || typeof content === 'string') return content
  if (!Array.isArray(content)) throw fields.wrong('content', 'a text or a list of parts', content)
  return content.map((part: unknown, index) => partText(fields, part, index)).join('')
}

function partText(fields: Fields, part: unknown, index: number): string {
  const { type, text, refusal } = (part ?? {}) as Record<string, unknown>
  const path = fields.pathOf(`content[${index}]`)
  if (type === 'text' && typeof text === 'string') return text
  if (type === 'refusal' && typeof refusal === 'string') return refusal
  if (type === 'text' || typeof type !== 'string') {
    throw badField(path, `${path} must be { type: 'text', text }`)
  }
  throw new ApiError(
    400,
    `${path} is of type ${JSON.stringify(type.slice(0, 60))}: this model reads text only`,
    {
      param: path,
      code: 'unsupported_content',
    },
  )
}

function toolCall(fields: Fields, call: unknown, index: number): ToolCall {
  const path = fields.pathOf(`tool_calls[${index}]`)
  const { id, function: called } = (call ?? {}) as {
    id?: unknown
    function?: { name?: unknown; arguments?: unknown }
  }
  const isRight =
    typeof called?.name === 'string' &&
    typeof called.arguments === 'string' &&
    (id === undefined || typeof id === 'string')
  if (!isRight) {
    throw badField(
      path,
      `${path} must be { id, type: 'function', function: { name, arguments } }, with texts`,
    )
  }
  const { name, arguments: text } = called as { name: string; arguments: string }
  return {
    id: id as string,
    type: 'function',
    function: { name, arguments: parsedArguments(text) },
  }
}

// What is no JSON reaches the template as the text that it is.
/** The arguments of a call, which come as JSON in a text. */
export function parsedArguments(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : text
  } catch {
    return text
  }
}

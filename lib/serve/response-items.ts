// The input of /v1/responses: a text, or items, as messages of a chat.

import type { ChatMessage } from '../chat/messages.js'
import { ApiError, badField } from './api-error.js'
import { parsedArguments } from './chat-messages.js'
import { Fields } from './fields.js'

const ROLES = ['system', 'developer', 'user', 'assistant']

/** @example inputMessages('Hello', 'Be brief.') // [{ role: 'system', ... }, { role: 'user', ... }] */
export function inputMessages(input: unknown, instructions: string | undefined): ChatMessage[] {
  const first = instructions === undefined ? [] : [{ role: 'system', content: instructions }]
  if (typeof input === 'string') return [...first, { role: 'user', content: input }]
  if (!Array.isArray(input) || input.length === 0) {
    throw badField('input', 'input must be a text or a list of items')
  }
  const conversation: Conversation = { messages: [...first], thoughts: undefined }
  for (const [index, item] of input.entries()) {
    const path = `input[${index}]`
    if (typeof item !== 'object' || item === null || Array.isArray(item)) {
      throw badField(path, `${path} must be an object`)
    }
    addItem(conversation, new Fields(item as Record<string, unknown>, `${path}.`))
  }
  return conversation.messages
}

interface Conversation {
  readonly messages: ChatMessage[]
  /** Those before the answer that comes next. */
  thoughts: string | undefined
}

function addItem(conversation: Conversation, item: Fields): void {
  const { messages } = conversation
  item.ignored('id', 'status')
  const type = item.string('type') ?? 'message'
  switch (type) {
    case 'message':
      messages.push(withThoughts(conversation, message(item)))
      break
    case 'function_call':
      addCall(conversation, item)
      break
    case 'function_call_output':
      messages.push({
        role: 'tool',
        tool_call_id: item.string('call_id'),
        content: textOf(item, 'output'),
      })
      break
    case 'reasoning':
      item.ignored('summary', 'encrypted_content')
      conversation.thoughts = thoughtsOf(item)
      break
    default:
      throw new ApiError(
        400,
        `${item.pathOf('type')} ${JSON.stringify(type.slice(0, 60))} is not supported`,
        {
          param: item.pathOf('type'),
          code: 'unsupported_content',
        },
      )
  }
  item.end()
}

function message(item: Fields): ChatMessage {
  const role = item.string('role')
  if (role === undefined || !ROLES.includes(role)) {
    throw item.wrong('role', `one of ${ROLES.join(', ')}`, role)
  }
  item.ignored('phase')
  return { role: role === 'developer' ? 'system' : role, content: textOf(item, 'content') }
}

/** Thoughts belong to the answer that follows. */
function withThoughts(conversation: Conversation, message: ChatMessage): ChatMessage {
  const { thoughts } = conversation
  conversation.thoughts = undefined
  if (thoughts === undefined || message.role !== 'assistant') return message
  return { ...message, reasoning_content: thoughts }
}

/** Undefined where they are a summary, or encrypted. */
function thoughtsOf(item: Fields): string | undefined {
  const parts = item.list('content') ?? []
  const texts = parts.map((part) => (part as { text?: unknown } | null)?.text)
  return texts.every((text) => typeof text === 'string') && texts.length > 0
    ? texts.join('')
    : undefined
}

// Calls that follow an answer are that answer's.
function addCall(conversation: Conversation, item: Fields): void {
  const { messages } = conversation
  const [name, id, text] = [item.string('name'), item.string('call_id'), item.string('arguments')]
  if (name === undefined) throw item.wrong('name', 'a string', name)
  const call = {
    id,
    type: 'function' as const,
    function: { name, arguments: parsedArguments(text ?? '{}') },
  }
  const last = messages.at(-1)
  if (last?.role === 'assistant' && conversation.thoughts === undefined) {
    last.tool_calls = [...(last.tool_calls ?? []), call]
    return
  }
  const answer = { role: 'assistant', content: '', tool_calls: [call] }
  messages.push(withThoughts(conversation, answer))
}

function textOf(item: Fields, name: string): string {
  const content = item.any(name)
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) throw item.wrong(name, 'a text or a list of parts', content)
  const parts = content.map((part: unknown, index) => {
    const { type, text, refusal } = (part ?? {}) as Record<string, unknown>
    const isText = type === 'input_text' || type === 'output_text' || type === 'text'
    if (isText && typeof text === 'string') return text
    if (type === 'refusal' && typeof refusal === 'string') return refusal
    const path = item.pathOf(`${name}[${index}]`)
    throw new ApiError(400, `${path} must be a part of text: this model reads text only`, {
      param: path,
      code: 'unsupported_content',
    })
  })
  return parts.join('')
}

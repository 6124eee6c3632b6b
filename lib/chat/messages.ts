// What callers give a chat template: messages, tools, documents and arguments. Copied, never changed, and
// plain: a template sees what JSON can say.

import { describe } from '../support/option-checks.js'

/** A part of a message whose content is not one text: `{ type: 'text', text: '...' }`. */
export interface ContentPart {
  type: string
  text?: string | undefined
  [key: string]: unknown
}

/** A call that the model asked for. */
export interface ToolCall {
  id?: string | undefined
  type?: 'function' | undefined
  /** `arguments` is an object, or a text of JSON: templates differ in which they take. */
  function: { name: string; arguments: unknown }
}

/** A message of a conversation. What else it has reaches the template too. */
export interface ChatMessage {
  /** `system`, `user`, `assistant` or `tool`; some templates have others. */
  role: string
  content?: string | readonly ContentPart[] | null | undefined
  /** What an assistant thought before its answer. */
  reasoning_content?: string | null | undefined
  tool_calls?: readonly ToolCall[] | null | undefined
  /** For the answer of a tool: which call it answers. */
  tool_call_id?: string | null | undefined
  name?: string | null | undefined
  [key: string]: unknown
}

type Plain = string | number | boolean | null | Plain[] | { [key: string]: Plain }

// A conversation, and how deep JSON may be. The texts of both together are limited where they are rendered.
const MOST_VALUES = 1024 * 1024
const DEEPEST = 64

// In transformers, fields of reasoning are filled from each other.
const REASONING_FIELDS = ['reasoning_content', 'thinking', 'reasoning']

/**
 * A conversation as transformers gives it to a template: without fields that are null, and with the reasoning of a
 * message under each name that templates read.
 *
 * @throws TypeError or RangeError that says which message is wrong, and why.
 */
export function plainMessages(
  operation: string,
  messages: readonly ChatMessage[],
): { [key: string]: Plain }[] {
  const copies = copiedMessages(operation, messages) as { [key: string]: Plain }[]
  if (copies.length === 0) {
    throw new RangeError(`[${operation}] messages must have at least one message but is empty`)
  }
  return copies.map((message) => withReasoning(withoutNulls(message)))
}

/** Messages of a caller, checked, as copies that the caller cannot change. */
export function copiedMessages(operation: string, messages: readonly ChatMessage[]): ChatMessage[] {
  if (!Array.isArray(messages)) {
    throw new TypeError(
      `[${operation}] messages must be a list of { role, content } but is ${describe(messages)}`,
    )
  }
  return messages.map((message: ChatMessage, index) => {
    const what = `message ${index}`
    if (typeof message !== 'object' || message === null) {
      throw new TypeError(
        `[${operation}] ${what} must be { role, content } but is ${describe(message)}`,
      )
    }
    const { role, content } = message
    if (typeof role !== 'string' || role === '') {
      throw new TypeError(
        `[${operation}] the role of ${what} must be a text such as 'user' but is ${describe(role)}`,
      )
    }
    if (typeof content !== 'string' && content !== undefined && content !== null) {
      checkParts(operation, what, content)
    }
    return plainValue(operation, what, message) as ChatMessage & { [key: string]: Plain }
  })
}

function checkParts(operation: string, what: string, content: unknown): void {
  if (!Array.isArray(content)) {
    throw new TypeError(
      `[${operation}] the content of ${what} must be a text, a list of parts or null but is ${describe(content)}`,
    )
  }
  content.forEach((part: unknown, index) => {
    const type = (part as { type?: unknown } | null)?.type
    if (typeof type === 'string') return
    throw new TypeError(
      `[${operation}] part ${index} of the content of ${what} must be { type: 'text', text } or another { type } but is ${describe(part)}`,
    )
  })
}

const withoutNulls = (message: { [key: string]: Plain }) =>
  Object.fromEntries(Object.entries(message).filter(([, value]) => value !== null))

function withReasoning(message: { [key: string]: Plain }): { [key: string]: Plain } {
  const name = REASONING_FIELDS.find((field) => message[field] !== undefined)
  if (name === undefined) return message
  const reasoning = message[name]!
  return { thinking: reasoning, ...message, reasoning_content: reasoning }
}

/** A list of objects, such as tools. */
export function plainObjects(operation: string, name: string, values: unknown): Plain[] {
  if (!Array.isArray(values)) {
    throw new TypeError(
      `[${operation}] ${name} must be a list of objects but is ${describe(values)}`,
    )
  }
  return values.map((value: unknown, index) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new TypeError(
        `[${operation}] item ${index} of ${name} must be an object but is ${describe(value)}`,
      )
    }
    return plainValue(operation, `item ${index} of ${name}`, value)
  })
}

/** A copy of a value that JSON can say; throws TypeError for others, naming where in `what` they are. */
export function plainValue(operation: string, what: string, value: unknown): Plain {
  let values = 0
  const wrong = (path: string, item: unknown, expected: string): never => {
    const where = path === '' ? what : `${path.replace(/^\./, '')} in ${what}`
    throw new TypeError(`[${operation}] ${where} must be ${expected} but is ${describe(item)}`)
  }
  const copy = (item: unknown, path: string, depth: number): Plain => {
    if (item === null || typeof item === 'string' || typeof item === 'boolean') return item
    if (typeof item === 'number') {
      return Number.isFinite(item) ? item : wrong(path, item, 'a finite number')
    }
    if (typeof item !== 'object') return wrong(path, item, 'a value that JSON has')
    if (depth > DEEPEST) return wrong(path.slice(0, 60), item, `at most ${DEEPEST} levels deep`)
    if (++values > MOST_VALUES) return wrong('', item, `at most ${MOST_VALUES} values`)
    if (Array.isArray(item)) {
      return item.map((one: unknown, index) => copy(one, `${path}[${index}]`, depth + 1))
    }
    if (!isPlain(item)) return wrong(path, item, 'a plain object')
    return Object.fromEntries(
      Object.entries(item)
        .filter(([, one]) => one !== undefined)
        .map(([key, one]) => [key, copy(one, `${path}.${key}`, depth + 1)]),
    )
  }
  return copy(value, '', 0)
}

/** Whether an object is of no class, in this realm or another. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

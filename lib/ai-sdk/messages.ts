// Prompts of the AI SDK as messages that chat templates take.

import type { ChatMessage, ToolCall } from '../chat/messages.js'
import { UnsupportedFunctionalityError } from './errors.js'
import type { PromptMessage, PromptPart, ToolOutput } from './specification.js'

/**
 * @throws UnsupportedFunctionalityError for a part that is no text, such as an image.
 * @example chatMessages([{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }]) // [{ role: 'user', content: 'Hi' }]
 */
export function chatMessages(prompt: readonly PromptMessage[]): ChatMessage[] {
  return prompt.flatMap(messagesOf)
}

function messagesOf(message: PromptMessage): ChatMessage[] {
  switch (message.role) {
    case 'system':
      return [{ role: 'system', content: message.content }]
    case 'user':
      return [{ role: 'user', content: message.content.map(userText).join('') }]
    case 'assistant':
      return [assistantMessage(message.content)]
    case 'tool':
      return message.content.map(toolMessage)
  }
}

function userText(part: PromptPart): string {
  if (part.type === 'text') return part.text
  throw notTaken(part, 'message of the user')
}

function assistantMessage(parts: readonly PromptPart[]): ChatMessage {
  let [content, reasoning] = ['', '']
  const calls: ToolCall[] = []
  for (const part of parts) {
    if (part.type === 'text') content += part.text
    else if (part.type === 'reasoning') reasoning += part.text
    else if (part.type === 'tool-call') {
      const called = { name: part.toolName, arguments: part.input }
      calls.push({ id: part.toolCallId, type: 'function', function: called })
    } else throw notTaken(part, 'message of the assistant')
  }
  return {
    role: 'assistant',
    content,
    ...(reasoning !== '' && { reasoning_content: reasoning }),
    ...(calls.length > 0 && { tool_calls: calls }),
  }
}

function toolMessage(part: PromptPart): ChatMessage {
  if (part.type !== 'tool-result') throw notTaken(part, 'message of a tool')
  const { toolCallId, toolName, output } = part
  return { role: 'tool', tool_call_id: toolCallId, name: toolName, content: outputText(output) }
}

function outputText(output: ToolOutput): string {
  switch (output.type) {
    case 'text':
    case 'error-text':
      return output.value
    case 'json':
    case 'error-json':
      return JSON.stringify(output.value)
    case 'execution-denied':
      return output.reason ?? 'The execution of this tool was denied.'
    case 'content':
      return output.value
        .map((part) => {
          if (part.type === 'text') return part.text
          throw notTaken(part, "tool's result")
        })
        .join('')
  }
}

function notTaken(
  part: { type: string; mediaType?: string },
  place: string,
): UnsupportedFunctionalityError {
  const kind = part.mediaType === undefined ? part.type : `${part.type} (${part.mediaType})`
  return new UnsupportedFunctionalityError(
    `${part.type} parts`,
    `a ${place} has a part of type ${kind}: this model reads text only`,
  )
}

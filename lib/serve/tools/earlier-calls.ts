// Calls of earlier turns, for templates that know nothing of them though their models make them.

import type { ChatMessage } from '../../chat/messages.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import { callFormatOf, writtenCalls } from './calls.js'

/**
 * The messages, calls as text of theirs where the template would leave them out.
 *
 * @example withWrittenCalls(messages, template, model.tokenizer)
 */
export function withWrittenCalls(
  messages: readonly ChatMessage[],
  template: string,
  tokenizer: Tokenizer | undefined,
): readonly ChatMessage[] {
  const format = callFormatOf(template, tokenizer)
  if (!format || template.includes('tool_calls')) return messages
  return messages.map(({ tool_calls: calls, ...message }) => {
    if (!calls?.length) return message
    const written = calls.map(({ function: { name, arguments: given } }) => ({
      name,
      arguments: typeof given === 'object' && given !== null ? { ...given } : {},
    }))
    return { ...message, content: writtenCalls(format, written) + (message.content ?? '') }
  })
}

// A case of transformers' rendered here.

import type { ChatTemplate } from '../../lib/chat/chat-template.js'
import { ChatTemplateError } from '../../lib/support/errors.js'
import type { Case } from './transformers.js'

/** What a template makes of a case here: its text, or why not. */
export async function renderCase(
  template: ChatTemplate,
  { messages, add_generation_prompt: addGenerationPrompt, tools, documents, arguments: args }: Case,
): Promise<Pick<Case, 'text' | 'refusal' | 'error'>> {
  const options = { ...args, addGenerationPrompt, tools: tools ?? undefined }
  try {
    return {
      text: await template.render(messages, { ...options, documents: documents ?? undefined }),
    }
  } catch (error) {
    if (!(error instanceof ChatTemplateError)) throw error
    const refusal = /refuses this conversation: (.*)$/s.exec(error.message)?.[1]
    return refusal === undefined ? { error: error.message } : { refusal }
  }
}

/** Whether both made the same text, or neither made one; a refusal's words count, those of other errors do not. */
export function isSame(here: Partial<Case>, there: Partial<Case>): boolean {
  if (there.text !== undefined) return here.text === there.text
  if (there.refusal !== undefined) return here.refusal === there.refusal.slice(0, 1000)
  return here.error !== undefined
}

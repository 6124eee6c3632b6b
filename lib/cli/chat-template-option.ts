// Which chat template the verbs that have conversations use.

import { PLAIN_CHAT_TEMPLATE } from '../chat/plain-template.js'
import { LARGEST_TEMPLATE } from '../chat/template-files.js'
import { readSmallFile } from '../support/small-file.js'
import type { OptionTable } from './command.js'

export const chatTemplateOption = {
  'chat-template': {
    type: 'string',
    placeholder: 'FILE',
    description: "chat template in the place of the model's; plain is one for base models",
  },
} as const satisfies OptionTable

/** The template's text; undefined where the model's own is meant. */
export function chatTemplateFrom({
  chatTemplate,
}: {
  readonly chatTemplate: string | undefined
}): string | undefined {
  if (chatTemplate === undefined) return undefined
  if (chatTemplate === 'plain') return PLAIN_CHAT_TEMPLATE
  const text = readSmallFile(chatTemplate, LARGEST_TEMPLATE)
  if (text !== undefined) return text
  throw new Error(`--chat-template: there is no file ${chatTemplate}`)
}

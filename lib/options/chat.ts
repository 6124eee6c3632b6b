// Options of chats and of what a chat template makes of a conversation.

import type { ChatMessage } from '../chat/messages.js'
import type { OptionTable } from '../support/option-table.js'

export interface ChatOptions {
  /** The system message that the conversation begins with. */
  system?: string | undefined
  /** Messages that the conversation has already, after the system's. */
  messages?: readonly ChatMessage[] | undefined
  /** A chat template's text, or the name of one of the checkpoint's. Defaults to the checkpoint's own. */
  template?: string | undefined
  /** Tools that the model may call, as JSON schemas. */
  tools?: readonly object[] | undefined
  /** What else the template asks for, by its own names, such as `{ enable_thinking: false }`. */
  templateArguments?: Readonly<Record<string, unknown>> | undefined
}

interface OwnTemplateOptions {
  /** End with what begins an assistant's turn, for it to be generated. Defaults to false. */
  addGenerationPrompt?: boolean | undefined
  /** Tools that the model may call, as JSON schemas. */
  tools?: readonly object[] | undefined
  /** Documents for the model to answer from. */
  documents?: readonly object[] | undefined
  /** A template's text, or the name of one of the checkpoint's, to be used instead. */
  template?: string | undefined
}

export interface ChatTemplateOptions extends OwnTemplateOptions {
  /** What else the template asks for, under its own name, such as `enable_thinking`. */
  [argument: string]: unknown
}

/** Those of `applyChatTemplate` that are not arguments of the template. */
export const CHAT_TEMPLATE = {
  addGenerationPrompt: {
    type: 'boolean',
    default: false,
    description: "end with what begins an assistant's turn",
  },
  tools: { type: 'other', description: 'tools that the model may call' },
  documents: { type: 'other', description: 'documents for the model to answer from' },
  template: { type: 'string', description: "a template's text, or the name of the checkpoint's" },
} as const satisfies OptionTable<OwnTemplateOptions>

export const CHAT = {
  system: { type: 'string', description: 'the system message' },
  messages: { type: 'other', description: 'messages that the conversation has already' },
  template: CHAT_TEMPLATE.template,
  tools: CHAT_TEMPLATE.tools,
  templateArguments: { type: 'other', description: 'what else the template asks for' },
} as const satisfies OptionTable<ChatOptions>

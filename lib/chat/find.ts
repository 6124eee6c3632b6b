// The chat template of a model: the one asked for, or its checkpoint's.

import { NoChatTemplateError } from '../support/errors.js'
import type { OnNotice } from '../support/notices.js'
import { ChatTemplate, readSpecialTokens, type SpecialTokens } from './chat-template.js'
import { CHAT, type ChatTemplateOptions } from '../options/chat.js'
import { optionValue } from '../support/option-table.js'
import type { ChatMessage } from './messages.js'

/** What {@link findChatTemplate} found. */
export interface FoundChatTemplate {
  /** Undefined where there is none, as of base models. */
  readonly template: ChatTemplate | undefined
  /** For templates of the caller's. */
  readonly specialTokens: SpecialTokens
}

/** Where to look. */
export interface ChatTemplatePlaces {
  /** Folder of the checkpoint. */
  readonly folder: string
  /** Folder of the tokenizer in use. */
  readonly tokenizerFolder: string | undefined
  /** Why the tokenizer cannot be used, which has had its notice. */
  readonly problem: Error | undefined
}

/**
 * Finds the chat template beside the tokenizer in use, or else beside the weights.
 *
 * @example const { template } = await findChatTemplate({ folder, tokenizerFolder: undefined, problem: undefined }, {})
 */
export async function findChatTemplate(
  { folder, tokenizerFolder, problem }: ChatTemplatePlaces,
  options: { chatTemplate?: string | undefined; onNotice?: OnNotice | undefined },
): Promise<FoundChatTemplate> {
  const folders = [tokenizerFolder ?? folder, folder]
  const specialTokens = await readSpecialTokens(folders)
  const { chatTemplate } = options
  // The same file may be wrong for both.
  const onNotice: OnNotice = (notice) => {
    if (!problem || !notice.message.endsWith(problem.message)) options.onNotice?.(notice)
  }
  const template =
    chatTemplate === undefined
      ? await ChatTemplate.find(folders, { onNotice, specialTokens })
      : new ChatTemplate(chatTemplate, { specialTokens })
  return { template, specialTokens }
}

/**
 * The template of a chat: `given` is the name of one of the checkpoint's, or a text. Throws `NoChatTemplateError` where
 * there is none.
 */
export function chatTemplateOf(
  operation: string,
  { template, specialTokens }: FoundChatTemplate,
  given: string | undefined,
): ChatTemplate {
  const found = given === undefined ? template : undefined
  if (found) return found
  optionValue(operation, CHAT, 'template', { template: given })
  if (given !== undefined) {
    return new ChatTemplate(template?.templates.get(given) ?? given, { specialTokens })
  }
  throw new NoChatTemplateError(
    `[${operation}] this checkpoint has no chat template, as base models have none. ` +
      'Pass one: loadModel(path, { chatTemplate }) or the option template here, with a text of your own or PLAIN_CHAT_TEMPLATE',
  )
}

/** The prompt that a model's template, or the one in `options`, makes of a conversation. */
export async function applyChatTemplate(
  found: FoundChatTemplate,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions,
): Promise<string> {
  const used = found.template ?? chatTemplateOf('applyChatTemplate', found, options?.template)
  return used.renderFor('applyChatTemplate', messages, options)
}

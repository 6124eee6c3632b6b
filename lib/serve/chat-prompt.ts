// The prompt of a conversation.

import type { ChatMessage } from '../chat/messages.js'
import { opensReasoning, reasoningTags } from '../generation/reasoning.js'
import type { Model } from '../model.js'
import type { AskedPrompt } from './answers.js'
import { badField } from './api-error.js'
import type { ToolPlan } from './tools/tool-plan.js'

export interface Conversation {
  readonly messages: readonly ChatMessage[]
  /** What else the template asks for. */
  readonly templateArguments: Readonly<Record<string, unknown>>
  readonly plan: ToolPlan
  /** The last message is an answer that goes on. */
  readonly continues?: boolean | undefined
}

/** What the model's template makes of a conversation, and what its answer consists of. */
export async function chatPrompt(
  model: Model,
  { messages, templateArguments, plan, continues }: Conversation,
): Promise<AskedPrompt> {
  const asked = continues ? messages.slice(0, -1) : messages
  const prompt = await model.applyChatTemplate(asked, {
    ...templateArguments,
    tools: plan.tools,
    addGenerationPrompt: true,
  })
  const tags = reasoningTags(model.chatTemplate!.text, model.tokenizer)
  const thoughts = tags && { tags, isOpened: opensReasoning(prompt, tags) }
  const { lead, shown } = plan
  if (continues) {
    const { content, reasoning_content: thought } = messages.at(-1)!
    // Its thoughts are over.
    const before = thoughts?.isOpened ? `${thought ?? ''}\n${thoughts.tags.close}\n\n` : ''
    return { prompt: prompt + before + content, isOfTemplate: true, parts: { shown } }
  }
  if (lead === '') return { prompt, isOfTemplate: true, parts: { thoughts, shown } }
  if (thoughts?.isOpened) {
    throw badField(
      'tool_choice',
      'a call cannot be forced while the model thinks: switch that off with chat_template_kwargs, as its template has it',
    )
  }
  return { prompt: prompt + lead, isOfTemplate: true, parts: { shown } }
}

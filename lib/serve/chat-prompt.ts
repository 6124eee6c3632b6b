// The prompt of a conversation.

import type { ChatMessage } from '../chat/messages.js'
import { opensReasoning, reasoningTags } from '../generation/reasoning.js'
import type { Model } from '../model.js'
import type { AskedPrompt } from './answers.js'
import { withWrittenCalls } from './tools/earlier-calls.js'
import { templateTexts, type ToolPlan } from './tools/tool-plan.js'

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
  const templates = templateTexts(model)
  const prompt = await model.applyChatTemplate(
    withWrittenCalls(asked, templates, model.tokenizer),
    {
      ...argumentsFor(templates, templateArguments),
      tools: plan.tools,
      addGenerationPrompt: true,
    },
  )
  const { shown } = plan
  const tags = reasoningTags(model.chatTemplate!.text, model.tokenizer)
  const isOpened = tags !== undefined && opensReasoning(prompt, tags)
  if (continues) {
    const { content, reasoning_content: thought } = messages.at(-1)!
    // Its thoughts are over.
    const before = isOpened ? `${thought ?? ''}\n${tags.close}\n\n` : ''
    const parts = { shown, grammar: plan.grammar(undefined) }
    return { prompt: prompt + before + content, isOfTemplate: true, parts }
  }
  const isClosed = tags !== undefined && prompt.trimEnd().endsWith(tags.close)
  const grammar = plan.grammar(tags && { tags, isOpened, isClosed })
  const thoughts = tags && { tags, isOpened }
  return { prompt, isOfTemplate: true, parts: { thoughts, shown, grammar } }
}

/** Effort is an argument of few templates: others know whether to think, or nothing of it. */
function argumentsFor(
  templates: string,
  given: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const { reasoning_effort: effort, ...others } = given
  if (effort === undefined || /\breasoning_effort\b/.test(templates)) return given
  if (effort === 'medium') return others
  if (effort !== 'none') return given
  if (/\benable_thinking\b/.test(templates)) return { enable_thinking: false, ...others }
  return reasoningTags(templates, undefined) ? given : others
}

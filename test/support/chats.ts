// What tests of chats share: prompts as the engine gets them, and templates of their own.

import { vi } from 'vitest'
import { PLAIN_CHAT_TEMPLATE, type Model } from '../../lib/index.js'

export const PLAIN = { template: PLAIN_CHAT_TEMPLATE }

/** The prompts that a model runs from now on, the newest last. */
export function recordPrompts(model: Model): number[][] {
  const prompts: number[][] = []
  const { engine } = model
  const open = engine.open.bind(engine)
  vi.spyOn(engine, 'open').mockImplementation((operation, options) => {
    prompts.push([...options.history])
    return open(operation, options)
  })
  return prompts
}

/** A turn for each message: `<role>content;`, with what `content` makes of it. */
export const lineTemplate = (content = 'message.content') =>
  `{% for message in messages %}<{{ message.role }}>{{ ${content} }};{% endfor %}` +
  '{% if add_generation_prompt %}<assistant>{% endif %}'

/** As templates of models that think: earlier thoughts are dropped, and none are wanted without `enable_thinking`. */
export const THINKING_TEMPLATE =
  '{%- for message in messages %}[{{ message.role }}]' +
  "{%- if message.role == 'assistant' and message.reasoning_content and loop.last %}" +
  '<think>{{ message.reasoning_content }}</think>{% endif %}' +
  '{{- message.content }};{% endfor %}' +
  '{%- if add_generation_prompt %}[assistant]' +
  '{%- if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}' +
  '{%- endif %}'

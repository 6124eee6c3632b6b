// POST /v1/chat/completions

import { opensReasoning, reasoningTags } from '../generation/reasoning.js'
import type { GenerateResult, TextChunk } from '../generation/generate.js'
import type { Model } from '../model.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import type { AskedPrompt } from './answers.js'
import { type ChatRequest, chatRequest } from './chat-request.js'
import type { Exchange } from './exchange.js'
import { Fields } from './fields.js'
import { chatLogprob } from './logprobs.js'
import { answerTexts, newId, type ReplyForm } from './reply.js'
import { readJsonBody } from './json-body.js'
import { checkModelName } from './serving.js'

export async function chatRoute(exchange: Exchange): Promise<void> {
  const { request, serving } = exchange
  const { settings, model: served } = serving
  const fields = new Fields(await readJsonBody(request, settings.maxBody))
  checkModelName(fields.string('model'), serving)
  await served.use(async (model) => {
    const { maxTokens } = settings
    const { generationDefaults } = model
    const asked = chatRequest(fields, { maxTokens, generationDefaults })
    await answerTexts(exchange, model, {
      operation: 'chat',
      request: asked,
      choices: asked.n,
      prompts: async () => [await promptOf(model, asked)],
      form: new ChatForm(model.tokenizer!, asked),
    })
  })
}

/** The prompt that the model's template makes of the conversation. */
export async function promptOf(
  model: Model,
  { messages, templateArguments }: Pick<ChatRequest, 'messages' | 'templateArguments'>,
): Promise<AskedPrompt> {
  const prompt = await model.applyChatTemplate(messages, {
    ...templateArguments,
    addGenerationPrompt: true,
  })
  const tags = reasoningTags(model.chatTemplate!.text, model.tokenizer)
  const thoughts = tags && { tags, isOpened: opensReasoning(prompt, tags) }
  return { prompt, isOfTemplate: true, thoughts }
}

/** Chats as OpenAI's API writes them. */
class ChatForm implements ReplyForm {
  readonly id = newId('chatcmpl')
  readonly objects = { whole: 'chat.completion', chunk: 'chat.completion.chunk' }
  readonly #tokenizer: Tokenizer
  readonly #logprobs: boolean

  constructor(tokenizer: Tokenizer, { logprobs }: ChatRequest) {
    this.#tokenizer = tokenizer
    this.#logprobs = logprobs
  }

  choice(index: number, result: GenerateResult): object {
    const { text, reasoning, tokens, logprobs, finishReason } = result
    const content = logprobs?.map((report, i) => chatLogprob(this.#tokenizer, tokens[i]!, report))
    return {
      index,
      message: {
        role: 'assistant',
        content: text,
        ...(reasoning && { reasoning_content: reasoning }),
        refusal: null,
      },
      logprobs: content ? { content, refusal: null } : null,
      finish_reason: finishReason,
    }
  }

  begin(index: number): object {
    const delta = { role: 'assistant', content: '', refusal: null }
    return { index, delta, logprobs: null, finish_reason: null }
  }

  chunk(
    index: number,
    { text, reasoning, token, logprob, topLogprobs }: TextChunk,
  ): object | undefined {
    const hasLogprob = this.#logprobs && token !== undefined && logprob !== undefined
    if (text === '' && !reasoning && !hasLogprob) return undefined
    const content = hasLogprob
      ? [chatLogprob(this.#tokenizer, token, { logprob, topLogprobs: topLogprobs ?? [] })]
      : undefined
    return {
      index,
      delta: {
        ...(reasoning && { reasoning_content: reasoning }),
        ...((text !== '' || !reasoning) && { content: text }),
      },
      logprobs: content ? { content, refusal: null } : null,
      finish_reason: null,
    }
  }

  end(index: number, { finishReason }: GenerateResult): object {
    return { index, delta: {}, logprobs: null, finish_reason: finishReason }
  }
}

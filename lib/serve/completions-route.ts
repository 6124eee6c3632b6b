// POST /v1/completions

import type { GenerateResult, TextChunk } from '../generation/generate.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { type CompletionRequest, completionRequest } from './completion-request.js'
import type { Exchange } from './exchange.js'
import { Fields } from './fields.js'
import { CompletionLogprobs } from './logprobs.js'
import { answerTexts, newId, type ReplyForm } from './reply.js'
import { readJsonBody } from './json-body.js'
import { checkModelName } from './serving.js'

export async function completionsRoute(exchange: Exchange): Promise<void> {
  const { request, serving } = exchange
  const { settings, model: served } = serving
  const fields = new Fields(await readJsonBody(request, settings.maxBody))
  checkModelName(fields.string('model'), serving)
  await served.use(async (model) => {
    const { maxTokens } = settings
    const { generationDefaults } = model
    const asked = completionRequest(fields, { maxTokens, generationDefaults })
    await answerTexts(exchange, model, {
      operation: 'completions',
      request: asked,
      choices: asked.n * asked.prompts.length,
      prompts: async () => asked.prompts.map((prompt) => ({ prompt })),
      form: new CompletionForm(model.tokenizer!, asked),
    })
  })
}

/** Completions as OpenAI's API writes them. */
class CompletionForm implements ReplyForm {
  readonly id = newId('cmpl')
  readonly objects = { whole: 'text_completion', chunk: 'text_completion' }
  readonly #tokenizer: Tokenizer
  readonly #logprobs: boolean
  /** Characters of each text that were sent. */
  readonly #sent: number[] = []

  constructor(tokenizer: Tokenizer, { logprobs }: CompletionRequest) {
    this.#tokenizer = tokenizer
    this.#logprobs = logprobs
  }

  choice(index: number, { text, tokens, logprobs, finishReason }: GenerateResult): object {
    const all = new CompletionLogprobs()
    let offset = 0
    logprobs?.forEach((report, i) => {
      all.add(this.#tokenizer, tokens[i]!, report, offset)
      offset += all.tokens[i]!.length
    })
    return { index, text, logprobs: logprobs ? all : null, finish_reason: finishReason }
  }

  begin(): undefined {
    return undefined
  }

  chunk(index: number, { text, token, logprob, topLogprobs }: TextChunk): object | undefined {
    const hasLogprob = this.#logprobs && token !== undefined && logprob !== undefined
    if (text === '' && !hasLogprob) return undefined
    const logprobs = hasLogprob ? new CompletionLogprobs() : null
    const offset = this.#sent[index] ?? 0
    logprobs?.add(
      this.#tokenizer,
      token!,
      { logprob: logprob!, topLogprobs: topLogprobs ?? [] },
      offset,
    )
    this.#sent[index] = offset + (logprobs ? logprobs.tokens[0]!.length : text.length)
    return { index, text, logprobs, finish_reason: null }
  }

  end(index: number, { finishReason }: GenerateResult): object[] {
    return [{ index, text: '', logprobs: null, finish_reason: finishReason }]
  }
}

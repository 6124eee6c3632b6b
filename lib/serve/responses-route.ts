// POST /v1/responses

import { randomUUID } from 'node:crypto'
import type { GenerateResult, TextChunk } from '../generation/generate.js'
import { type AnswerListener, answers } from './answers.js'
import { chatPrompt } from './chat-prompt.js'
import { EventStream } from './event-stream.js'
import { type Exchange, sendJson } from './exchange.js'
import { Fields } from './fields.js'
import { readJsonBody } from './json-body.js'
import { ResponseOutput } from './response-output.js'
import { type ResponsesRequest, responsesRequest } from './responses-request.js'
import { checkModelName } from './serving.js'
import { type AddedParts, AnswerParts } from './tools/answer-parts.js'
import { type ToolPlan, toolPlan } from './tools/tool-plan.js'
import { timingsOf, usageOf } from './usage.js'

export async function responsesRoute(exchange: Exchange): Promise<void> {
  const { request, response, serving, controller } = exchange
  const { settings, model: served } = serving
  const fields = new Fields(await readJsonBody(request, settings.maxBody))
  checkModelName(fields.string('model'), serving)
  await served.use(async (model) => {
    const { maxTokens } = settings
    const { generationDefaults } = model
    const asked = responsesRequest(fields, { maxTokens, generationDefaults })
    const { messages, templateArguments, options } = asked
    const plan = toolPlan(model, asked.tools, options.responseFormat)
    const leave = serving.gate.enter(1)
    try {
      const prompt = await chatPrompt(model, { messages, templateArguments, plan })
      const reply = new ResponseReply(exchange, asked, plan)
      const all = {
        operation: 'responses',
        n: 1,
        options,
        controller,
      }
      const [results] = await answers(model, [prompt], all, asked.stream ? reply : undefined)
      const [result] = results!
      serving.metrics.countText(result!, true)
      if (!asked.stream) sendJson(response, 200, reply.whole(result!))
    } finally {
      leave()
    }
  })
}

class ResponseReply implements AnswerListener {
  readonly #exchange: Exchange
  readonly #asked: ResponsesRequest
  readonly #parts: AnswerParts
  readonly #output = new ResponseOutput()
  readonly #id = `resp_${randomUUID().replaceAll('-', '')}`
  readonly #created = Math.floor(Date.now() / 1000)
  #sequence = 0
  #events: EventStream | undefined

  constructor(exchange: Exchange, asked: ResponsesRequest, plan: ToolPlan) {
    this.#exchange = exchange
    this.#asked = asked
    this.#parts = new AnswerParts(plan)
  }

  /** The answer to who does not stream. */
  whole(result: GenerateResult): object {
    this.#add(this.#parts.push(result))
    this.#end(result)
    return this.#response(result)
  }

  async onChunk(_: number, chunk: TextChunk): Promise<void> {
    await this.#begin()
    await this.#send(this.#add(this.#parts.push(chunk)))
  }

  async onEnd(_: number, result: GenerateResult): Promise<void> {
    await this.#begin()
    await this.#send(this.#end(result))
    const response = this.#response(result)
    const isWhole = result.finishReason !== 'length'
    await this.#send([{ type: isWhole ? 'response.completed' : 'response.incomplete', response }])
    this.#events!.end()
  }

  #add({ text, reasoning, calls }: AddedParts) {
    return [
      ...this.#output.add('reasoning', reasoning),
      ...this.#output.add('message', text),
      ...calls.flatMap((call) => this.#output.call(call)),
    ]
  }

  #end({ finishReason }: GenerateResult) {
    const rest = this.#add(this.#parts.flush())
    return [...rest, ...this.#output.close(finishReason === 'length' ? 'incomplete' : 'completed')]
  }

  async #begin(): Promise<void> {
    if (this.#events) return
    const { response, serving, controller } = this.#exchange
    this.#events = new EventStream(response, {
      signal: controller.signal,
      idleMs: 1000 * serving.settings.idleTimeout,
    })
    const begun = this.#response(undefined)
    await this.#send([
      { type: 'response.created', response: begun },
      { type: 'response.in_progress', response: begun },
    ])
  }

  async #send(events: readonly Record<string, unknown>[]): Promise<void> {
    for (const { type, ...rest } of events) {
      const event = { type, sequence_number: this.#sequence++, ...rest }
      await this.#events!.send(event, type as string)
    }
  }

  /** Without a result: it has only begun. */
  #response(result: GenerateResult | undefined): object {
    const isCut = result?.finishReason === 'length'
    return {
      id: this.#id,
      object: 'response',
      created_at: this.#created,
      status: result ? (isCut ? 'incomplete' : 'completed') : 'in_progress',
      error: null,
      incomplete_details: isCut ? { reason: 'max_output_tokens' } : null,
      model: this.#exchange.serving.name,
      output: this.#output.items,
      previous_response_id: null,
      reasoning: { effort: this.#asked.templateArguments.reasoning_effort ?? null, summary: null },
      store: false,
      truncation: 'disabled',
      ...this.#asked.echoed,
      usage: result ? responseUsage(result) : null,
      ...(result && { timings: timingsOf(result) }),
    }
  }
}

function responseUsage(result: GenerateResult): object {
  const { prompt_tokens, completion_tokens, total_tokens, ...details } = usageOf([[result]])
  return {
    input_tokens: prompt_tokens,
    input_tokens_details: details.prompt_tokens_details,
    output_tokens: completion_tokens,
    output_tokens_details: details.completion_tokens_details,
    total_tokens,
  }
}

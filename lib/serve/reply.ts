// Answers of texts: whole, or as events.

import { randomUUID } from 'node:crypto'
import type { GenerateResult, TextChunk } from '../generation/generate.js'
import type { Model } from '../model.js'
import { answers, type AskedPrompt, runsOf } from './answers.js'
import { EventStream } from './event-stream.js'
import { type Exchange, sendJson } from './exchange.js'
import type { GenerationRequest } from './generation-fields.js'
import { timingsOf, usageOf } from './usage.js'

/** How an endpoint writes texts, each a choice. */
export interface ReplyForm {
  readonly id: string
  readonly objects: { readonly whole: string; readonly chunk: string }
  choice(index: number, result: GenerateResult): object
  /** What comes before the first chunk of a text. */
  begin(index: number): object | undefined
  /** Undefined for a chunk that adds nothing yet. */
  chunk(index: number, chunk: TextChunk): object | undefined
  /** What comes after the last chunk of a text; the last of them says why it ended. */
  end(index: number, result: GenerateResult): object[]
}

interface Asked {
  readonly operation: string
  readonly request: GenerationRequest
  /** Texts in all. */
  readonly choices: number
  /** Made when there is a place for them. */
  prompts(): Promise<readonly AskedPrompt[]>
  readonly form: ReplyForm
}

/** @example newId('cmpl') // 'cmpl-0f...' */
export const newId = (kind: string) => `${kind}-${randomUUID().replaceAll('-', '')}`

/** Runs the texts and sends them. */
export async function answerTexts(exchange: Exchange, model: Model, asked: Asked): Promise<void> {
  const { response, serving, controller } = exchange
  const { operation, request, choices, form } = asked
  const { n, options, stream } = request
  const runs = runsOf(n, options)
  const leave = serving.gate.enter((choices / n) * runs)
  try {
    const prompts = await asked.prompts()
    const reply = new Reply(exchange, asked)
    const listener = stream ? reply : undefined
    const results = await answers(model, prompts, { operation, n, options, controller }, listener)
    for (const texts of results) {
      const generated = texts.slice(0, runs)
      for (const [i, result] of generated.entries()) serving.metrics.countText(result, i === 0)
    }
    if (stream) return await reply.end(results)
    sendJson(response, 200, {
      ...reply.envelope(form.objects.whole),
      choices: results.flat().map((result, index) => form.choice(index, result)),
      usage: usageOf(results),
      ...(choices === 1 && { timings: timingsOf(results[0]![0]!) }),
    })
  } finally {
    leave()
  }
}

/** The events of an answer. Nothing is sent before the first text has begun: what fails until then has a status. */
class Reply {
  readonly #exchange: Exchange
  readonly #asked: Asked
  readonly #created = Math.floor(Date.now() / 1000)
  readonly #begun = new Set<number>()
  #events: EventStream | undefined

  constructor(exchange: Exchange, asked: Asked) {
    this.#exchange = exchange
    this.#asked = asked
  }

  envelope(object: string): object {
    const { id } = this.#asked.form
    return { id, object, created: this.#created, model: this.#exchange.serving.name }
  }

  async onChunk(index: number, chunk: TextChunk, partial: GenerateResult): Promise<void> {
    const { form, choices, request } = this.#asked
    const choice = form.chunk(index, chunk)
    await this.#begin(index)
    const isTimed = request.timingsPerToken && choices === 1
    if (choice) await this.#send([choice], isTimed ? { timings: timingsOf(partial) } : {})
  }

  async onEnd(index: number, result: GenerateResult): Promise<void> {
    await this.#begin(index)
    const more = this.#asked.choices === 1 ? { timings: timingsOf(result) } : {}
    const choices = this.#asked.form.end(index, result)
    for (const choice of choices.slice(0, -1)) await this.#send([choice])
    await this.#send(choices.slice(-1), more)
  }

  async end(results: readonly (readonly GenerateResult[])[]): Promise<void> {
    if (this.#asked.request.includeUsage) await this.#send([], { usage: usageOf(results) })
    const events = this.#opened()
    await events.send('[DONE]')
    events.end()
  }

  async #begin(index: number): Promise<void> {
    if (this.#begun.has(index)) return
    this.#begun.add(index)
    const choice = this.#asked.form.begin(index)
    if (choice) await this.#send([choice])
  }

  #send(choices: readonly object[], more: object = {}): Promise<void> {
    const { form, request } = this.#asked
    return this.#opened().send({
      ...this.envelope(form.objects.chunk),
      choices,
      ...(request.includeUsage && { usage: null }),
      ...more,
    })
  }

  #opened(): EventStream {
    const { response, serving, controller } = this.#exchange
    this.#events ??= new EventStream(response, {
      signal: controller.signal,
      idleMs: 1000 * serving.settings.idleTimeout,
    })
    return this.#events
  }
}

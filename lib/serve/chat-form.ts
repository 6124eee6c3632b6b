// Chats as OpenAI's API writes them.

import { randomUUID } from 'node:crypto'
import type { GenerateResult, TextChunk } from '../generation/generate.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { chatLogprob } from './logprobs.js'
import { newId, type ReplyForm } from './reply.js'
import { type AddedParts, AnswerParts, partsOfWhole } from './tools/answer-parts.js'
import type { WrittenCall } from './tools/call.js'
import type { ToolPlan } from './tools/tool-plan.js'

/** A text that is streamed. */
interface Streamed {
  readonly parts: AnswerParts
  calls: number
}

export class ChatForm implements ReplyForm {
  readonly id = newId('chatcmpl')
  readonly objects = { whole: 'chat.completion', chunk: 'chat.completion.chunk' }
  readonly #tokenizer: Tokenizer
  readonly #logprobs: boolean
  readonly #plan: ToolPlan
  readonly #streamed = new Map<number, Streamed>()

  constructor(tokenizer: Tokenizer, { logprobs, plan }: { logprobs: boolean; plan: ToolPlan }) {
    this.#tokenizer = tokenizer
    this.#logprobs = logprobs
    this.#plan = plan
  }

  choice(index: number, result: GenerateResult): object {
    const { tokens, logprobs } = result
    const { text, reasoning, calls, finishReason } = partsOfWhole(result, this.#plan)
    const content = logprobs?.map((report, i) => chatLogprob(this.#tokenizer, tokens[i]!, report))
    return {
      index,
      message: {
        role: 'assistant',
        content: text === '' && calls.length > 0 ? null : text,
        ...(reasoning && { reasoning_content: reasoning }),
        refusal: null,
        ...(calls.length > 0 && { tool_calls: calls.map(toolCall) }),
      },
      logprobs: content ? { content, refusal: null } : null,
      finish_reason: finishReason,
    }
  }

  begin(index: number): object {
    const delta = { role: 'assistant', content: '', refusal: null }
    return { index, delta, logprobs: null, finish_reason: null }
  }

  chunk(index: number, chunk: TextChunk): object | undefined {
    const { token, logprob, topLogprobs } = chunk
    const stream = this.#streamOf(index)
    const delta = deltaOf(stream, stream.parts.push(chunk))
    const content =
      this.#logprobs && token !== undefined && logprob !== undefined
        ? [chatLogprob(this.#tokenizer, token, { logprob, topLogprobs: topLogprobs ?? [] })]
        : undefined
    if (!delta && !content) return undefined
    return {
      index,
      delta: delta ?? { content: '' },
      logprobs: content ? { content, refusal: null } : null,
      finish_reason: null,
    }
  }

  end(index: number, result: GenerateResult): object[] {
    const stream = this.#streamOf(index)
    const rest = deltaOf(stream, stream.parts.flush())
    const reason = stream.parts.finishReason(result)
    const last = { index, delta: {}, logprobs: null, finish_reason: reason }
    return rest ? [{ ...last, delta: rest, finish_reason: null }, last] : [last]
  }

  #streamOf(index: number): Streamed {
    const known = this.#streamed.get(index)
    if (known) return known
    const begun = { parts: new AnswerParts(this.#plan), calls: 0 }
    this.#streamed.set(index, begun)
    return begun
  }
}

/** Undefined for what adds nothing. A call comes as a whole. */
function deltaOf(stream: Streamed, { text, reasoning, calls }: AddedParts): object | undefined {
  if (text === '' && reasoning === '' && calls.length === 0) return undefined
  const first = stream.calls
  stream.calls += calls.length
  return {
    ...(reasoning !== '' && { reasoning_content: reasoning }),
    ...(text !== '' && { content: text }),
    ...(calls.length > 0 && {
      tool_calls: calls.map((call, i) => ({ index: first + i, ...toolCall(call) })),
    }),
  }
}

function toolCall({ name, arguments: given }: WrittenCall) {
  const id = `call_${randomUUID().replaceAll('-', '').slice(0, 24)}`
  return { id, type: 'function', function: { name, arguments: JSON.stringify(given) } }
}

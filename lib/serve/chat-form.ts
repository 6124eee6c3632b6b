// Chats as OpenAI's API writes them.

import { randomUUID } from 'node:crypto'
import type { GenerateResult, TextChunk } from '../generation/generate.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { chatLogprob } from './logprobs.js'
import { newId, type ReplyForm } from './reply.js'
import type { CallSplitter, SplitCalls } from './tools/call-splitter.js'
import type { WrittenCall } from './tools/call.js'
import type { ToolPlan } from './tools/tool-plan.js'

/** A text that is streamed. */
interface Streamed {
  readonly splitter: CallSplitter | undefined
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
    const { reasoning, tokens, logprobs } = result
    const { text, calls } = splitWhole(result.text, this.#plan)
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
      finish_reason: finishReason(result, calls.length),
    }
  }

  begin(index: number): object {
    const delta = { role: 'assistant', content: '', refusal: null }
    return { index, delta, logprobs: null, finish_reason: null }
  }

  chunk(index: number, chunk: TextChunk): object | undefined {
    const { text, reasoning, token, logprob, topLogprobs } = chunk
    const { splitter } = this.#streamOf(index)
    const split = splitter ? splitter.push(text) : { text, calls: [] }
    const delta = this.#delta(index, split, reasoning)
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
    const rest = stream.splitter && this.#delta(index, stream.splitter.flush(), undefined)
    const reason = finishReason(result, stream.calls)
    const last = { index, delta: {}, logprobs: null, finish_reason: reason }
    return rest ? [{ ...last, delta: rest, finish_reason: null }, last] : [last]
  }

  #streamOf(index: number): Streamed {
    const known = this.#streamed.get(index)
    if (known) return known
    const begun = { splitter: this.#plan.splitter(), calls: 0 }
    this.#streamed.set(index, begun)
    return begun
  }

  /** Undefined for what adds nothing. A call comes as a whole. */
  #delta(index: number, split: SplitCalls, reasoning: string | undefined): object | undefined {
    const stream = this.#streamOf(index)
    const first = stream.calls
    const calls = this.#plan.isParallel ? split.calls : split.calls.slice(0, first === 0 ? 1 : 0)
    if (split.text === '' && !reasoning && calls.length === 0) return undefined
    stream.calls += calls.length
    return {
      ...(reasoning && { reasoning_content: reasoning }),
      ...(split.text !== '' && { content: split.text }),
      ...(calls.length > 0 && {
        tool_calls: calls.map((call, i) => ({ index: first + i, ...toolCall(call) })),
      }),
    }
  }
}

/** The calls of a whole text, and what else there is of it. */
function splitWhole(text: string, { splitter, isParallel }: ToolPlan): SplitCalls {
  const parts = splitter()
  if (!parts) return { text, calls: [] }
  const [first, rest] = [parts.push(text), parts.flush()]
  const calls = [...first.calls, ...rest.calls]
  return { text: first.text + rest.text, calls: isParallel ? calls : calls.slice(0, 1) }
}

function toolCall({ name, arguments: given }: WrittenCall) {
  const id = `call_${randomUUID().replaceAll('-', '').slice(0, 24)}`
  return { id, type: 'function', function: { name, arguments: JSON.stringify(given) } }
}

function finishReason(result: GenerateResult, calls: number): string {
  return calls > 0 && result.finishReason === 'stop' ? 'tool_calls' : result.finishReason
}

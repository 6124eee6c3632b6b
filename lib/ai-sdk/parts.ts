// Answers as the AI SDK takes them: whole, and as the parts of a stream.

import { randomUUID } from 'node:crypto'
import type { FinishReason, GenerateResult } from '../generation/generate.js'
import type { AddedParts } from '../serve/tools/answer-parts.js'
import type { WrittenCall } from '../serve/tools/call.js'
import type { CallFinish, Content, StreamPart, ToolCallPart } from './specification.js'

/** The content of a whole answer: thoughts, text, calls. */
export function contentOf({ reasoning, text, calls }: AddedParts): Content[] {
  return [
    ...(reasoning === '' ? [] : [{ type: 'reasoning', text: reasoning } as const]),
    ...(text === '' ? [] : [{ type: 'text', text } as const]),
    ...calls.map(toolCallPart),
  ]
}

/** How an answer ended, and what it has cost. */
export function finishOf(
  result: GenerateResult,
  reason: FinishReason | 'tool_calls' | 'error',
): CallFinish {
  const { promptTokens, cachedTokens, completionTokens, reasoningTokens = 0 } = result.usage
  const unified = reason === 'tool_calls' ? 'tool-calls' : reason === 'abort' ? 'other' : reason
  return {
    finishReason: { unified, raw: result.finishReason },
    usage: {
      inputTokens: {
        total: promptTokens,
        noCache: promptTokens - cachedTokens,
        cacheRead: cachedTokens,
        cacheWrite: undefined,
      },
      outputTokens: {
        total: completionTokens,
        text: completionTokens - reasoningTokens,
        reasoning: reasoningTokens,
      },
    },
    providerMetadata: { ssmMetal: { seed: result.seed, timings: { ...result.timings } } },
  }
}

/**
 * Blocks of text and of thoughts, one open at a time. Each method returns the parts of what it adds.
 *
 * @example
 * const blocks = new StreamBlocks()
 * blocks.add({ reasoning: '', text: 'Hello', calls: [] }) // text-start, text-delta
 * blocks.close() // text-end
 */
export class StreamBlocks {
  #open: { type: 'text' | 'reasoning'; id: string } | undefined
  #count = 0

  add({ reasoning, text, calls }: AddedParts): StreamPart[] {
    return [
      ...this.#grow('reasoning', reasoning),
      ...this.#grow('text', text),
      ...calls.flatMap((call) => [...this.close(), ...toolCallParts(call)]),
    ]
  }

  close(): StreamPart[] {
    if (!this.#open) return []
    const { type, id } = this.#open
    this.#open = undefined
    return [{ type: `${type}-end`, id }]
  }

  #grow(type: 'text' | 'reasoning', delta: string): StreamPart[] {
    if (delta === '') return []
    const begun: StreamPart[] = []
    if (this.#open?.type !== type) {
      begun.push(...this.close())
      this.#open = { type, id: String(this.#count++) }
      begun.push({ type: `${type}-start`, id: this.#open.id })
    }
    return [...begun, { type: `${type}-delta`, id: this.#open.id, delta }]
  }
}

function toolCallPart({ name, arguments: given }: WrittenCall): ToolCallPart {
  const toolCallId = `call_${randomUUID().replaceAll('-', '').slice(0, 24)}`
  return { type: 'tool-call', toolCallId, toolName: name, input: JSON.stringify(given) }
}

// A call comes as a whole.
function toolCallParts(call: WrittenCall): StreamPart[] {
  const part = toolCallPart(call)
  const { toolCallId: id, toolName, input } = part
  return [
    { type: 'tool-input-start', id, toolName },
    { type: 'tool-input-delta', id, delta: input },
    { type: 'tool-input-end', id },
    part,
  ]
}

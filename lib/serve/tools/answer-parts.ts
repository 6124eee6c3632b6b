// The parts of an answer, as its text arrives: thoughts, text, and calls of tools.

import type { FinishReason, GenerateResult } from '../../generation/generate.js'
import type { CallSplitter, SplitCalls } from './call-splitter.js'
import type { WrittenCall } from './call.js'
import type { ToolPlan } from './tool-plan.js'

export interface AddedParts {
  readonly reasoning: string
  readonly text: string
  readonly calls: readonly WrittenCall[]
}

/**
 * @example
 * const parts = new AnswerParts(plan)
 * for await (const chunk of stream) parts.push(chunk) // { reasoning: '', text: 'I look.', calls: [] }
 * parts.flush()
 * parts.finishReason(await stream.result) // 'tool_calls'
 */
export class AnswerParts {
  readonly #isParallel: boolean
  readonly #splitter: CallSplitter | undefined
  #calls = 0

  constructor({ splitter, isParallel }: Pick<ToolPlan, 'splitter' | 'isParallel'>) {
    this.#splitter = splitter()
    this.#isParallel = isParallel
  }

  /** What a piece of the answer adds: text that may be the beginning of a call is held back. */
  push({ text, reasoning = '' }: Pick<GenerateResult, 'text' | 'reasoning'>): AddedParts {
    return this.#added(this.#splitter?.push(text) ?? { text, calls: [] }, reasoning)
  }

  /** What is still held back, at the end. */
  flush(): AddedParts {
    return this.#added(this.#splitter?.flush() ?? { text: '', calls: [] }, '')
  }

  /** Why the answer ended, once it has. */
  finishReason({
    finishReason,
  }: Pick<GenerateResult, 'finishReason'>): FinishReason | 'tool_calls' {
    return this.#calls > 0 && finishReason === 'stop' ? 'tool_calls' : finishReason
  }

  #added({ text, calls }: SplitCalls, reasoning: string): AddedParts {
    const kept = this.#isParallel ? calls : calls.slice(0, this.#calls === 0 ? 1 : 0)
    this.#calls += kept.length
    return { reasoning, text, calls: kept }
  }
}

/** The parts of a whole answer, and why it ended. */
export function partsOfWhole(
  result: GenerateResult,
  plan: Pick<ToolPlan, 'splitter' | 'isParallel'>,
): AddedParts & { readonly finishReason: FinishReason | 'tool_calls' } {
  const parts = new AnswerParts(plan)
  const [first, rest] = [parts.push(result), parts.flush()]
  return {
    reasoning: first.reasoning,
    text: first.text + rest.text,
    calls: [...first.calls, ...rest.calls],
    finishReason: parts.finishReason(result),
  }
}

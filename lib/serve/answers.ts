// The texts that a request asks for, run together: when one fails, or the client goes away, all end.

import type { GenerateResult, TextChunk, TextParts } from '../generation/generate.js'
import type { SampleStreams } from '../generation/samples.js'
import type { TextStream } from '../generation/text-stream.js'
import type { Model } from '../model.js'
import type { GenerateOptions, Prompt } from '../options/generation.js'
import type { PromptResults } from './usage.js'

/** A prompt, and what the model's template says of it. */
export interface AskedPrompt {
  readonly prompt: Prompt
  /** A chat template has written its special tokens. */
  readonly isOfTemplate?: boolean | undefined
  readonly parts?: TextParts | undefined
}

export interface AnswersOptions {
  /** What errors lead with. */
  readonly operation: string
  /** Texts of each prompt. */
  readonly n: number
  readonly options: GenerateOptions
  /** Ends all of them. */
  readonly controller: AbortController
}

/** Who is told what comes, by the index of the text among all. */
export interface AnswerListener {
  /** `partial`: what there is so far of the text. */
  onChunk(index: number, chunk: TextChunk, partial: GenerateResult): Promise<void>
  onEnd(index: number, result: GenerateResult): Promise<void>
}

/**
 * Runs `n` texts for each prompt and resolves with their results, prompt by prompt. With a listener no text is
 * further ahead of it than the engine allows.
 *
 * @throws what the first one that fails throws, when all have ended.
 * @example const [[result]] = await answers(model, [{ prompt }], { operation: 'chat', n: 1, options, controller })
 */
export async function answers(
  model: Model,
  prompts: readonly AskedPrompt[],
  { operation, n, options, controller }: AnswersOptions,
  listener?: AnswerListener,
): Promise<PromptResults[]> {
  const { signal } = controller
  const runs = runsOf(n, options)
  const groups: SampleStreams[] = []
  try {
    for (const { prompt, isOfTemplate, parts } of prompts) {
      const asked = {
        ...options,
        n: runs,
        signal,
        ...(isOfTemplate && { addSpecialTokens: false }),
      }
      groups.push(await model.sampleStreams(operation, prompt, asked, parts))
    }
    const running = groups.map(async (group, place) => {
      const texts = group.streams.map(async (stream, i) => {
        try {
          const indices = Array.from({ length: n / runs }, (_, copy) => place * n + i + copy)
          return await read(stream, indices, listener)
        } catch (error) {
          if (i === 0) group.fail(error)
          controller.abort(error)
          throw error
        }
      })
      return allEnded(texts)
    })
    const results = await allEnded(running)
    if (runs === n) return results
    return results.map(([result]) => Array.from({ length: n }, () => result!))
  } finally {
    for (const group of groups) group[Symbol.dispose]()
  }
}

/**
 * How many of `n` texts have to be generated: at temperature 0 one, which is all of them.
 *
 * @example runsOf(3, { temperature: 0 }) // 1
 */
export const runsOf = (n: number, { temperature }: GenerateOptions) => (temperature === 0 ? 1 : n)

/** `indices`: of the texts that it is. */
async function read(
  stream: TextStream,
  indices: readonly number[],
  listener: AnswerListener | undefined,
): Promise<GenerateResult> {
  if (!listener) return stream.resultAlone()
  for await (const chunk of stream) {
    for (const index of indices) await listener.onChunk(index, chunk, stream.partial)
  }
  const result = await stream.result
  for (const index of indices) await listener.onEnd(index, result)
  return result
}

/** The values of all, when all have settled; rejects as the first one that did. */
async function allEnded<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises)
  return Promise.all(promises)
}

// A model as the AI SDK calls it.

import type { TextStream } from '../generation/text-stream.js'
import type { Model } from '../model.js'
import { ApiError } from '../serve/api-error.js'
import { chatPrompt } from '../serve/chat-prompt.js'
import { AnswerParts, partsOfWhole } from '../serve/tools/answer-parts.js'
import { type ToolPlan, toolPlan } from '../serve/tools/tool-plan.js'
import { UnsupportedFunctionalityError } from './errors.js'
import { chatMessages } from './messages.js'
import { contentOf, finishOf, StreamBlocks } from './parts.js'
import { callSettings } from './settings.js'
import type {
  CallOptions,
  CallResult,
  PartStream,
  StreamPart,
  StreamResult,
  Warning,
} from './specification.js'
import { toolRequest } from './tools.js'

/** A text that has begun, and what its answer consists of. */
interface Begun {
  readonly stream: TextStream
  readonly plan: ToolPlan
  readonly warnings: Warning[]
  readonly signal: CallOptions['abortSignal']
  readonly request: { body: { prompt: string } }
}

/**
 * A language model by version 4 of the AI SDK's specification, to be given to `generateText`, `streamText` and their
 * like. Get it from a provider.
 *
 * @example const { text } = await generateText({ model: ssmMetal('./granite-4.0-h-1b'), prompt: 'Hello' })
 */
export class SsmMetalLanguageModel {
  readonly specificationVersion = 'v4'
  readonly provider = 'ssm-metal'
  readonly modelId: string
  /** Parts that are no text are refused: none of them is downloaded first. */
  readonly supportedUrls: Record<string, RegExp[]> = { '*/*': [/^/] }
  readonly #load: (signal: CallOptions['abortSignal']) => Promise<Model>

  /** @internal Use a provider. */
  constructor(modelId: string, load: (signal: CallOptions['abortSignal']) => Promise<Model>) {
    this.modelId = modelId
    this.#load = load
  }

  /** What `generateText` calls. */
  async doGenerate(call: CallOptions): Promise<CallResult> {
    const { stream, plan, warnings, request } = await this.#begin('doGenerate', call)
    const result = await stream.resultAlone()
    const parts = partsOfWhole(result, plan)
    return {
      content: contentOf(parts),
      ...finishOf(result, parts.finishReason),
      warnings,
      request,
    }
  }

  /** What `streamText` calls. What fails before the first token rejects; later failures are those of the stream. */
  async doStream(call: CallOptions): Promise<StreamResult> {
    const begun = await this.#begin('doStream', call)
    const first = await begun.stream.next()
    return { stream: partStream(begun, first), request: begun.request }
  }

  async #begin(operation: string, call: CallOptions): Promise<Begun> {
    const messages = chatMessages(call.prompt)
    const model = await this.#load(call.abortSignal)
    const warnings: Warning[] = []
    const settings = callSettings(operation, model, call, warnings)
    const { options, templateArguments, parallelToolCalls: isParallel } = settings
    const { responseFormat } = options
    const tools = toolRequest(operation, call, { responseFormat, isParallel }, warnings)
    return inOurWords(async () => {
      const plan = toolPlan(model, tools, responseFormat)
      const asked = await chatPrompt(model, { messages, templateArguments, plan })
      const all = { ...options, n: 1, addSpecialTokens: false }
      const group = await model.sampleStreams(operation, asked.prompt, all, asked.parts)
      const request = { body: { prompt: asked.prompt as string } }
      // One text shares its prompt with no other: there is nothing to dispose of.
      const stream = group.streams[0]!
      return { stream, plan, warnings, signal: options.signal, request }
    })
  }
}

/** The stream is at its reader's pace; who leaves it ends the text within a token. */
function partStream(
  { stream, plan, warnings, signal }: Begun,
  first: Awaited<ReturnType<TextStream['next']>>,
): PartStream {
  const parts = new AnswerParts(plan)
  const blocks = new StreamBlocks()
  let next: Promise<typeof first> | undefined = Promise.resolve(first)
  const finish = (): StreamPart[] => {
    const result = stream.partial
    const rest = [...blocks.add(parts.flush()), ...blocks.close()]
    return [...rest, { type: 'finish', ...finishOf(result, parts.finishReason(result)) }]
  }
  const failed = (error: unknown): StreamPart[] => [
    ...blocks.close(),
    { type: 'error', error },
    { type: 'finish', ...finishOf(stream.partial, 'error') },
  ]
  return new ReadableStream<StreamPart>(
    {
      start: (controller) => controller.enqueue({ type: 'stream-start', warnings }),
      async pull(controller) {
        const enqueue = (added: readonly StreamPart[]) => {
          for (const part of added) controller.enqueue(part)
          return added.length > 0
        }
        try {
          for (;;) {
            const { value, done } = await (next ?? stream.next())
            next = undefined
            if (done) break
            // Without a part it would not be called again.
            if (enqueue(blocks.add(parts.push(value)))) return
          }
          enqueue(finish())
        } catch (error) {
          // The SDK has a part of its own for what was aborted.
          if (signal?.aborted) throw error
          enqueue(failed(error))
        }
        controller.close()
      },
      cancel: async () => void (await stream.return()),
    },
    { highWaterMark: 0 },
  )
}

/** What a server would answer with 400. */
async function inOurWords<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    throw new UnsupportedFunctionalityError(error.param ?? 'prompt', error.message)
  }
}

// Held by `npm run check`: the provider and its models are what the AI SDK's own types ask for.

import type { LanguageModelV4, ProviderV4 } from '@ai-sdk/provider'
import type { LanguageModel } from 'ai'
import {
  createSsmMetal,
  type SsmMetalLanguageModel,
  type SsmMetalProvider,
} from '../../lib/ai-sdk/index.js'
import type {
  CallOptions,
  CallResult,
  StreamPart,
  StreamResult,
} from '../../lib/ai-sdk/specification.js'

type Given = Parameters<LanguageModelV4['doGenerate']>[0]
type Generated = Awaited<ReturnType<LanguageModelV4['doGenerate']>>
type Streamed = Awaited<ReturnType<LanguageModelV4['doStream']>>
type StreamedPart = Streamed['stream'] extends ReadableStream<infer Part> ? Part : never

/** Methods are compared both ways round: what they take and give is held on its own. */
export const asProvider: ProviderV4 = createSsmMetal()
export const asModel = (model: SsmMetalLanguageModel): LanguageModelV4 => model
export const asAnyModel = (provider: SsmMetalProvider): LanguageModel => provider()
export const options = (given: Given): CallOptions => given
export const result = (ours: CallResult): Generated => ours
export const stream = (ours: StreamResult): Streamed => ours
export const part = (ours: StreamPart): StreamedPart => ours

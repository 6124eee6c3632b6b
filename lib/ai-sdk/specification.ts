// The parts of the AI SDK's specification of language models, version 4, that this provider takes and gives. Written
// down here, so that the declarations of this package need none of the AI SDK's: TypeScript compares shapes, and a
// test holds these against those of `@ai-sdk/provider`.

import type { Signal } from '../support/abort.js'

export type Json = null | string | number | boolean | Json[] | JsonObject
export type JsonObject = { [key: string]: Json | undefined }

/** Options of one provider, by its name. */
export type ProviderOptions = Readonly<Record<string, Readonly<Record<string, unknown>>>>

/** What `generateText` and its like ask of a model. */
export interface CallOptions {
  prompt: readonly PromptMessage[]
  maxOutputTokens?: number | undefined
  temperature?: number | undefined
  stopSequences?: readonly string[] | undefined
  topP?: number | undefined
  topK?: number | undefined
  presencePenalty?: number | undefined
  frequencyPenalty?: number | undefined
  responseFormat?: { type: 'text' } | JsonFormat | undefined
  seed?: number | undefined
  tools?: readonly Tool[] | undefined
  toolChoice?:
    | { type: 'auto' | 'none' | 'required' }
    | { type: 'tool'; toolName: string }
    | undefined
  includeRawChunks?: boolean | undefined
  abortSignal?: Signal | undefined
  headers?: Readonly<Record<string, string | undefined>> | undefined
  reasoning?: string | undefined
  providerOptions?: ProviderOptions | undefined
}

export interface JsonFormat {
  type: 'json'
  schema?: object | undefined
  name?: string | undefined
  description?: string | undefined
}

export type Tool = FunctionTool | { type: 'provider'; id: string; name: string }

export interface FunctionTool {
  type: 'function'
  name: string
  description?: string | undefined
  inputSchema: object
  inputExamples?: readonly unknown[] | undefined
  strict?: boolean | undefined
}

export type PromptMessage =
  | { role: 'system'; content: string }
  | { role: 'user' | 'assistant' | 'tool'; content: readonly PromptPart[] }

/** Of the parts that are not taken only the type is looked at. */
export type PromptPart =
  | { type: 'text'; text: string }
  | { type: 'reasoning'; text: string }
  | { type: 'tool-call'; toolCallId: string; toolName: string; input: unknown }
  | { type: 'tool-result'; toolCallId: string; toolName: string; output: ToolOutput }
  | { type: 'file'; mediaType: string }
  | { type: 'reasoning-file' | 'custom' | 'tool-approval-response' }

export type ToolOutput =
  | { type: 'text' | 'error-text'; value: string }
  | { type: 'json' | 'error-json'; value: unknown }
  | { type: 'execution-denied'; reason?: string | undefined }
  | { type: 'content'; value: readonly ({ type: 'text'; text: string } | OtherOutput)[] }

export interface OtherOutput {
  type: 'file' | 'custom'
}

export type Warning =
  | { type: 'unsupported' | 'compatibility'; feature: string; details?: string }
  | { type: 'other'; message: string }

export interface CallUsage {
  inputTokens: {
    total: number
    noCache: number
    cacheRead: number
    cacheWrite: undefined
  }
  outputTokens: { total: number; text: number; reasoning: number }
}

export interface CallFinish {
  finishReason: { unified: 'stop' | 'length' | 'tool-calls' | 'error' | 'other'; raw: string }
  usage: CallUsage
  providerMetadata: Record<string, JsonObject>
}

export interface ToolCallPart {
  type: 'tool-call'
  toolCallId: string
  toolName: string
  /** JSON. */
  input: string
}

export type Content = { type: 'text' | 'reasoning'; text: string } | ToolCallPart

export interface CallResult extends CallFinish {
  content: Content[]
  warnings: Warning[]
  /** The prompt that the chat template has made. */
  request: { body: { prompt: string } }
}

export type StreamPart =
  | { type: 'stream-start'; warnings: Warning[] }
  | { type: 'text-start' | 'text-end' | 'reasoning-start' | 'reasoning-end'; id: string }
  | { type: 'text-delta' | 'reasoning-delta' | 'tool-input-delta'; id: string; delta: string }
  | { type: 'tool-input-start'; id: string; toolName: string }
  | { type: 'tool-input-end'; id: string }
  | ToolCallPart
  | { type: 'error'; error: unknown }
  | ({ type: 'finish' } & CallFinish)

/** The `ReadableStream` of whoever compiles: that of Node or of the DOM, which differ. */
export type PartStream = typeof globalThis extends { ReadableStream: { prototype: infer Stream } }
  ? Stream
  : AsyncIterable<StreamPart>

export interface StreamResult {
  stream: PartStream
  request: { body: { prompt: string } }
}

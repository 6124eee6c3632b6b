// The public interface: exports only.

// Symbol.dispose, for those who compile without it: nothing else that the declarations need is newer than ES2022.
/// <reference lib="esnext.disposable" preserve="true" />

import './support/disposable.js'

export type { Signal } from './support/abort.js'
export { measureReadBandwidth } from './bench/bandwidth.js'
export {
  type BenchReport,
  type BenchRow,
  bench,
} from './bench/bench.js'
export type { BenchModel } from './bench/model.js'
export type { BenchTest } from './bench/plan.js'
export { ChatTemplate, type SpecialTokens } from './chat/chat-template.js'
export type { ChatMessage, ContentPart, ToolCall } from './chat/messages.js'
export { Chat } from './chat/chat.js'
export { PLAIN_CHAT_TEMPLATE } from './chat/plain-template.js'
export { type Converted, convert } from './convert/convert.js'
export { createDevice } from './operations/create-device.js'
export { CommandList, Device, type DeviceMemory, type TuningSource } from './operations/device.js'
export type { DeviceName, DeviceOptions } from './operations/device-options.js'
export * from './support/errors.js'
export type {
  FinishReason,
  GenerateResult,
  TextChunk,
  Timings,
  Usage,
} from './generation/generate.js'
export type {
  GenerateOptions,
  LogitsOptions,
  Prompt,
  PromptOptions,
  SamplesOptions,
  SamplingOptions,
} from './options/generation.js'
export type { ResponseFormat } from './grammar/response-format.js'
export type { GenerationDefaults } from './generation/generation-config.js'
export { loadModel } from './load-model.js'
export type { BenchOptions, BenchProgress } from './options/bench.js'
export type { ChatOptions, ChatTemplateOptions } from './options/chat.js'
export type { ConvertOptions, ConvertProgress, ConvertQuantization } from './options/converting.js'
export type { LoadOptions, LoadProgress, PromptCacheOptions } from './options/loading.js'
export type { ClassifyOptions, PerplexityOptions, ScoreOptions } from './options/scoring.js'
export type {
  PrefillSessionOptions,
  SaveSessionOptions,
  ScoreSessionOptions,
} from './options/sessions.js'
export type { TuneOptions, TuneProgress } from './options/tune.js'
export type { TokenLogprob } from './engine/logprobs.js'
export type { Machine } from './machine/machine.js'
export { Model, type ModelMemory } from './model.js'
export type { PageMemory } from './engine/paged-cache.js'
export type { AttentionConfig } from './models/blocks/attention.js'
export type { LayerConfig } from './models/blocks/blocks.js'
export type { ExpertsConfig } from './models/blocks/experts.js'
export type { Mamba2Config } from './models/blocks/mamba2.js'
export type { MlpConfig } from './models/blocks/mlp.js'
export type { ShortConvConfig } from './models/blocks/short-conv.js'
export type { Architecture, CheckpointFormat, ModelConfig } from './models/config.js'
export type { Quantization } from './weights/formats/formats.js'
export type { EndOfTextToken } from './generation/end-of-text.js'
export type { Notice, NoticeCode, OnNotice } from './support/notices.js'
export { type Perplexity, perplexity } from './scoring/perplexity.js'
export {
  type Activation,
  type AffineMatrix,
  type AttentionOptions,
  type AttentionTensors,
  type ConvTensors,
  type EmbeddingOptions,
  type ExpertsOptions,
  type KeepLogitsTensors,
  type LinearNorm,
  type LinearOptions,
  type LinearRole,
  type Mamba2Options,
  type Mamba2Tensors,
  NO_SLOT,
  type QuantizedMatrix,
  type QuantizedMode,
  type ResolveRowsTensors,
  type RouteExpertsOptions,
  type RouteExpertsTensors,
  SAMPLE_STATUS,
  type SampleTensors,
  type SsdOptions,
  type SsdTensors,
  type TokenLogprobsTensors,
} from './operations/arguments.js'
export { Recorder } from './operations/recorder.js'
export type { Classification, LabelProbability, Score } from './scoring/scoring.js'
export { Session } from './sessions/session.js'
export { SessionCheckpoint } from './sessions/session-checkpoint.js'
export { type DType, Tensor, type TensorData } from './operations/tensor.js'
export { TextStream } from './generation/text-stream.js'
export type { DetokenizerStream } from './tokenizer/detokenizer.js'
export type { EndOfText } from './tokenizer/special-tokens.js'
export { Tokenizer } from './tokenizer/tokenizer.js'
export type {
  DetokenizerOptions,
  EncodeOptions,
  TokenizerOptions,
} from './tokenizer/tokenizer-options.js'
export {
  type TunedCase,
  type TunedValue,
  type TuneReport,
  tune,
} from './tune/tune.js'
export { type Tunable, type Tuning, tunables } from './operations/tuning.js'

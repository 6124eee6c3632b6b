// The settings of a call as options of a generation; what cannot take effect is a warning, as the AI SDK has it.

import type { ResponseFormat } from '../grammar/response-format.js'
import type { Model } from '../model.js'
import type { GenerateOptions } from '../options/generation.js'
import { SERVING } from '../options/serving.js'
import { reasoningTags } from '../generation/reasoning.js'
import { providerOptions, type SsmMetalProviderOptions } from './provider-options.js'
import type { CallOptions, Warning } from './specification.js'

export interface CallSettings {
  readonly options: GenerateOptions
  readonly templateArguments: Readonly<Record<string, unknown>>
  readonly parallelToolCalls: boolean
}

/** Adds what has no effect to `warnings`. */
export function callSettings(
  operation: string,
  model: Model,
  call: CallOptions,
  warnings: Warning[],
): CallSettings {
  const own = providerOptions(operation, call.providerOptions)
  const { parallelToolCalls = true, templateArguments } = own
  warnOfTransport(call, warnings)
  return {
    options: {
      ...samplingOf(model, call, own, warnings),
      // As the server has it: an answer ends by itself.
      maxTokens: call.maxOutputTokens ?? SERVING.maxTokens.default,
      stop: call.stopSequences?.length ? call.stopSequences : undefined,
      ignoreEos: own.ignoreEos,
      signal: call.abortSignal,
      responseFormat: formatOf(call, own, warnings),
    },
    templateArguments: { ...reasoningOf(model, call.reasoning, warnings), ...templateArguments },
    parallelToolCalls,
  }
}

function samplingOf(
  model: Model,
  call: CallOptions,
  own: SsmMetalProviderOptions,
  warnings: Warning[],
): GenerateOptions {
  const { temperature, topP, topK, presencePenalty, frequencyPenalty, seed } = call
  const { minP, repetitionPenalty, repetitionContextSize, logitBias } = own
  const choosing = { topP, topK, minP }
  const isGreedy = (temperature ?? model.generationDefaults.temperature ?? 0) === 0
  if (isGreedy) {
    for (const [feature, value] of Object.entries(choosing)) {
      if (value === undefined) continue
      const details = `at temperature 0 there is nothing to choose among: ${feature} is left out`
      warnings.push({ type: 'unsupported', feature, details })
    }
  }
  return {
    temperature,
    ...(!isGreedy && choosing),
    presencePenalty,
    frequencyPenalty,
    repetitionPenalty,
    repetitionContextSize,
    logitBias,
    seed,
  }
}

function formatOf(
  { responseFormat: asked }: CallOptions,
  own: SsmMetalProviderOptions,
  warnings: Warning[],
): ResponseFormat | undefined {
  if (asked?.type !== 'json') return own.responseFormat
  const { schema, name, description } = asked
  for (const [part, value] of Object.entries({ name, description })) {
    if (value === undefined) continue
    const feature = `responseFormat.${part}`
    const details =
      'the model is not told of the schema, its answer is held to it: say in the prompt what is wanted'
    warnings.push({ type: 'unsupported', feature, details })
  }
  if (own.responseFormat) {
    const details = 'JSON is asked for already: providerOptions.ssmMetal.responseFormat is left out'
    warnings.push({ type: 'unsupported', feature: 'ssmMetal.responseFormat', details })
  }
  return schema ? { type: 'json_schema', schema } : { type: 'json' }
}

/** An effort in the words of the model's template. */
function reasoningOf(
  model: Model,
  effort: string | undefined,
  warnings: Warning[],
): Record<string, unknown> {
  if (effort === undefined || effort === 'provider-default' || !model.chatTemplate) return {}
  const { text } = model.chatTemplate
  const has = (argument: string) => new RegExp(`\\b${argument}\\b`).test(text)
  if (effort === 'none' && has('enable_thinking')) return { enable_thinking: false }
  if (has('reasoning_effort')) return { reasoning_effort: effort }
  if (has('enable_thinking')) {
    const details = `the model thinks or does not: ${effort} is the same as any other effort`
    warnings.push({ type: 'compatibility', feature: 'reasoning', details })
    return { enable_thinking: true }
  }
  if (effort === 'none' && !reasoningTags(text, model.tokenizer)) return {}
  const details = "the model's chat template takes no reasoning effort"
  warnings.push({ type: 'unsupported', feature: 'reasoning', details })
  return {}
}

function warnOfTransport(
  { headers = {}, includeRawChunks }: CallOptions,
  warnings: Warning[],
): void {
  const details = 'the model runs in this process: nothing is sent'
  // The AI SDK itself adds its name.
  const given = Object.keys(headers).some(
    (name) => name.toLowerCase() !== 'user-agent' && headers[name] !== undefined,
  )
  if (given) warnings.push({ type: 'unsupported', feature: 'headers', details })
  if (includeRawChunks) warnings.push({ type: 'unsupported', feature: 'includeRawChunks', details })
}

// The fields that requests for text have in common, as options of a generation.

import type { ResponseFormat } from '../grammar/response-format.js'
import type { GenerateOptions, LogitBias } from '../options/generation.js'
import { badField } from './api-error.js'
import type { Fields } from './fields.js'

// As OpenAI documents it, for models whose own files name none.
const DEFAULT_TEMPERATURE = 1
const MOST_STOPS = 16
const NEGATIVE_SEEDS = 2 ** 52
const LONGEST_STOP = 1024
/** As many texts as `generate` makes of a prompt. */
export const MOST_CHOICES = 128

/** What the server knows of its model and its limits. */
export interface GenerationLimits {
  /** The most tokens of an answer. */
  readonly maxTokens: number
  /** What the model's files say of sampling. */
  readonly generationDefaults: { readonly temperature?: number | undefined }
}

/** How a request wants its texts. */
export interface GenerationRequest {
  readonly options: GenerateOptions
  /** Texts of a prompt. */
  readonly n: number
  readonly stream: boolean
  /** Whether a stream ends with what it has cost. */
  readonly includeUsage: boolean
  /** Whether each event says what the text has cost so far. */
  readonly timingsPerToken: boolean
}

/** Fields of OpenAI's that change no text here: who asks, and what the service does with it. */
const WITHOUT_EFFECT = [
  'user',
  'metadata',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
]

/**
 * Reads the fields of sampling, of ends and of streaming. `maxTokens`: what the request's own fields for it say.
 *
 * @example generationRequest(new Fields(body), limits, 16).options.temperature
 */
export function generationRequest(
  fields: Fields,
  limits: GenerationLimits,
  maxTokens: number,
): GenerationRequest {
  fields.ignored(...WITHOUT_EFFECT)
  fields.neutral('store', [false], 'nothing is stored here')
  fields.neutral('service_tier', ['auto', 'default'])
  const stream = fields.boolean('stream') ?? false
  return {
    options: { ...samplingOf(fields, limits), maxTokens, stop: stopOf(fields) },
    n: fields.integer('n', { min: 1, max: MOST_CHOICES }) ?? 1,
    stream,
    includeUsage: includeUsageOf(fields, stream),
    timingsPerToken: fields.boolean('timings_per_token') ?? false,
  }
}

function samplingOf(fields: Fields, { generationDefaults }: GenerationLimits): GenerateOptions {
  const temperature =
    fields.number('temperature', { min: 0, max: 2 }) ??
    generationDefaults.temperature ??
    DEFAULT_TEMPERATURE
  const choosing = {
    topP: fields.number('top_p', { min: 0, max: 1 }),
    topK: fields.integer('top_k', { min: 0, max: 2 ** 31 }),
    minP: fields.number('min_p', { min: 0, max: 1 }),
  }
  return {
    temperature,
    // At temperature 0 there is nothing to choose among: many clients send these all the same.
    ...(temperature > 0 && choosing),
    repetitionPenalty: fields.number('repetition_penalty', { min: 0.01, max: 100 }),
    presencePenalty: fields.number('presence_penalty', { min: -2, max: 2 }),
    frequencyPenalty: fields.number('frequency_penalty', { min: -2, max: 2 }),
    logitBias: fields.object('logit_bias') as LogitBias | undefined,
    seed: seedOf(fields),
  }
}

// OpenAI's may be below 0.
function seedOf(fields: Fields): number | undefined {
  const seed = fields.integer('seed', { min: -NEGATIVE_SEEDS })
  return seed !== undefined && seed < 0 ? NEGATIVE_SEEDS + seed : seed
}

function stopOf(fields: Fields): string[] | undefined {
  const value = fields.any('stop')
  if (value === undefined) return undefined
  const texts = Array.isArray(value) ? value : [value]
  const isRight = (text: unknown) =>
    typeof text === 'string' && text !== '' && text.length <= LONGEST_STOP
  if (texts.length <= MOST_STOPS && texts.every(isRight)) return texts as string[]
  const expected = `a text, or up to ${MOST_STOPS} of them, of 1 to ${LONGEST_STOP} characters`
  throw fields.wrong('stop', expected, texts.find((text) => !isRight(text)) ?? value)
}

function includeUsageOf(fields: Fields, stream: boolean): boolean {
  const options = fields.fields('stream_options')
  if (!options) return false
  if (!stream) throw badField('stream_options', 'stream_options is for streams: add stream: true')
  const includeUsage = options.boolean('include_usage') ?? false
  options.neutral('include_obfuscation', [false])
  options.end()
  return includeUsage
}

/** The most tokens of an answer, of fields that name them; the first one is the one for errors. */
export function maxTokensOf(
  fields: Fields,
  names: readonly [string, ...string[]],
  { maxTokens }: GenerationLimits,
): number | undefined {
  const given = names.map((name) => fields.integer(name, { min: 1 }))
  const values = new Set(given.filter((value) => value !== undefined))
  if (values.size > 1) throw badField(names[0], `${names.join(' and ')} differ: give one of them`)
  const [value] = values
  if (value === undefined || value <= maxTokens) return value
  const name = names[given.indexOf(value)]!
  throw badField(
    name,
    `${name} must be at most ${maxTokens} here but is ${value}: the server's --max-tokens says so`,
  )
}

/** What the text must look like; undefined for any text. */
export function responseFormatOf(fields: Fields): ResponseFormat | undefined {
  const format = fields.fields('response_format')
  if (!format) return undefined
  if (format.any('type') !== 'json_schema') return namedFormatOf(format)
  const schema = format.fields('json_schema')
  if (!schema) throw format.wrong('json_schema', 'an object with a schema', undefined)
  format.end()
  return schemaFormatOf(schema)
}

/** As `responseFormatOf`, of an object that holds the parts of a schema itself. */
export function namedFormatOf(format: Fields): ResponseFormat | undefined {
  const type = format.any('type')
  const found = formatOfType(format, type)
  if (!found) {
    const expected = "'text', 'json_object', 'json_schema', 'regex' or 'grammar'"
    throw format.wrong('type', expected, type)
  }
  format.end()
  return found.type === 'text' ? undefined : found
}

function schemaFormatOf(named: Fields): ResponseFormat {
  named.ignored('name', 'description')
  const schema = named.object('schema') ?? {}
  const strict = named.boolean('strict') ?? true
  named.end()
  return { type: 'json_schema', schema, strict }
}

function formatOfType(format: Fields, type: unknown): ResponseFormat | undefined {
  switch (type) {
    case 'text':
      return { type }
    case 'json_object':
      return { type: 'json' }
    case 'json_schema':
      return schemaFormatOf(format)
    case 'regex':
      return { type, pattern: format.string('pattern') ?? '' }
    case 'grammar':
      return { type, grammar: format.string('grammar') ?? '' }
    default:
      return undefined
  }
}

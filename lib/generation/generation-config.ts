// generation_config.json: how the authors of a model would have it generate. Optional, and trusted in nothing.

import { basename, join } from 'node:path'
import { ConfigReader } from '../models/config-reader.js'
import type { OnNotice } from '../support/notices.js'
import { messageOf } from '../support/realms.js'
import type { SamplingOptions } from './sampler.js'
import { readSmallFile } from '../support/small-file.js'
import { parseConfigJson } from '../support/json.js'

/** Options that a call has where it does not say otherwise. Without a `temperature` it is greedy. */
export type GenerationDefaults = Readonly<
  Pick<SamplingOptions, 'temperature' | 'topK' | 'topP' | 'minP' | 'repetitionPenalty'>
>

/** Greedy, and no penalty. */
export const NO_DEFAULTS: GenerationDefaults = Object.freeze({})

export interface GenerationConfig {
  /** Its name, for whoever wants to know what says so. */
  name: string
  /** Tokens that end a text. */
  eosTokenIds: readonly number[]
  defaults: GenerationDefaults
}

const LARGEST_FILE = 2 ** 20

// What transformers 5 takes where the file has none: `_get_default_generation_params` of GenerationConfig.
const TRANSFORMERS = { temperature: 1, topK: 50, topP: 1, minP: 0, repetitionPenalty: 1 }

// Keys that change what is generated and are not implemented, with the values at which they change nothing.
const UNSUPPORTED_SAMPLING = { typical_p: 1, top_h: 1, epsilon_cutoff: 0, eta_cutoff: 0 }
const UNSUPPORTED = { num_beams: 1, no_repeat_ngram_size: 0 }

/**
 * Reads the generation_config.json of a model's folder, as transformers does: sampling options count only with
 * `do_sample: true`, and then a temperature that is left out is 1 and a top_k 50; the repetition penalty always
 * counts. What cannot be used is left out with a notice, by value where it can be.
 *
 * @example readGenerationConfig(folder).defaults // { temperature: 0.7, topK: 50, topP: 0.9 }
 */
export function readGenerationConfig(folder: string, onNotice?: OnNotice): GenerationConfig {
  const file = join(folder, 'generation_config.json')
  const used = <T>(read: () => T): T | undefined => {
    try {
      return read()
    } catch (error) {
      onNotice?.({ code: 'FILE_NOT_USED', message: `not used: ${messageOf(error)}` })
      return undefined
    }
  }
  const config = used(() => {
    const text = readSmallFile(file, LARGEST_FILE)
    return text === undefined ? undefined : new ConfigReader(file, parseConfigJson(text, file))
  })
  return {
    name: basename(file),
    eosTokenIds: (config && used(() => config.tokenIds('eos_token_id'))) ?? [],
    defaults: config ? Object.freeze(defaultsOf(config, used)) : NO_DEFAULTS,
  }
}

function defaultsOf(
  config: ConfigReader,
  used: <T>(read: () => T) => T | undefined,
): GenerationDefaults {
  const number = (key: string, byDefault: number, range: Range) =>
    used(() => numberIn(config, key, range)) ?? byDefault
  const unsupported = (neutral: Readonly<Record<string, number>>) => {
    for (const [key, value] of Object.entries(neutral)) {
      used(() => {
        if (!config.has(key) || config.number(key) === value) return
        config.invalid(`${key} is ${config.number(key)}, which is not implemented`)
      })
    }
  }
  unsupported(UNSUPPORTED)
  const penalty = { min: 0.01, max: 100 }
  const repetitionPenalty = number('repetition_penalty', TRANSFORMERS.repetitionPenalty, penalty)
  const always = repetitionPenalty === 1 ? {} : { repetitionPenalty }
  const samples = used(() => config.boolean('do_sample', false))
  if (!samples) return always
  unsupported(UNSUPPORTED_SAMPLING)
  const temperature = number('temperature', TRANSFORMERS.temperature, { min: 0, max: 1000 })
  const topK = number('top_k', TRANSFORMERS.topK, { min: 0, max: 2 ** 31, isWhole: true })
  const topP = number('top_p', TRANSFORMERS.topP, { min: 0, max: 1 })
  const minP = number('min_p', TRANSFORMERS.minP, { min: 0, max: 1 })
  if (temperature === 0) return always
  return {
    temperature,
    ...(topK === 0 ? {} : { topK }),
    ...(topP === 1 ? {} : { topP }),
    ...(minP === 0 ? {} : { minP }),
    ...always,
  }
}

interface Range {
  min: number
  max: number
  isWhole?: boolean
}

/** A number as the option that it stands for takes it; undefined where the file has none. */
function numberIn(
  config: ConfigReader,
  key: string,
  { min, max, isWhole = false }: Range,
): number | undefined {
  if (!config.has(key)) return undefined
  const value = config.number(key)
  if (value >= min && value <= max && (!isWhole || Number.isInteger(value))) return value
  const kind = isWhole ? 'a whole number' : 'a number'
  return config.invalid(`${key} must be ${kind} from ${min} to ${max} but is ${value}`)
}

/**
 * The options of a call, with defaults for those that it leaves out. Temperature 0 leaves out what needs one above it.
 *
 * @example withDefaults({ topK: 5 }, { temperature: 0.7, topP: 0.9 }) // { temperature: 0.7, topK: 5, topP: 0.9 }
 */
export function withDefaults(
  options: SamplingOptions,
  { repetitionPenalty, ...sampling }: GenerationDefaults,
): SamplingOptions {
  const defaults =
    options.temperature === 0 ? { repetitionPenalty } : { ...sampling, repetitionPenalty }
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  return { ...defaults, ...Object.fromEntries(given) }
}

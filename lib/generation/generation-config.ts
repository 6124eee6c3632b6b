// generation_config.json: how the authors of a model would have it generate. Optional, and trusted in nothing.

import { basename, join } from 'node:path'
import { ConfigReader } from '../models/config-reader.js'
import type { OnNotice } from '../support/notices.js'
import { messageOf } from '../support/realms.js'
import { SAMPLING, type SamplingOptions } from '../options/generation.js'
import type { NumberRow, OptionRow } from '../support/option-table.js'
import { readSmallFile } from '../support/small-file.js'
import { parseConfigJson } from '../support/json.js'

type ConfiguredName = {
  [Name in keyof typeof SAMPLING]: (typeof SAMPLING)[Name] extends { generationConfig: object }
    ? Name
    : never
}[keyof typeof SAMPLING]

/** Options that a call has where it does not say otherwise. Without a `temperature` it is greedy. */
export type GenerationDefaults = Readonly<Pick<SamplingOptions, ConfiguredName>>

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

type ConfiguredRow = NumberRow & Required<Pick<NumberRow, 'generationConfig' | 'min' | 'max'>>

// Options that have a key in the file, but for the penalty: they count where the file says that it samples.
const { repetitionPenalty: PENALTY, ...OTHERS } = SAMPLING
const CONFIGURED = Object.entries<OptionRow>(OTHERS).filter(isConfigured)

function isConfigured(entry: [string, OptionRow]): entry is [string, ConfiguredRow] {
  return 'generationConfig' in entry[1]
}

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
  const number = (row: ConfiguredRow) =>
    used(() => numberIn(config, row)) ?? row.generationConfig.default
  const unsupported = (neutral: Readonly<Record<string, number>>) => {
    for (const [key, value] of Object.entries(neutral)) {
      used(() => {
        if (!config.has(key) || config.number(key) === value) return
        config.invalid(`${key} is ${config.number(key)}, which is not implemented`)
      })
    }
  }
  unsupported(UNSUPPORTED)
  const repetitionPenalty = number(PENALTY)
  const always = repetitionPenalty === PENALTY.neutral ? {} : { repetitionPenalty }
  const samples = used(() => config.boolean('do_sample', false))
  if (!samples) return always
  unsupported(UNSUPPORTED_SAMPLING)
  const values = CONFIGURED.map(([name, row]) => [name, number(row), row.neutral] as const)
  const counting = values.filter(([, value, neutral]) => value !== neutral)
  const sampling: GenerationDefaults = Object.fromEntries(counting)
  return sampling.temperature === 0 ? always : { ...sampling, ...always }
}

/** A number as the option that it stands for takes it; undefined where the file has none. */
function numberIn(config: ConfigReader, row: ConfiguredRow): number | undefined {
  const { min, max } = row
  const { key } = row.generationConfig
  if (!config.has(key)) return undefined
  const value = config.number(key)
  const isWhole = row.type === 'integer'
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

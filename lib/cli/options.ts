// Options that several verbs share, in the order of `--help`. Those of the API come from its tables; what is new there
// comes after the ones that people look for first.

import { GENERATION, PROMPT } from '../options/generation.js'
import { LOADING, QUANTIZATION } from '../options/loading.js'
import type { OptionTable } from './command.js'
import { flagsOf } from './flags.js'

const { tokenizer, device, dtype, threads, ...loading } = flagsOf(LOADING)
const { 'no-generation-config': noGenerationConfig, ...others } = loading

/** Which model, and where and how it runs. */
export const modelOptions = {
  model: {
    type: 'string',
    short: 'm',
    placeholder: 'MODEL',
    description:
      'file, folder, or name on the Hugging Face Hub, which is downloaded where it is not in the cache; by default the small one built in',
  },
  tokenizer,
  device,
  dtype,
  ...flagsOf(QUANTIZATION),
  ...others,
  threads,
} as const satisfies OptionTable

/** How a text is read. */
export const textOptions = flagsOf(PROMPT)

const { 'no-parse-special': _, ...generation } = flagsOf(GENERATION)
const { 'max-tokens': maxTokens, temp, 'top-p': topP, ...sampling } = generation
const { seed, stop, 'ignore-eos': ignoreEos, ...drawing } = sampling

/** How the next token is chosen, and when to end. */
export const samplingOptions = {
  'max-tokens': maxTokens,
  temp,
  'top-p': topP,
  ...drawing,
  'no-generation-config': noGenerationConfig,
  seed,
  stop,
  'ignore-eos': ignoreEos,
} as const satisfies OptionTable

/** What a text must look like. */
export const formatOptions = {
  'json-schema': {
    type: 'string',
    placeholder: 'FILE',
    description: 'write JSON that is valid under the JSON Schema in FILE',
  },
  regex: {
    type: 'string',
    placeholder: 'PATTERN',
    description: 'write a text that this regular expression matches as a whole',
  },
} as const satisfies OptionTable

/** What is written, and where. */
export const outputOptions = {
  json: { type: 'boolean', description: 'print one JSON object instead of text' },
  verbose: { type: 'boolean', description: 'print timings and memory on standard error' },
} as const satisfies OptionTable

/** All options of `generate`. */
export const generateOptions = {
  prompt: {
    type: 'string',
    short: 'p',
    description: 'text to continue; - reads it from standard input',
  },
  session: {
    type: 'string',
    placeholder: 'FILE',
    description: 'go on from the session in FILE, if there is one, and save it there',
  },
  ...textOptions,
  ...modelOptions,
  ...samplingOptions,
  ...formatOptions,
  ...outputOptions,
} as const satisfies OptionTable

// Options that several verbs share, so that they have the same names and limits everywhere.

import { AFFINE_BITS, AFFINE_GROUP_SIZES } from '../operations/arguments.js'
import type { OptionTable } from './command.js'

/** Which model, and where and how it runs. */
export const modelOptions = {
  model: {
    type: 'string',
    short: 'm',
    placeholder: 'MODEL',
    description:
      'file, folder, or Hub name of a model in the Hugging Face cache; by default the small one built in',
  },
  tokenizer: {
    type: 'string',
    placeholder: 'TOKENIZER',
    description: 'folder, tokenizer.json or Hub name of the tokenizer, where the model has none',
  },
  device: {
    type: 'string',
    choices: ['auto', 'cpu', 'metal'],
    default: 'auto',
    placeholder: 'DEVICE',
    description: 'where to run',
  },
  dtype: {
    type: 'string',
    choices: ['auto', 'float32', 'float16', 'bfloat16'],
    default: 'auto',
    placeholder: 'DTYPE',
    description: 'type of the weights; auto keeps that of the file',
  },
  'q-bits': {
    type: 'integer',
    choices: AFFINE_BITS,
    description: 'quantise the weights to this many bits while loading',
  },
  'q-group-size': {
    type: 'integer',
    choices: AFFINE_GROUP_SIZES,
    description: 'weights that share a scale, with --q-bits',
  },
  memory: {
    type: 'string',
    choices: ['checked', 'unchecked'],
    default: 'checked',
    placeholder: 'WHETHER',
    description: 'unchecked loads a model that does not seem to fit all the same',
  },
  threads: {
    type: 'integer',
    minimum: 1,
    maximum: 1024,
    description: 'threads of the CPU device; by default the CPUs that this process may use',
  },
} as const satisfies OptionTable

/** How the next token is chosen, and when to end. */
export const samplingOptions = {
  'max-tokens': {
    type: 'integer',
    short: 'n',
    minimum: 1,
    description: 'end after this many tokens',
    default: 256,
  },
  temp: {
    type: 'number',
    aliases: ['temperature'],
    minimum: 0,
    maximum: 1000,
    description: 'temperature; 0 always takes the most likely token',
  },
  'top-p': {
    type: 'number',
    minimum: 0,
    maximum: 1,
    description: 'choose among the most likely tokens that together have this probability',
  },
  'top-k': {
    type: 'integer',
    minimum: 0,
    description: 'choose among this many most likely tokens; 0 is all',
  },
  'min-p': {
    type: 'number',
    minimum: 0,
    maximum: 1,
    description: "leave out tokens less likely than this share of the likeliest one's probability",
  },
  'repeat-penalty': {
    type: 'number',
    aliases: ['repetition-penalty'],
    minimum: 0.01,
    maximum: 100,
    description: 'make recent tokens less likely; 1 is off',
  },
  'presence-penalty': {
    type: 'number',
    minimum: -2,
    maximum: 2,
    description: 'make tokens that were generated less likely; 0 is off',
  },
  'frequency-penalty': {
    type: 'number',
    minimum: -2,
    maximum: 2,
    description: 'the same for each time that they were generated; 0 is off',
  },
  'no-generation-config': {
    type: 'boolean',
    description: "without the sampling options of the model's generation_config.json",
  },
  seed: { type: 'integer', minimum: 0, description: 'the same seed gives the same text' },
  stop: {
    type: 'string',
    multiple: true,
    description: 'end before this text, or at this special token',
  },
  'ignore-eos': { type: 'boolean', description: 'go on after the end-of-text token' },
} as const satisfies OptionTable

/** How a text is read. */
export const textOptions = {
  'no-parse-special': {
    type: 'boolean',
    description: 'take <|endoftext|> and the like in the text as text, not as tokens',
  },
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

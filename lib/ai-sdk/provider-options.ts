// What this provider has besides the AI SDK's own settings: `providerOptions: { ssmMetal: { ... } }`.

import type { ResponseFormat } from '../grammar/response-format.js'
import { GENERATION, type GenerateOptions } from '../options/generation.js'
import { checkOptions, describe } from '../support/option-checks.js'
import { type OptionTable, optionNames, optionValue } from '../support/option-table.js'
import type { ProviderOptions } from './specification.js'

export interface SsmMetalProviderOptions
  extends Pick<
    GenerateOptions,
    'minP' | 'repetitionPenalty' | 'repetitionContextSize' | 'ignoreEos'
  > {
  /** Added to the scores of tokens, by their ids: −100 to 100, for at most 1024 tokens. */
  logitBias?: Readonly<Record<number, number>> | undefined
  /** What the text must look like, where it is not JSON: a regular expression, or a grammar. */
  responseFormat?: ResponseFormat | undefined
  /** What else the chat template asks for, by its own names, such as `{ enable_thinking: false }`. */
  templateArguments?: Readonly<Record<string, unknown>> | undefined
  /** Whether an answer may have several calls of tools. Defaults to true. */
  parallelToolCalls?: boolean | undefined
}

const { minP, repetitionPenalty, repetitionContextSize, ignoreEos, logitBias } = GENERATION

const PROVIDER = {
  minP,
  repetitionPenalty,
  repetitionContextSize,
  ignoreEos,
  logitBias,
  responseFormat: GENERATION.responseFormat,
  templateArguments: { type: 'other', description: 'what else the template asks for' },
  parallelToolCalls: {
    type: 'boolean',
    default: true,
    description: 'whether an answer may have several calls',
  },
} as const satisfies OptionTable<SsmMetalProviderOptions>

/**
 * Those of this provider among the options of all. What the values of sampling may be is checked where they are used.
 *
 * @throws UnsupportedOptionError for one that is not known.
 * @example providerOptions('doGenerate', { ssmMetal: { minP: 0.1 } }).minP // 0.1
 */
export function providerOptions(
  operation: string,
  all: ProviderOptions | undefined,
): SsmMetalProviderOptions {
  const given: SsmMetalProviderOptions = all?.ssmMetal ?? {}
  checkOptions(operation, given, optionNames(PROVIDER), 'ssmMetal')
  optionValue(operation, PROVIDER, 'parallelToolCalls', given)
  const { templateArguments } = given
  const isObject = typeof templateArguments === 'object' && templateArguments !== null
  if (templateArguments !== undefined && !isObject) {
    throw new TypeError(
      `[${operation}] [ssmMetal] templateArguments must be an object but is ${describe(templateArguments)}`,
    )
  }
  return given
}

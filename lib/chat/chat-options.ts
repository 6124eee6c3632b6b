// Options of chats and of their turns, checked.

import { UnsupportedOptionError } from '../support/errors.js'
import { CHAT, type ChatOptions, type ChatTemplateOptions } from '../options/chat.js'
import { type GenerateOptions, PROMPT } from '../options/generation.js'
import { checkOptions, describe } from '../support/option-checks.js'
import { optionNames, optionValue } from '../support/option-table.js'
import { type ChatMessage, copiedMessages, plainObjects, plainValue } from './messages.js'

/** What a chat begins with: the options of `model.createChat`, checked, as copies that the caller cannot change. */
export function chatBeginning(
  operation: string,
  options: ChatOptions,
): { messages: readonly ChatMessage[]; templateOptions: ChatTemplateOptions } {
  checkOptions(operation, options, optionNames(CHAT))
  const { messages = [], tools, templateArguments = {} } = options
  const system = optionValue(operation, CHAT, 'system', options)
  const first = system === undefined ? [] : [{ role: 'system', content: system }]
  const list = tools && (plainObjects(operation, 'tools', tools) as object[])
  return {
    messages: [...first, ...copiedMessages(operation, messages)],
    templateOptions: { ...argumentsOf(operation, templateArguments), tools: list },
  }
}

function argumentsOf(operation: string, given: object): object {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new TypeError(
      `[${operation}] templateArguments must be an object but is ${describe(given)}`,
    )
  }
  const own = ['addGenerationPrompt', 'template', 'tools'].find((name) => name in given)
  if (own === undefined) return plainValue(operation, 'templateArguments', given) as object
  throw new UnsupportedOptionError(
    `[${operation}] ${own} is no argument of the template` +
      (own === 'addGenerationPrompt' ? ': a chat always gives it' : `, but an option beside them`),
  )
}

/** Options that have other tokens drawn at temperature 0 too. */
export const CHANGE_GREEDY = [
  'repetitionPenalty',
  'presencePenalty',
  'frequencyPenalty',
  'logitBias',
  'responseFormat',
] as const satisfies readonly (keyof GenerateOptions)[]

/** Throws for options of `generate` that cannot take effect in a chat. */
export function checkTurnOptions(operation: string, options: GenerateOptions): void {
  for (const name of optionNames(PROMPT)) {
    if (options[name] === undefined) continue
    throw new UnsupportedOptionError(
      `[${operation}] ${name} changes nothing in a chat, whose template writes special tokens: leave it out`,
    )
  }
}

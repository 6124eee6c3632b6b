// A verb's arguments, parsed and checked against its table of options. node:util's parseArgs splits the
// words; the checks are ours, for its messages name neither the nearest option nor what was expected.

import { parseArgs } from 'node:util'
import {
  type Command,
  camelCase,
  type NumberOption,
  type OptionDefinition,
  type OptionTable,
  type ParsedArguments,
  UsageError,
} from './command.js'
import { listed } from '../support/format.js'
import { nearest } from '../support/nearest.js'

/** Options that every verb has. */
export const commonOptions = {
  help: { type: 'boolean', short: 'h', description: 'show this help' },
} as const satisfies OptionTable

interface KnownOption {
  readonly name: string
  readonly definition: OptionDefinition
}

/** All names and letters that options go by. */
function knownOptions(table: OptionTable) {
  const long = new Map<string, KnownOption>()
  const short = new Map<string, KnownOption>()
  const add = (map: Map<string, KnownOption>, key: string, option: KnownOption): void => {
    if (map.has(key)) throw new Error(`two options go by the name ${key}`)
    map.set(key, option)
  }
  for (const [name, definition] of Object.entries(table)) {
    for (const key of [name, ...(definition.aliases ?? [])]) add(long, key, { name, definition })
    if (definition.short !== undefined) add(short, definition.short, { name, definition })
  }
  return { long, short }
}

/** What a number must be, in words. */
export function describeNumber(definition: NumberOption): string {
  if (definition.choices !== undefined) return listed(definition.choices, 'or')
  const { type, minimum, maximum } = definition
  const noun = type === 'integer' ? 'an integer' : 'a number'
  if (minimum !== undefined && maximum !== undefined) return `${noun} from ${minimum} to ${maximum}`
  if (minimum !== undefined) return `${noun} of at least ${minimum}`
  if (maximum !== undefined) return `${noun} of at most ${maximum}`
  return noun
}

function parseNumber(flag: string, definition: NumberOption, text: string): number {
  // Number() alone would take '', ' 1', '0x10' and 'Infinity'.
  const isDecimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text)
  const value = isDecimal ? Number(text) : Number.NaN
  const { type, minimum, maximum, choices } = definition
  const allowed =
    Number.isFinite(value) &&
    (type === 'number' || Number.isSafeInteger(value)) &&
    value >= (minimum ?? Number.NEGATIVE_INFINITY) &&
    value <= (maximum ?? Number.POSITIVE_INFINITY) &&
    (choices === undefined || choices.includes(value))
  if (!allowed) {
    throw new UsageError(
      `option ${flag} must be ${describeNumber(definition)} but is ${JSON.stringify(text)}`,
    )
  }
  return value
}

function parseValue(
  flag: string,
  definition: Exclude<OptionDefinition, { type: 'boolean' }>,
  text: string,
): string | number {
  if (definition.type !== 'string') return parseNumber(flag, definition, text)
  if (definition.choices !== undefined && !definition.choices.includes(text)) {
    throw new UsageError(
      `option ${flag} must be ${listed(definition.choices, 'or')} but is ${JSON.stringify(text)}`,
    )
  }
  return text
}

/** A word after an option that is more likely the next option than this one's value. */
function looksLikeOption(text: string): boolean {
  return text.length > 1 && text.startsWith('-') && !/^-[\d.]|\s/.test(text)
}

function unknownOption(flag: string, names: Iterable<string>): never {
  const name = flag.replace(/^-+/, '')
  const near = flag.startsWith('--') ? nearest(name, [...names]) : undefined
  throw new UsageError(
    `unknown option ${flag}${near === undefined ? '' : `; did you mean --${near}?`}`,
  )
}

function checkPositionals(command: Command, positionals: readonly string[]): void {
  const definitions = command.positionals ?? []
  const takesRest = definitions.at(-1)?.multiple === true
  const extra = positionals[definitions.length]
  if (extra !== undefined && !takesRest) {
    throw new UsageError(
      `unexpected argument ${JSON.stringify(extra)}; a value with spaces needs quotes`,
    )
  }
  const missing = definitions[positionals.length]
  if (missing?.required) {
    throw new UsageError(`missing argument <${missing.name}> (${missing.description})`)
  }
}

/**
 * Parses the words after a verb. Long names may have one dash (`-q-bits 4`), a value may follow as the
 * next word or after `=`, and `--` ends the options. `help` is set, and nothing else is checked, as
 * soon as `-h` or `--help` occurs among the options.
 *
 * @throws UsageError for unknown options (with the nearest name), missing or bad values, and
 *   arguments too many or too few.
 * @example
 * const { help, args } = parseArguments(generate, ['-m', 'models/rene', '--temp', '0.8'])
 */
export function parseArguments<Table extends OptionTable>(
  command: Command<Table>,
  words: readonly string[],
): { help: boolean; args: ParsedArguments<Table> } {
  const table: OptionTable = { ...command.options, ...commonOptions }
  const { long, short } = knownOptions(table)

  const end = words.indexOf('--')
  const normalised = words.map((word, index) => {
    if (end !== -1 && index >= end) return word
    const name = /^-([^-=][^=]+)(?:=|$)/.exec(word)?.[1]
    return name !== undefined && long.has(name) ? `-${word}` : word
  })
  const options: Record<string, { type: 'string' | 'boolean'; short?: string }> = {}
  for (const [name, { definition }] of long) {
    options[name] = { type: definition.type === 'boolean' ? 'boolean' : 'string' }
  }
  for (const [letter, { name }] of short) options[name]!.short = letter
  const { tokens } = parseArgs({
    args: normalised,
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  })

  const values: Record<string, unknown> = {}
  for (const [name, definition] of Object.entries(table)) {
    if (definition.type === 'boolean') values[camelCase(name)] = false
    else if (definition.type === 'string' && definition.multiple) values[camelCase(name)] = []
    else values[camelCase(name)] = definition.default
  }
  const positionals: string[] = []
  const optionTokens = tokens.filter((token) => token.kind === 'option')
  const help = optionTokens.some((token) => token.name === 'help')

  for (const token of help ? [] : tokens) {
    if (token.kind === 'positional') positionals.push(token.value)
    if (token.kind !== 'option') continue
    const flag = token.rawName
    const known = long.get(token.name)
    if (known === undefined) unknownOption(flag, long.keys())
    const { name, definition } = known
    const key = camelCase(name)
    if (definition.type === 'boolean') {
      if (token.inlineValue) {
        throw new UsageError(`option ${flag} takes no value but has ${JSON.stringify(token.value)}`)
      }
      values[key] = true
      continue
    }
    if (token.value === undefined) throw new UsageError(`option ${flag} needs a value`)
    if (!token.inlineValue && looksLikeOption(token.value)) {
      throw new UsageError(
        `option ${flag} needs a value but is followed by ${token.value}; ` +
          `if that is the value, write --${token.name}=${token.value}`,
      )
    }
    const value = parseValue(flag, definition, token.value)
    if (definition.type === 'string' && definition.multiple) (values[key] as unknown[]).push(value)
    else values[key] = value
  }
  if (!help) checkPositionals(command, positionals)
  return { help, args: { options: values, positionals } as unknown as ParsedArguments<Table> }
}

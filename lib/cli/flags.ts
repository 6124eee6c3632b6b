// Between the tables of options (lib/options) and the command line: the flags of a table's rows, and the options that
// the values of flags stand for.

import type { Flag, OptionRow, OptionRows, OptionValue } from '../support/option-table.js'
import {
  type BooleanOption,
  camelCase,
  type NumberOption,
  type OptionDefinition,
  type StringOption,
  UsageError,
} from './command.js'
import { parseCounts } from './counts.js'

/** A row that the command line has a flag for. */
type FlaggedRow = OptionRow & { readonly flag: Flag }

type Default<Row> = Row extends { flag: { saysDefault: true }; default: infer Value }
  ? { readonly default: Value }
  : unknown

type DefinitionOf<Row> = Row extends { type: 'boolean' }
  ? BooleanOption
  : Row extends { type: 'number' | 'integer' } | { choices: readonly number[] }
    ? NumberOption & Default<Row>
    : Row extends { type: 'texts' | 'integers' }
      ? StringOption & { readonly multiple: true }
      : StringOption & Default<Row>

/** The flags of a table's rows, by their long names. */
type FlagsOf<Rows> = {
  readonly [Name in keyof Rows as Rows[Name] extends { flag: Flag }
    ? Rows[Name]['flag']['name']
    : never]: DefinitionOf<Rows[Name]>
}

/** The options of a table that have a flag, or hold some that have. */
type OptionsOf<Rows> = {
  -readonly [Name in keyof Rows as Rows[Name] extends { flag: Flag } | { type: 'group' }
    ? Name
    : never]?: Rows[Name] extends { type: 'texts' } ? string[] : OptionValue<Rows[Name]> | undefined
}

/**
 * The flags of a table, in the order of its rows; those of a group come from the table of the group.
 *
 * @example flagsOf(QUANTIZATION)['q-bits'].choices // [4, 8]
 */
export function flagsOf<const Rows extends OptionRows>(rows: Rows): FlagsOf<Rows> {
  const flagged = Object.values<OptionRow>(rows).filter((row) => row.flag !== undefined)
  return Object.fromEntries(
    flagged.map((row) => [row.flag!.name, definitionOf(row as FlaggedRow)]),
  ) as FlagsOf<Rows>
}

function definitionOf(row: FlaggedRow): OptionDefinition {
  const { short, aliases, placeholder, saysDefault, hidesMaximum } = row.flag
  const base = {
    description: row.flag.description ?? row.description,
    ...(short && { short }),
    ...(aliases && { aliases }),
    ...(placeholder && { placeholder }),
  }
  switch (row.type) {
    case 'boolean':
      return { ...base, type: 'boolean' }
    case 'number':
    case 'integer': {
      const { type, min: minimum, max: maximum } = row
      return {
        ...base,
        type,
        ...(minimum !== undefined && { minimum }),
        ...(maximum !== undefined && !hidesMaximum && { maximum }),
        ...(saysDefault && row.default !== undefined && { default: row.default }),
      }
    }
    case 'choice': {
      const choices = { choices: row.choices, ...(saysDefault && { default: row.default }) }
      const type = typeof row.choices[0] === 'number' ? 'integer' : 'string'
      return { ...base, ...choices, type } as OptionDefinition
    }
    case 'integers': {
      const byDefault = row.default ? `; default ${row.default}` : ''
      const description = base.description + byDefault
      return { ...base, description, type: 'string', multiple: true }
    }
    default:
      return { ...base, type: 'string', ...(row.type === 'texts' && { multiple: true }) }
  }
}

/**
 * The options of a table that the values of flags stand for. What has no flag, or was not given, is undefined.
 *
 * @example optionsOf(GENERATION, { maxTokens: 5, temp: 0.8 }) // { maxTokens: 5, temperature: 0.8, topK: undefined, ... }
 */
export function optionsOf<const Rows extends OptionRows>(
  rows: Rows,
  values: Readonly<Record<string, unknown>>,
): OptionsOf<Rows> {
  const options: Record<string, unknown> = {}
  for (const [name, row] of Object.entries<OptionRow>(rows)) {
    if (row.type === 'group') options[name] = groupOf(row.rows, values)
    else if (row.flag) options[name] = optionOf(row as FlaggedRow, values[camelCase(row.flag.name)])
  }
  return options as OptionsOf<Rows>
}

function optionOf({ flag, ...row }: FlaggedRow, value: unknown): unknown {
  if (value === undefined) return undefined
  if (row.type === 'integers') return parseCounts(`-${flag.short}`, value as string[], row.min)
  return flag.negates ? !value : value
}

/** The options of a group, if any was given: then those that it cannot be without must be. */
function groupOf(rows: OptionRows, values: Readonly<Record<string, unknown>>): object | undefined {
  const options: Record<string, unknown> = optionsOf(rows, values)
  const given = Object.keys(options).find((name) => options[name] !== undefined)
  if (given === undefined) return undefined
  for (const [name, row] of Object.entries(rows)) {
    if (!('required' in row) || options[name] !== undefined) continue
    throw new UsageError(`--${rows[given]!.flag!.name} needs --${row.flag!.name}`)
  }
  return options
}

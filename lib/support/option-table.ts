// What an option is: one row of a table, from which the checks of the API and the flags of the command line follow.

import { UnsupportedOptionError } from './errors.js'
import { listed } from './format.js'
import {
  booleanOption,
  checkOptions,
  checkSignal,
  describe,
  functionOption,
  integerOption,
  numberOption,
  stringOption,
} from './option-checks.js'

/** How an option is given on the command line. */
export interface Flag {
  /** Its long name, without the dashes. */
  readonly name: string
  /** A single letter. */
  readonly short?: string
  /** Other long names. */
  readonly aliases?: readonly string[]
  /** What stands for the value in `--help`. Defaults to the type, in capitals. */
  readonly placeholder?: string
  /** What `--help` says, where the row's own description is not for the command line. */
  readonly description?: string
  /** `--help` names the default; else the API alone knows it, and may have another one for each model. */
  readonly saysDefault?: true
  /** The largest value is beyond what people give: `--help` does not name it, and the API refuses what is above. */
  readonly hidesMaximum?: true
  /** The flag says no: `--no-warmup`. */
  readonly negates?: true
}

interface Row {
  /** One line for people, without a full stop. */
  readonly description: string
  readonly flag?: Flag
}

export interface NumberRow extends Row {
  readonly type: 'number' | 'integer'
  readonly min?: number
  readonly max?: number
  readonly default?: number
  /** The value at which it changes nothing, whatever the others are. */
  readonly neutral?: number
  /** It changes nothing while another option has its default, which `words` say. */
  readonly needs?: { readonly option: string; readonly words: string }
  /**
   * Its key in a model's generation_config.json, and what transformers 5 takes where the file has none:
   * `_get_default_generation_params` of its GenerationConfig.
   */
  readonly generationConfig?: { readonly key: string; readonly default: number }
}

export interface ChoiceRow<Choice extends string | number = string | number> extends Row {
  readonly type: 'choice'
  readonly choices: readonly Choice[]
  /** What errors say that it must be. Defaults to the choices: `'auto' or 'cpu'`. */
  readonly expected?: string
  readonly default?: Choice
  /** Of a group that is there: it has no default. */
  readonly required?: true
}

export interface BooleanRow extends Row {
  readonly type: 'boolean'
  readonly default?: boolean
}

/** A text. */
export interface StringRow extends Row {
  readonly type: 'string'
}

/** A list of whole numbers. */
export interface IntegersRow extends Row {
  readonly type: 'integers'
  readonly min: number
  readonly max: number
  readonly default?: readonly number[]
}

/** An object with options of its own. */
export interface GroupRow extends Row {
  readonly type: 'group'
  readonly rows: OptionRows
  /** `false` is another value that it has. */
  readonly orFalse?: true
}

/** What has no range: whoever uses the option checks it. */
export interface OtherRow extends Row {
  readonly type: 'function' | 'signal' | 'texts' | 'other'
}

export type OptionRow =
  | NumberRow
  | ChoiceRow
  | BooleanRow
  | StringRow
  | IntegersRow
  | GroupRow
  | OtherRow

export type OptionRows = Readonly<Record<string, OptionRow>>

type RowFor<Value> = [Value] extends [boolean]
  ? BooleanRow
  : [Value] extends [number]
    ? number extends Value
      ? NumberRow
      : ChoiceRow<Value>
    : [Value] extends [string]
      ? string extends Value
        ? StringRow
        : ChoiceRow<Value>
      : [Value] extends [readonly number[]]
        ? IntegersRow | OtherRow
        : OtherRow | GroupRow

/** A row for each option of an interface, of its type: `satisfies OptionTable<DeviceOptions>`. */
export type OptionTable<Options> = {
  readonly [Name in keyof Options]-?: RowFor<NonNullable<Options[Name]>>
}

type ValueOf<Row> = Row extends { type: 'choice'; choices: readonly (infer Choice)[] }
  ? Choice
  : Row extends { type: 'number' | 'integer' }
    ? number
    : Row extends { type: 'boolean' }
      ? boolean
      : Row extends { type: 'string' }
        ? string
        : Row extends { type: 'integers' }
          ? readonly number[]
          : Row extends { type: 'group'; rows: infer Rows }
            ? OptionValues<Rows> | (Row extends { orFalse: true } ? false : never)
            : unknown

type IsGiven = { default: unknown } | { required: true }

/** The checked value of a row's option: undefined only where it has no default. */
export type OptionValue<Row> = ValueOf<Row> | (Row extends IsGiven ? never : undefined)

/** The checked values of a table's options. */
export type OptionValues<Rows> = { readonly [Name in keyof Rows]: OptionValue<Rows[Name]> }

/** The names of a table's options, in order. */
export function optionNames<Rows extends OptionRows>(rows: Rows): (keyof Rows & string)[] {
  return Object.keys(rows)
}

/**
 * The value of one of the options, checked, or its default. `operation` leads the message of the `TypeError`,
 * `RangeError` or `UnsupportedOptionError` that a wrong one throws.
 *
 * @example const maxTokens = optionValue('generate', GENERATION, 'maxTokens', options)
 */
export function optionValue<const Rows extends OptionRows, Name extends keyof Rows & string>(
  operation: string,
  rows: Rows,
  name: Name,
  options: { readonly [Key in Name]?: unknown },
): OptionValue<Rows[Name]> {
  return checkedValue(operation, name, rows[name]!, options[name]) as OptionValue<Rows[Name]>
}

/**
 * The values of all options of a table, checked, with defaults.
 *
 * @example const { bits, groupSize } = optionValues('loadModel', QUANTIZATION, { bits: 4 })
 */
export function optionValues<const Rows extends OptionRows>(
  operation: string,
  rows: Rows,
  options: { readonly [Name in keyof Rows]?: unknown },
): OptionValues<Rows> {
  return valuesOf(operation, rows, options) as OptionValues<Rows>
}

function valuesOf(
  operation: string,
  rows: OptionRows,
  options: Readonly<Record<string, unknown>>,
  group = '',
): Readonly<Record<string, unknown>> {
  const values: Record<string, unknown> = {}
  for (const [name, row] of Object.entries(rows)) {
    values[name] = checkedValue(operation, group + name, row, options[name])
  }
  return values
}

function checkedValue(operation: string, name: string, row: OptionRow, value: unknown): unknown {
  switch (row.type) {
    case 'number':
      return numberOption(operation, name, value, row) ?? row.default
    case 'integer':
      return integerOption(operation, name, value, row) ?? row.default
    case 'boolean':
      return booleanOption(operation, name, value) ?? row.default
    case 'string':
      return stringOption(operation, name, value)
    case 'choice':
      return checkedChoice(operation, name, row, value)
    case 'integers':
      return checkedIntegers(operation, name, row, value)
    case 'group':
      if (value === undefined || (value === false && row.orFalse)) return value
      checkOptions(operation, value as object, optionNames(row.rows), name)
      return valuesOf(operation, row.rows, value as Record<string, unknown>, `${name}.`)
    case 'function':
      return functionOption(operation, name, value)
    case 'signal':
      checkSignal(operation, value)
      return value
    default:
      return value
  }
}

/** Choices as code has them: `'auto' or 'cpu'`. */
export function listedChoices(choices: readonly (string | number)[]): string {
  const words = choices.map((choice) => (typeof choice === 'string' ? `'${choice}'` : choice))
  return listed(words, 'or')
}

function checkedChoice(operation: string, name: string, row: ChoiceRow, value: unknown): unknown {
  const { choices, expected = listedChoices(choices), required } = row
  if (value === undefined && !required) return row.default
  if (choices.includes(value as string)) return value
  throw new UnsupportedOptionError(
    `[${operation}] ${name} must be ${expected} but is ${describe(value)}`,
  )
}

function checkedIntegers(
  operation: string,
  name: string,
  row: IntegersRow,
  list: unknown,
): readonly number[] | undefined {
  if (list === undefined) return row.default
  if (!Array.isArray(list) || list.length === 0) {
    throw new TypeError(
      `[${operation}] ${name} must be a list of whole numbers but is ${describe(list)}`,
    )
  }
  for (const value of list) integerOption(operation, `each of ${name}`, value, row)
  return [...new Set<number>(list)]
}

/** Throws `UnsupportedOptionError` for an option that changes nothing without another one. */
export function checkNeeds<const Rows extends OptionRows>(
  operation: string,
  rows: Rows,
  options: { readonly [Name in keyof Rows]?: unknown },
  values: OptionValues<Rows>,
): void {
  for (const [name, row] of Object.entries<OptionRow>(rows)) {
    if (row.type !== 'number' && row.type !== 'integer') continue
    const { needs, neutral } = row
    if (!needs || options[name] === undefined || options[name] === neutral) continue
    const other = rows[needs.option] as NumberRow
    if (values[needs.option] !== other.default) continue
    throw new UnsupportedOptionError(
      `[${operation}] ${name} changes nothing without ${needs.words}: add one, or leave ${name} out`,
    )
  }
}

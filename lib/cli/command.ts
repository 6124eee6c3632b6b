// What a verb of the command line is: a name, a table of options, and a function. Parsing
// (arguments.ts) and help (help.ts) both come from the table.

/** A mistake in how the command was called: shown without a stack, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

interface OptionBase {
  /** One line for `--help`, without a full stop. */
  readonly description: string
  /** A single letter. */
  readonly short?: string
  /** Other long names, accepted but shown in `--help` only as aliases. */
  readonly aliases?: readonly string[]
  /** What stands for the value in `--help`. Defaults to the type, in capitals. */
  readonly placeholder?: string
}

export interface BooleanOption extends OptionBase {
  readonly type: 'boolean'
}

export interface StringOption extends OptionBase {
  readonly type: 'string'
  readonly default?: string
  readonly choices?: readonly string[]
  /** May be given several times; the value is then a list, empty if it was never given. */
  readonly multiple?: boolean
}

export interface NumberOption extends OptionBase {
  readonly type: 'number' | 'integer'
  readonly default?: number
  readonly choices?: readonly number[]
  /** The least value allowed. */
  readonly minimum?: number
  /** The largest value allowed. */
  readonly maximum?: number
}

/** An option of a verb. */
export type OptionDefinition = BooleanOption | StringOption | NumberOption

/** Options by long name, without the dashes. */
export type OptionTable = Readonly<Record<string, OptionDefinition>>

type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name

type OptionValue<Option extends OptionDefinition> = Option extends { type: 'boolean' }
  ? boolean
  : Option extends { multiple: true }
    ? string[]
    :
        | (Option extends { type: 'string' } ? string : number)
        | (Option extends { default: string | number } ? never : undefined)

/** The values of a table's options, by name in camel case: `--max-tokens` is `maxTokens`. */
export type OptionValues<Table extends OptionTable> = {
  readonly [Name in keyof Table & string as CamelCase<Name>]: OptionValue<Table[Name]>
}

/** What a verb's function gets. */
export interface ParsedArguments<Table extends OptionTable = OptionTable> {
  readonly options: OptionValues<Table>
  readonly positionals: readonly string[]
}

/** The arguments of a verb that are not options. */
export interface PositionalDefinition {
  readonly name: string
  readonly description: string
  /** Defaults to `false`. */
  readonly required?: boolean
  /** Takes all that are left; only for the last one. Defaults to `false`. */
  readonly multiple?: boolean
}

/** A verb of the command line. */
export interface Command<Table extends OptionTable = OptionTable> {
  readonly name: string
  readonly aliases?: readonly string[]
  /** One line, without a full stop. */
  readonly summary: string
  /** What follows the verb in the usage line: `-m MODEL -p PROMPT [options]`. */
  readonly usage: string
  readonly options: Table
  readonly positionals?: readonly PositionalDefinition[]
  /** A whole command line that works, shown at the end of `--help`. */
  readonly example: string
  /** Others, below it. */
  readonly moreExamples?: readonly string[]
  /** Returns the exit code. */
  run(args: ParsedArguments<Table>): Promise<number>
}

/**
 * Declares a verb; the types of its options' values follow from the table.
 *
 * @example
 * const info = defineCommand({
 *   name: 'info',
 *   summary: 'describe this machine',
 *   usage: '[--json]',
 *   options: { json: { type: 'boolean', description: 'print one JSON object' } },
 *   example: 'ssm-metal info --json',
 *   run: async ({ options }) => (options.json ? 0 : 1),
 * })
 */
export function defineCommand<const Table extends OptionTable>(
  command: Command<Table>,
): Command<Table> {
  return command
}

/** `max-tokens` as `maxTokens`. */
export function camelCase(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
}

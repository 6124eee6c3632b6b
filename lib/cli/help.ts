// Help texts, made from the tables of options: aligned, at most 80 columns.

import { commonOptions, describeNumber } from './arguments.js'
import type { Command, OptionDefinition } from './command.js'
import { wrap } from '../support/wrap.js'

const columns = 80
/** Descriptions begin here; what is longer on the left has its description on the next line. */
const descriptionColumn = 28

function row(left: string, description: string): string {
  const lines = wrap(description, columns - descriptionColumn)
  const indent = ' '.repeat(descriptionColumn)
  const fits = left.length + 2 <= descriptionColumn
  const first = fits ? `${left.padEnd(descriptionColumn)}${lines.shift()}` : left
  return [first, ...lines.map((line) => indent + line)].join('\n')
}

function placeholderOf(definition: OptionDefinition): string {
  if (definition.type === 'boolean') return ''
  const usual = { string: 'TEXT', number: 'NUMBER', integer: 'N' }[definition.type]
  return ` ${definition.placeholder ?? usual}`
}

function remarks(definition: OptionDefinition): string {
  const parts: string[] = []
  if (definition.type === 'string' && definition.choices) parts.push(definition.choices.join(', '))
  if (definition.type === 'string' && definition.multiple) parts.push('may be repeated')
  if (definition.type === 'number' || definition.type === 'integer') {
    const { minimum, maximum, choices } = definition
    if (minimum !== undefined || maximum !== undefined || choices !== undefined) {
      parts.push(
        describeNumber(definition)
          .replace(/^an? \w+ (?=from|of)/, '')
          .replace(/^of /, ''),
      )
    }
  }
  if (definition.aliases?.length) {
    parts.push(`also ${definition.aliases.map((alias) => `--${alias}`).join(', ')}`)
  }
  if (definition.type !== 'boolean' && definition.default !== undefined) {
    parts.push(`default ${definition.default}`)
  }
  return parts.length === 0 ? '' : ` (${parts.join('; ')})`
}

function optionRow(name: string, definition: OptionDefinition): string {
  const letter = definition.short === undefined ? '    ' : `-${definition.short}, `
  const left = `  ${letter}--${name}${placeholderOf(definition)}`
  return row(left, definition.description + remarks(definition))
}

/**
 * The `--help` text of a verb.
 *
 * @example process.stdout.write(commandHelp('ssm-metal', generate))
 */
export function commandHelp(program: string, command: Command): string {
  const names = [command.name, ...(command.aliases ?? [])]
  const usage = wrap(`${program} ${command.name} ${command.usage}`.trimEnd(), columns - 7)
  const sections = [
    `${command.name}: ${command.summary}`,
    usage.map((line, index) => (index === 0 ? 'Usage: ' : '       ') + line).join('\n'),
  ]
  if (names.length > 1) sections.push(`Also: ${names.slice(1).join(', ')}`)
  if (command.positionals?.length) {
    const rows = command.positionals.map(({ name, description }) => row(`  ${name}`, description))
    sections.push(`Arguments:\n${rows.join('\n')}`)
  }
  const options = Object.entries({ ...command.options, ...commonOptions })
  sections.push(`Options:\n${options.map((option) => optionRow(...option)).join('\n')}`)
  const examples = [command.example, ...(command.moreExamples ?? [])]
  const title = examples.length === 1 ? 'Example' : 'Examples'
  sections.push(`${title}:\n${examples.map((example) => `  ${example}`).join('\n')}`)
  return `${sections.join('\n\n')}\n`
}

/**
 * The help text of the whole program: its verbs.
 *
 * @example process.stdout.write(programHelp('ssm-metal', 'State-space models', [generate, show]))
 */
export function programHelp(
  program: string,
  summary: string,
  commands: readonly Command[],
): string {
  const verbs = commands.map(({ name, summary: text }) => row(`  ${name}`, text))
  return [
    `${program}: ${summary}`,
    `Usage: ${program} <command> [options]`,
    `Commands:\n${verbs.join('\n')}`,
    [
      'Options:',
      row('  -h, --help', `show this help, or with a command that command's`),
      row('  -v, --version', 'show the version'),
    ].join('\n'),
    `More about a command: ${program} help <command>`,
    '',
  ]
    .join('\n\n')
    .replace(/\n\n$/, '\n')
}

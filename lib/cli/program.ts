// From the words of the command line to a verb and an exit code.

import { parseArguments } from './arguments.js'
import { type Command, UsageError } from './command.js'
import { commandHelp, programHelp } from './help.js'
import { nearest } from '../support/nearest.js'
import { isError, messageOf } from '../support/realms.js'

/** A command-line program. */
export interface Program {
  readonly name: string
  readonly summary: string
  readonly version: string
  readonly commands: readonly Command[]
  /** Where help and the version go. Defaults to standard output. */
  readonly stdout?: { write(text: string): unknown }
  /** Where errors go. Defaults to standard error. */
  readonly stderr?: { write(text: string): unknown }
}

/** Exit codes: done, failed, called wrongly, interrupted. */
export const exitCodes = { success: 0, failure: 1, usage: 2, interrupted: 130 } as const

function findCommand(commands: readonly Command[], word: string): Command {
  const found = commands.find(({ name, aliases }) => name === word || aliases?.includes(word))
  if (found !== undefined) return found
  const names = commands.flatMap(({ name, aliases }) => [name, ...(aliases ?? [])])
  const near = nearest(word, [...names, 'help'])
  throw new UsageError(
    `unknown command ${JSON.stringify(word)}${near === undefined ? '' : `; did you mean ${near}?`}`,
  )
}

/**
 * Runs the verb that `words` name and returns the exit code; never throws. Errors go to standard error
 * as one message without a stack: those of usage with code 2, an abort with 130, all others with 1.
 *
 * @example process.exitCode = await runProgram(program, process.argv.slice(2))
 */
export async function runProgram(program: Program, words: readonly string[]): Promise<number> {
  const { name, summary, version, commands } = program
  const stdout = program.stdout ?? process.stdout
  const stderr = program.stderr ?? process.stderr
  const [first, ...rest] = words
  let command: Command | undefined
  try {
    if (first === undefined) {
      stderr.write(programHelp(name, summary, commands))
      return exitCodes.usage
    }
    if (first === '--version' || first === '-v') {
      stdout.write(`${version}\n`)
      return exitCodes.success
    }
    if (first === '--help' || first === '-h' || first === 'help') {
      const about = rest.find((word) => !word.startsWith('-'))
      const text =
        about === undefined || about === 'help'
          ? programHelp(name, summary, commands)
          : commandHelp(name, findCommand(commands, about))
      stdout.write(text)
      return exitCodes.success
    }
    if (first.startsWith('-')) {
      throw new UsageError(`expected a command but got the option ${first}`)
    }
    command = findCommand(commands, first)
    if (rest[0] === '--version') {
      stdout.write(`${version}\n`)
      return exitCodes.success
    }
    const { help, args } = parseArguments(command, rest)
    if (help) {
      stdout.write(commandHelp(name, command))
      return exitCodes.success
    }
    return await command.run(args)
  } catch (error) {
    const lead = command === undefined ? name : `${name} ${command.name}`
    if (isError(error) && error.name === 'AbortError') return exitCodes.interrupted
    stderr.write(`${lead}: ${messageOf(error)}\n`)
    if (!(error instanceof UsageError)) return exitCodes.failure
    stderr.write(`Try: ${command === undefined ? name : lead} --help\n`)
    return exitCodes.usage
  }
}

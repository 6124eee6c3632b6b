// What can be asked for in a chat besides answers: lines that begin with a slash.

import { expandHome } from '../../machine/cache-folder.js'
import { formatBytes, formatDuration } from '../../support/format.js'
import { nearest } from '../../support/nearest.js'
import type { Conversation } from './conversation.js'

interface SlashCommand {
  /** What follows the name: `FILE`, or `[N]` where it may be left out. */
  readonly argument?: string
  readonly summary: string
  /** What is said of it, or `LEAVE`. */
  run(conversation: Conversation, argument: string): Promise<string> | string | typeof LEAVE
}

/** What comes of a command that ends the chat. */
export const LEAVE = Symbol('leave')

const COMMANDS: Readonly<Record<string, SlashCommand>> = {
  save: {
    argument: 'FILE',
    summary: 'write the conversation and the state of the model to a file',
    async run(conversation, file) {
      await conversation.save(expandHome(file))
      return `saved: ${turnsOf(conversation)}`
    },
  },
  load: {
    argument: 'FILE',
    summary: 'go on from such a file instead',
    async run(conversation, file) {
      await conversation.load(expandHome(file))
      return `loaded: ${turnsOf(conversation)}`
    },
  },
  rewind: {
    argument: '[N]',
    summary: 'take back the last N turns, by default one',
    run(conversation, count) {
      conversation.rewind(count === '' ? 1 : wholeNumber('rewind', count))
      return `taken back: ${turnsOf(conversation)} left`
    },
  },
  fork: {
    argument: '[N]',
    summary: 'go on in a copy; with N, in branch N again',
    async run(conversation, number) {
      if (number === '') await conversation.fork()
      else conversation.switchTo(wholeNumber('fork', number))
      const { branch } = conversation
      return `branch ${branch.number} of ${branch.count}: ${turnsOf(conversation)}`
    },
  },
  reset: {
    summary: 'begin a new conversation',
    run(conversation) {
      conversation.reset()
      return 'a new conversation'
    },
  },
  stats: { summary: 'tokens, speed and memory', run: (conversation) => statsOf(conversation) },
  help: { summary: 'this list', run: () => HELP },
  exit: { summary: 'leave, as Control-D does', run: () => LEAVE },
}

const NAMES = Object.keys(COMMANDS)

const HELP = [
  ...Object.entries(COMMANDS).map(
    ([name, { argument = '', summary }]) => `${`/${name} ${argument}`.padEnd(14)}${summary}`,
  ),
  '',
  'A message of several lines: end a line with \\, or put """ before and after.',
  'Control-C stops an answer; what there is of it stays.',
].join('\n')

/** The commands that begin as a line does. */
export function completions(line: string): string[] {
  return NAMES.map((name) => `/${name}`).filter((name) => line !== '' && name.startsWith(line))
}

/**
 * Runs a line that begins with a slash; resolves to what is to be said of it.
 *
 * @throws Error for a command that there is not, and what the command throws.
 */
export async function runSlashCommand(
  conversation: Conversation,
  line: string,
): Promise<string | typeof LEAVE> {
  const [, name = '', argument = ''] = /^\/(\S*)\s*([\s\S]*?)\s*$/.exec(line)!
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) {
    const near = nearest(name, NAMES)
    const hint = near === undefined ? '; /help lists what there is' : `; did you mean /${near}?`
    throw new Error(
      `there is no /${name}${hint}\nA message that begins with / needs a space before it.`,
    )
  }
  if (argument !== '' && command.argument === undefined) {
    throw new Error(`/${name} takes nothing, but got ${JSON.stringify(argument)}`)
  }
  if (argument === '' && command.argument && !command.argument.startsWith('[')) {
    throw new Error(`/${name} needs a ${command.argument.toLowerCase()}: /${name} chat.session`)
  }
  return command.run(conversation, argument)
}

function wholeNumber(name: string, text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text)
  throw new Error(`/${name} takes a whole number from 1, but got ${JSON.stringify(text)}`)
}

function turnsOf({ turns }: Conversation): string {
  return turns === 1 ? '1 turn' : `${turns} turns`
}

/** What a turn came to, in a line. */
export function turnLine({ usage, timings, finishReason }: NonNullable<Conversation['last']>) {
  const { promptTokens, cachedTokens, completionTokens } = usage
  return [
    `prompt ${promptTokens} tokens, ${promptTokens - cachedTokens} of them computed`,
    `first token after ${formatDuration(timings.timeToFirstTokenMs)}`,
    `${completionTokens} tokens at ${timings.generationTokensPerSecond.toFixed(1)} a second (${finishReason})`,
  ].join('; ')
}

function statsOf(conversation: Conversation): string {
  const { last, model, branch } = conversation
  const memory = model.memory()
  const states = memory.slotBytes + memory.snapshotBytes
  const { promptCacheBytes, promptCacheMaxBytes } = memory
  return [
    `${turnsOf(conversation)}, branch ${branch.number} of ${branch.count}`,
    ...(last ? [turnLine(last)] : []),
    `memory: weights ${formatBytes(memory.weightBytes)}, states ${formatBytes(states)} (one is ${formatBytes(model.stateBytes)}), prompt cache ${formatBytes(promptCacheBytes)} of ${formatBytes(promptCacheMaxBytes)}`,
  ].join('\n')
}

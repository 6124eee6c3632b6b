// A chat with a person.

import { messageOf } from '../../support/realms.js'
import { harmless } from '../harmless.js'
import { exitCodes } from '../program.js'
import { type AnswerWriter, type ChatSettings, writeAnswer } from './answers.js'
import type { Conversation } from './conversation.js'
import { completions, LEAVE, runSlashCommand, turnLine } from './slash-commands.js'
import { TerminalInput } from './terminal-input.js'

const GREETING = '/help says what can be done here; Control-D leaves'

/** Talks with whoever sits at the terminal, until they leave. */
export async function chatInTerminal(
  conversation: Conversation,
  { signal, verbose }: ChatSettings,
): Promise<number> {
  const { NO_COLOR: noColor, TERM: terminal } = process.env
  const hasStyles = !noColor && terminal !== 'dumb'
  const styled = (code: number, text: string) => (hasStyles ? `\x1b[${code}m${text}\x1b[0m` : text)
  const notify = (text: string) => process.stderr.write(`${styled(DIM, text)}\n`)
  notify(GREETING)
  const input = new TerminalInput({
    prompts: { first: styled(BOLD, '> '), next: styled(BOLD, '. ') },
    complete: completions,
    notify,
    signal,
  })
  try {
    for (;;) {
      const message = await input.read()
      if (message === undefined) break
      if (message.trim() === '') continue
      if (message.startsWith('/')) {
        const said = await command(conversation, message)
        if (said === LEAVE) return exitCodes.success
        notify(said)
      } else {
        await answer(conversation, message, { input, styled, notify, verbose })
      }
    }
    // The prompt's line.
    process.stdout.write('\n')
    return signal.aborted ? exitCodes.interrupted : exitCodes.success
  } finally {
    input.close()
  }
}

const [BOLD, DIM] = [1, 2]

/** What a slash command says, or why it failed: the chat goes on. */
async function command(conversation: Conversation, line: string): Promise<string | typeof LEAVE> {
  try {
    return await runSlashCommand(conversation, line)
  } catch (error) {
    return messageOf(error)
  }
}

interface Screen {
  input: TerminalInput
  styled(code: number, text: string): string
  notify(text: string): void
  verbose: boolean
}

async function answer(
  conversation: Conversation,
  message: string,
  { input, styled, notify, verbose }: Screen,
): Promise<void> {
  const stream = conversation.say(message)
  let isStopped = false
  const stop = () => {
    isStopped = true
    void stream.return().catch(() => {})
  }
  let column: 'start' | 'thoughts' | 'text' = 'start'
  const writer: AnswerWriter = {
    thought(text) {
      column = 'thoughts'
      process.stdout.write(styled(DIM, harmless(text)))
    },
    text(text) {
      if (column === 'thoughts') process.stdout.write('\n\n')
      column = 'text'
      process.stdout.write(harmless(text))
    },
  }
  try {
    const result = await input.during(() => writeAnswer(conversation, stream, writer), stop)
    process.stdout.write('\n')
    if (isStopped && result.tokens.length === 0) notify('stopped: the question is taken back')
    if (result.finishReason === 'length') notify('the answer has reached its --max-tokens')
    if (verbose) notify(turnLine(result))
  } catch (error) {
    process.stdout.write('\n')
    notify(messageOf(error))
  }
}

// A chat with a program, or with a file: a message a line.

import { createInterface } from 'node:readline'
import { OutputClosedError } from '../interrupt.js'
import { exitCodes } from '../program.js'
import { type ChatSettings, writeAnswer } from './answers.js'
import type { Conversation } from './conversation.js'
import { MessageLines } from './message-lines.js'
import { LEAVE, runSlashCommand, turnLine } from './slash-commands.js'

/** Answers line by line what comes on standard input, on standard output. Throws at the first failure. */
export async function chatThroughPipe(
  conversation: Conversation,
  { signal, verbose, json }: ChatSettings,
): Promise<number> {
  const lines = new MessageLines()
  const input = createInterface({ input: process.stdin, signal, terminal: false })
  for await (const line of input) {
    const message = lines.push(line)
    if (message === undefined || message.trim() === '') continue
    if (message.startsWith('/')) {
      const said = await runSlashCommand(conversation, message)
      if (said === LEAVE) break
      process.stderr.write(`${said}\n`)
      continue
    }
    const stream = conversation.say(message)
    // What there is of the answer is part of the conversation.
    const stop = () => void stream.return().catch(() => {})
    signal.addEventListener('abort', stop)
    const result = await writeAnswer(conversation, stream, {
      text: (text) => void (json || process.stdout.write(text)),
    }).finally(() => signal.removeEventListener('abort', stop))
    if (signal.reason instanceof OutputClosedError) break
    process.stdout.write(json ? `${JSON.stringify({ message, ...result })}\n` : '\n')
    if (verbose) process.stderr.write(`${turnLine(result)}\n`)
    if (signal.aborted) break
  }
  input.close()
  if (signal.reason instanceof OutputClosedError) return exitCodes.success
  if (signal.aborted) return exitCodes.interrupted
  if (lines.isOpen) throw new Error('the input ended within a message of several lines')
  return exitCodes.success
}

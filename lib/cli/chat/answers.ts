// What is shown of an answer, whoever reads it.

import type { GenerateResult } from '../../generation/generate.js'
import type { TextStream } from '../../generation/text-stream.js'
import type { Conversation } from './conversation.js'

/** What both kinds of chat are told. */
export interface ChatSettings {
  signal: AbortSignal
  /** Tokens and speed after each answer. */
  verbose: boolean
  json: boolean
}

/** Writes an answer as it comes, without the white space that it begins with. */
export interface AnswerWriter {
  thought?(text: string): void
  text(text: string): void
}

/** Has an answer written, and tells the conversation what it came to. */
export async function writeAnswer(
  conversation: Conversation,
  stream: TextStream,
  writer: AnswerWriter,
): Promise<GenerateResult> {
  const [thought, text] = [withoutLead(), withoutLead()]
  for await (const chunk of stream) {
    const [reasoning, said] = [thought(chunk.reasoning ?? ''), text(chunk.text)]
    if (reasoning !== '') writer.thought?.(reasoning)
    if (said !== '') writer.text(said)
  }
  conversation.answered(stream.partial)
  return stream.partial
}

/** Drops the white space that pieces of text begin with together. */
function withoutLead(): (piece: string) => string {
  let hasBegun = false
  return (piece) => {
    const rest = hasBegun ? piece : piece.trimStart()
    hasBegun ||= rest !== ''
    return rest
  }
}

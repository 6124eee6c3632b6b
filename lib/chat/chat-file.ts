// Between a chat in memory and its file: a session file, whose metadata have the conversation too.

import type { Engine } from '../engine/engine.js'
import { SequenceState } from '../engine/sequence-state.js'
import { CorruptFileError } from '../support/errors.js'
import type { ModelIdentity } from '../models/model-identity.js'
import { messageOf } from '../support/realms.js'
import { writeSessionFile } from '../sessions/session-file.js'
import { restoredState, savedContents } from '../sessions/session-saving.js'
import { TokenHistory } from '../engine/token-history.js'
import { concatenated } from '../support/token-ids.js'
import type { ChatState } from './chat-states.js'
import { type ChatMessage, copiedMessages } from './messages.js'
import { type Border, Transcript } from './transcript.js'

interface ChatContents {
  messages: readonly ChatMessage[]
  transcript: Transcript
}

interface ChatModel {
  model: ModelIdentity
  engine: Engine
}

/** The key `chat` of the metadata, as JSON. */
interface SavedChat {
  messages: ChatMessage[]
  text: string
  /** Pairs of characters and tokens. */
  borders: [number, number][]
  /** Tokens of the text that the state has not consumed. */
  tokens: number[]
}

/** Writes a chat, whole or not at all. Without a state the file has that of no tokens. */
export async function writeChat(
  path: string,
  { messages, transcript, state }: ChatContents & { state: ChatState | undefined },
  { model, engine }: ChatModel,
): Promise<void> {
  const snapshot = state?.snapshot.share() ?? (await engine.snapshot(new SequenceState(), 0))
  try {
    const consumed = state?.tokens ?? new Uint32Array(0)
    const history = new TokenHistory(consumed.slice())
    const chat: SavedChat = {
      messages: [...messages],
      text: transcript.text,
      borders: transcript.borders.map(({ characters, tokens }) => [characters, tokens]),
      tokens: [...transcript.tokens.subarray(consumed.length)],
    }
    const contents = await savedContents(snapshot, history, { engine, model, tokens: true })
    await writeSessionFile(path, { ...contents, chat: JSON.stringify(chat) })
  } finally {
    snapshot.dispose()
  }
}

/** Reads a chat. The caller disposes of the state. Throws what `readSessionFile` throws. */
export async function readChat(
  path: string,
  { model, engine }: ChatModel,
): Promise<ChatContents & { state: ChatState }> {
  const { snapshot, history, chat } = await restoredState(path, engine, model)
  try {
    if (chat === undefined) {
      throw new CorruptFileError(
        `${path}: a session that is no chat: load it with model.loadSession`,
      )
    }
    if (history.unknown > 0) {
      throw new CorruptFileError(
        `${path}: the chat in this session file is damaged: it has no tokens`,
      )
    }
    const consumed = history.known()
    const { paddedVocabSize } = engine.model.config
    const contents = contentsOf(path, chat, { consumed, vocabulary: paddedVocabSize })
    return { ...contents, state: { tokens: consumed, snapshot } }
  } catch (error) {
    snapshot.dispose()
    throw error
  }
}

function contentsOf(
  path: string,
  text: string,
  { consumed, vocabulary }: { consumed: Uint32Array; vocabulary: number },
): ChatContents {
  const damaged = (problem: string): never => {
    throw new CorruptFileError(`${path}: the chat in this session file is damaged: ${problem}`)
  }
  try {
    const chat = JSON.parse(text) as Partial<SavedChat> | null
    if (typeof chat?.text !== 'string') return damaged('it has no text')
    if (!Array.isArray(chat.tokens) || !chat.tokens.every((id) => isBelow(id, vocabulary))) {
      return damaged('its tokens are none of the vocabulary')
    }
    const tokens = concatenated(consumed, chat.tokens)
    const ends = { characters: chat.text.length, tokens: tokens.length }
    const borders = bordersOf(chat.borders, ends) ?? damaged('its borders are none of its text')
    const messages = copiedMessages('load', chat.messages as ChatMessage[])
    return { messages, transcript: new Transcript(chat.text, tokens, borders) }
  } catch (error) {
    if (error instanceof CorruptFileError) throw error
    return damaged(messageOf(error).replace(/^\[load\] /, ''))
  }
}

// Ascending, within the text and its tokens.
function bordersOf(pairs: unknown, ends: Border): Border[] | undefined {
  if (!Array.isArray(pairs)) return undefined
  const borders: Border[] = []
  for (const pair of pairs) {
    const [characters, tokens] = Array.isArray(pair) ? (pair as unknown[]) : []
    const last = borders.at(-1) ?? { characters: 0, tokens: 0 }
    if (!isBelow(characters, ends.characters + 1) || !isBelow(tokens, ends.tokens + 1)) {
      return undefined
    }
    if (characters < last.characters || tokens < last.tokens) return undefined
    borders.push({ characters, tokens })
  }
  return borders
}

function isBelow(value: unknown, end: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < end
}

// The conversations of one terminal: the one that goes on, and those that it was forked from.

import type { Chat } from '../../chat/chat.js'
import type { GenerateResult } from '../../generation/generate.js'
import type { Model } from '../../model.js'
import type { ChatOptions } from '../../options/chat.js'
import type { GenerateOptions } from '../../options/generation.js'
import type { TextStream } from '../../generation/text-stream.js'

/** What conversations have in common. */
export interface ConversationOptions {
  chat: Pick<ChatOptions, 'system' | 'template'>
  turn: GenerateOptions
}

/** Conversations with a model, of which one is the current one. */
export class Conversation {
  readonly model: Model
  readonly #options: ConversationOptions
  readonly #branches: Chat[]
  #current = 0
  #last: GenerateResult | undefined

  constructor(model: Model, options: ConversationOptions) {
    this.model = model
    this.#options = options
    this.#branches = [model.createChat(options.chat)]
  }

  /** The number of the current branch, from 1, and how many there are. */
  get branch(): { number: number; count: number } {
    return { number: this.#current + 1, count: this.#branches.length }
  }

  /** Messages of users. */
  get turns(): number {
    return this.#chat.messages.filter(({ role }) => role === 'user').length
  }

  /** What the last answer came to. */
  get last(): GenerateResult | undefined {
    return this.#last
  }

  get #chat(): Chat {
    return this.#branches[this.#current]!
  }

  /** Answers a message. The stream is to be iterated over, or stopped. */
  say(message: string, signal?: AbortSignal): TextStream {
    return this.#chat.stream(message, { ...this.#options.turn, signal })
  }

  /** Keeps what an answer came to, for `last`. */
  answered(result: GenerateResult): void {
    this.#last = result
  }

  /** Begins anew. */
  reset(): void {
    this.#replace(this.model.createChat(this.#options.chat))
  }

  /**
   * Takes back the last turns: what users said, and the answers. The prompt cache has the state there, unless it needed
   * the room.
   *
   * @throws RangeError where there are not so many.
   */
  rewind(turns: number): void {
    const { messages } = this.#chat
    const starts = messages.flatMap(({ role }, index) => (role === 'user' ? [index] : []))
    const start = starts.at(-turns)
    if (start === undefined) {
      throw new RangeError(`there are ${starts.length} turns to take back, not ${turns}`)
    }
    const { template } = this.#options.chat
    this.#replace(this.model.createChat({ template, messages: messages.slice(0, start) }))
  }

  /** Goes on in a copy. */
  async fork(): Promise<void> {
    this.#current = this.#branches.push(await this.#chat.fork()) - 1
  }

  /** Goes on in another branch. Throws RangeError where there is none of that number. */
  switchTo(number: number): void {
    if (this.#branches[number - 1] === undefined) {
      throw new RangeError(`there is no branch ${number}, only 1 to ${this.#branches.length}`)
    }
    this.#current = number - 1
  }

  save(path: string): Promise<void> {
    return this.#chat.save(path)
  }

  load(path: string): Promise<void> {
    return this.#chat.load(path)
  }

  #replace(chat: Chat): void {
    this.#chat.dispose()
    this.#branches[this.#current] = chat
  }

  [Symbol.dispose](): void {
    for (const chat of this.#branches) chat.dispose()
  }
}

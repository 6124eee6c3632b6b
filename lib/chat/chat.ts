// A conversation with a model: each turn runs its new text only.

import type { CachedPrompts } from '../engine/cached-prompts.js'
import type { Engine } from '../engine/engine.js'
import { alsoFor } from '../engine/moments.js'
import { DisposedError, SessionBusyError, UnsupportedOptionError } from '../support/errors.js'
import type { Begun, GenerateResult } from '../generation/generate.js'
import type { ChatTemplateOptions } from '../options/chat.js'
import { type GenerateOptions, GENERATION } from '../options/generation.js'
import { withDefaults } from '../generation/generation-config.js'
import type { Generator } from '../generation/generator.js'
import type { ModelIdentity } from '../models/model-identity.js'
import { checkOptions, checkPath } from '../support/option-checks.js'
import { optionNames } from '../support/option-table.js'
import type { StreamSettings } from '../engine/stream.js'
import type { TextStream } from '../generation/text-stream.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { readChat, writeChat } from './chat-file.js'
import { ChatStates } from './chat-states.js'
import { CHANGE_GREEDY, checkTurnOptions } from './chat-options.js'
import type { ChatTemplate } from './chat-template.js'
import { type ChatMessage, copiedMessages } from './messages.js'
import { opensReasoning, type ReasoningTags, reasoningTags } from '../generation/reasoning.js'
import type { Transcript } from './transcript.js'

/** What a chat needs of its model. */
export interface ChatHost {
  readonly engine: Engine
  readonly generator: Generator
  readonly cachedPrompts: CachedPrompts | undefined
  readonly tokenizer: Tokenizer
  readonly template: ChatTemplate
  readonly generationDefaults: GenerateOptions
  identity(): Promise<ModelIdentity>
  /** Throws when the model was disposed of. */
  check(operation: string): void
  /** Counts the memory of what is alive. */
  holds(owner: Chat): void
  letsGo(owner: Chat): void
}

/** What a chat consists of besides the states that it holds. */
interface Conversation {
  messages: readonly ChatMessage[]
  transcript: Transcript
}

/**
 * A conversation. It holds the model's state after its last prompt and after the last answer, so that a turn costs
 * its new text only, whatever the prompt cache keeps. Where the template rewrites what was said before, it goes back
 * to where both are the same. One call at a time; `SessionBusyError` otherwise.
 *
 * A turn that ends by itself or by `break` is part of the conversation; one that rejects leaves it as it was.
 *
 * @example
 * using chat = model.createChat({ system: 'Be brief.' })
 * const { text } = await chat.send('What is a state space?', { maxTokens: 100 })
 * for await (const { text } of chat.stream('And what is it for?')) process.stdout.write(text)
 */
export class Chat {
  readonly #host: ChatHost
  readonly #templateOptions: ChatTemplateOptions
  readonly #tags: ReasoningTags | undefined
  readonly #states: ChatStates
  #conversation: Conversation
  #running: string | undefined
  #isDisposed = false

  /** @internal Use `model.createChat`. */
  constructor(
    host: ChatHost,
    templateOptions: ChatTemplateOptions,
    conversation: Conversation,
    states = new ChatStates(),
  ) {
    this.#host = host
    this.#templateOptions = templateOptions
    this.#conversation = conversation
    this.#states = states
    this.#tags = reasoningTags(host.template.text, host.tokenizer)
    host.template.prepare()
    host.holds(this)
  }

  /** The conversation so far, as a copy of the caller's own. */
  get messages(): ChatMessage[] {
    return copiedMessages('messages', this.#conversation.messages)
  }

  /**
   * Says something and generates the answer. `message`: a user's text, or messages, such as the answers of tools.
   *
   * @throws SessionBusyError; ChatTemplateError where the template refuses the conversation.
   * @example const { text, reasoning, usage } = await chat.send('Hello', { maxTokens: 200 })
   */
  async send(
    message: string | ChatMessage | readonly ChatMessage[],
    options: GenerateOptions = {},
  ): Promise<GenerateResult> {
    return this.#turn('send', this.#with('send', message), options).resultAlone()
  }

  /**
   * The same as a stream. The chat is busy from the first token that is asked for until the stream ends.
   *
   * @example for await (const { text } of chat.stream('Hello')) process.stdout.write(text)
   */
  stream(
    message: string | ChatMessage | readonly ChatMessage[],
    options: GenerateOptions = {},
  ): TextStream {
    return this.#turn('stream', this.#with('stream', message), options)
  }

  /**
   * Another answer in the place of the last one, with a new seed. Nothing is computed but the answer.
   *
   * @throws RangeError where the last message is no answer; UnsupportedOptionError
   * where the answer would be the same: at temperature 0 without a penalty, bias or format.
   * @example const { text } = await chat.regenerate({ temperature: 0.8 })
   */
  async regenerate(options: GenerateOptions = {}): Promise<GenerateResult> {
    this.#check('regenerate')
    checkOptions('regenerate', options, optionNames(GENERATION))
    const question = () => {
      const { messages } = this.#conversation
      if (messages.at(-1)?.role === 'assistant') return messages.slice(0, -1)
      throw new RangeError('[regenerate] there is no answer to replace: send a message first')
    }
    question()
    const { temperature } = withDefaults(options, this.#host.generationDefaults)
    if (!temperature && CHANGE_GREEDY.every((name) => options[name] === undefined)) {
      throw new UnsupportedOptionError(
        '[regenerate] at temperature 0 the answer would be the same: give a temperature above 0',
      )
    }
    return this.#turn('regenerate', question, options).resultAlone()
  }

  /**
   * A second chat that goes on from here on its own.
   *
   * @example using other = await chat.fork()
   */
  async fork(): Promise<Chat> {
    this.#check('fork')
    return this.#alone('fork', async () => {
      await this.#states.settled()
      const states = this.#states.fork()
      return new Chat(this.#host, this.#templateOptions, this.#conversation, states)
    })
  }

  /**
   * Writes the conversation and the model's state to a file, whole or not at all. The file is a session file with
   * the messages in it: docs/chat.md.
   *
   * @throws the errors of `fs`.
   * @example await chat.save('chat.session')
   */
  async save(path: string): Promise<void> {
    checkPath('save', path)
    this.#check('save')
    await this.#alone('save', async () => {
      await this.#states.settled()
      const model = await this.#host.identity()
      const { messages, transcript } = this.#conversation
      // From here on the file's writer holds it, whoever disposes of this chat.
      const state = this.#states.longestOf(transcript.tokens)
      await writeChat(path, { messages, transcript, state }, { model, engine: this.#host.engine })
    })
  }

  /**
   * Takes the conversation that `save` wrote to a file in the place of this one. Template, tools and arguments stay
   * those of this chat.
   *
   * @throws CorruptFileError for a file that is missing or damaged, SessionMismatchError for one of another model.
   * @example await chat.load('chat.session')
   */
  async load(path: string): Promise<void> {
    checkPath('load', path)
    this.#check('load')
    await this.#alone('load', async () => {
      // What the last turn left would take the place of what is loaded.
      await this.#states.settled()
      const model = await this.#host.identity()
      const { messages, transcript, state } = await readChat(path, {
        model,
        engine: this.#host.engine,
      })
      if (this.#isDisposed) {
        state.snapshot.dispose()
        throw disposedError('load')
      }
      this.#conversation = { messages, transcript }
      this.#states.restore(state)
    })
  }

  /** Frees the states. A stream that is under way ends as it would have. */
  dispose(): void {
    if (this.#isDisposed) return
    this.#isDisposed = true
    this.#states.dispose()
    this.#host.letsGo(this)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** @internal Bytes of the states that it holds; the prompt cache may hold the same ones. */
  get snapshotBytes(): number {
    return this.#states.snapshots.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  // The conversation as it is when the turn begins, and what is said now.
  #with(
    operation: string,
    message: string | ChatMessage | readonly ChatMessage[],
  ): () => readonly ChatMessage[] {
    this.#check(operation)
    const added: readonly ChatMessage[] =
      typeof message === 'string'
        ? [{ role: 'user', content: message }]
        : Array.isArray(message)
          ? message
          : [message as ChatMessage]
    const copies = copiedMessages(operation, added)
    return () => [...this.#conversation.messages, ...copies]
  }

  // The answer to messages, which are asked for when nothing else can change the conversation.
  #turn(
    operation: string,
    question: () => readonly ChatMessage[],
    options: GenerateOptions,
  ): TextStream {
    let asked: Conversation | undefined
    return this.#host.generator.start(operation, {
      options,
      tokens: () => {
        checkTurnOptions(operation, options)
        return NO_TOKENS
      },
      begin: async (settings) => {
        this.#check(operation)
        if (this.#running) throw this.#busy(operation)
        this.#running = operation
        try {
          const messages = question()
          const transcript = await this.#prompt(operation, messages)
          const begun = await this.#begin(operation, transcript, options, settings)
          asked = { messages, transcript }
          return begun
        } catch (error) {
          this.#running = undefined
          throw error
        }
      },
      onEnd: (result, failed) => {
        if (!asked) return
        this.#running = undefined
        if (!failed) this.#answered(asked, result)
      },
    })
  }

  async #prompt(operation: string, messages: readonly ChatMessage[]): Promise<Transcript> {
    const { template, tokenizer } = this.#host
    const text = await template.renderFor(operation, messages, {
      ...this.#templateOptions,
      addGenerationPrompt: true,
    })
    const encode = (part: string) => tokenizer.encode(part, { addSpecialTokens: false })
    const transcript = this.#conversation.transcript.extendedTo(text, encode)
    if (transcript.tokens.length > 0) return transcript
    throw new RangeError(
      `[${operation}] the chat template makes an empty prompt of this conversation`,
    )
  }

  async #begin(
    operation: string,
    { text, tokens }: Transcript,
    { prefillChunkSize }: GenerateOptions,
    settings: StreamSettings,
  ): Promise<Begun> {
    const { engine, generator, cachedPrompts } = this.#host
    const tags = this.#tags
    const thoughts = tags && { tags, isOpened: opensReasoning(text, tags) }
    const masker = generator.maskerAfter(thoughts, settings)
    const cached = generator.momentsOf(tokens, { text, prefillChunkSize })
    const begins = !cachedPrompts?.isExact
    const stream = await engine.open(operation, {
      ...settings,
      masker,
      position: 0,
      history: tokens,
      generated: 0,
      moments: alsoFor(cached, this.#states.momentsOf(tokens, { begins })),
    })
    return { stream, prompt: tokens, parts: { thoughts } }
  }

  #answered(
    { messages, transcript }: Conversation,
    { text, reasoning, tokens }: GenerateResult,
  ): void {
    const thoughts = reasoning ? { reasoning_content: reasoning } : {}
    const answer: ChatMessage = { role: 'assistant', content: text, ...thoughts }
    const said = this.#host.tokenizer.decode(tokens, {
      skipSpecialTokens: false,
      keepLeadingSpace: true,
    })
    this.#conversation = {
      messages: [...messages, answer],
      transcript: transcript.withGenerated(said, tokens),
    }
  }

  async #alone<T>(operation: string, work: () => Promise<T>): Promise<T> {
    if (this.#running) throw this.#busy(operation)
    this.#running = operation
    try {
      return await work()
    } finally {
      this.#running = undefined
    }
  }

  #busy(operation: string): Error {
    return new SessionBusyError(
      `[${operation}] this chat is busy with ${this.#running}: wait for its end, or fork the chat before`,
    )
  }

  #check(operation: string): void {
    this.#host.check(operation)
    if (this.#isDisposed) throw disposedError(operation)
  }
}

const NO_TOKENS = new Uint32Array(0)

function disposedError(operation: string): Error {
  return new DisposedError(`[${operation}] this chat was disposed`)
}

// A loaded model: what most users hold.

import { Chat, type ChatHost } from './chat/chat.js'
import { chatBeginning } from './chat/chat-options.js'
import type { ChatTemplate } from './chat/chat-template.js'
import { applyChatTemplate, chatTemplateOf, type FoundChatTemplate } from './chat/find.js'
import type { ChatMessage } from './chat/messages.js'
import { Transcript } from './chat/transcript.js'
import type { Device } from './operations/device.js'
import { DisposedError } from './support/errors.js'
import type { Engine } from './engine/engine.js'
import type { PageMemory } from './engine/paged-cache.js'
import { CachedPrompts, type CachedPromptsOptions } from './engine/cached-prompts.js'
import { Scorer } from './engine/scoring.js'
import { SequenceState } from './engine/sequence-state.js'
import type { GenerateResult, TextParts } from './generation/generate.js'
import type { SampleStreams } from './generation/samples.js'
import {
  type GenerateOptions,
  LOGITS,
  type LogitsOptions,
  type Prompt,
  PROMPT,
  type PromptOptions,
  type SamplesOptions,
} from './options/generation.js'
import type { ChatOptions, ChatTemplateOptions } from './options/chat.js'
import type { ClassifyOptions, ScoreOptions } from './options/scoring.js'
import type { GenerationDefaults } from './generation/generation-config.js'
import { Generator } from './generation/generator.js'
import type { TextStream } from './generation/text-stream.js'
import type { ModelConfig } from './models/config.js'
import type { EndOfTextToken } from './generation/end-of-text.js'
import type { LanguageModel } from './models/language-model.js'
import { stateBytes } from './models/state-fields.js'
import { checkOptions, checkPath } from './support/option-checks.js'
import { optionNames, optionValue } from './support/option-table.js'
import { LiveSet } from './support/live-set.js'
import type { ModelIdentity } from './models/model-identity.js'
import { PromptReader } from './generation/prompt-reader.js'
import { restoredState } from './sessions/session-saving.js'
import { Session, type SessionHost } from './sessions/session.js'
import { SessionCheckpoint } from './sessions/session-checkpoint.js'
import { type Classification, PrefixScorer, type Score } from './scoring/scoring.js'
import type { Tokenizer } from './tokenizer/tokenizer.js'

// 16 GiB: what a typed array holds in every supported version of Node.
const MOST_LOGITS = 2 ** 32

/** Native memory of a model, in bytes. */
export interface ModelMemory {
  weightBytes: number
  /** What sequences that run, and sessions, keep between tokens. Grows with the most that there were at once. */
  slotBytes: number
  /** Checkpoints, sessions that have not run yet or whose slot others needed, and moments of chats. */
  snapshotBytes: number
  /** Scratch memory of passes and kernels. */
  workspaceBytes: number
  /** Snapshots of prompts and turns, for later prompts that begin in the same way. */
  promptCacheBytes: number
  /** The most that they may become; 0 without a prompt cache. */
  promptCacheMaxBytes: number
  /** Keys and values of positions, of models with attention over all of them; undefined for others. */
  pages?: PageMemory
}

/** What a model is besides its weights. */
interface ModelFacts {
  /** Whose sessions are whose. Reads some bytes of the weights when it is first asked for. */
  identity(): Promise<ModelIdentity>
  tokenizer: Tokenizer | undefined
  /** Why the tokenizer that is there cannot be used. */
  problem?: Error | undefined
  endOfText: readonly EndOfTextToken[]
  /** Without it nothing is kept of prompts. */
  promptCache?: CachedPromptsOptions | undefined
  chat: FoundChatTemplate
  generationDefaults: GenerationDefaults
}

/**
 * A model on a device. Holds native memory: dispose of it with `await using`, or `dispose()`.
 * Methods may be called while others run; the device takes turns.
 */
export class Model {
  readonly config: ModelConfig
  /** Undefined when there is none, or none that can be used: prompts must then be token ids. */
  readonly tokenizer: Tokenizer | undefined
  /** The tokens that end a text, and what says so. */
  readonly endOfText: readonly EndOfTextToken[]
  /** What makes prompts of conversations. Undefined when the checkpoint has none, as base models. */
  readonly chatTemplate: ChatTemplate | undefined
  /**
   * Sampling options that calls have where they give none, from the model's generation_config.json. Empty where it has
   * none or `loadModel` was told not to use them.
   */
  readonly generationDefaults: GenerationDefaults
  readonly device: Device
  /** Bytes of the weights in memory. */
  readonly weightBytes: number
  /** Bytes that one sequence keeps between tokens, whatever its length. */
  readonly stateBytes: number
  /** @internal */
  readonly languageModel: LanguageModel
  /** @internal */
  readonly engine: Engine
  readonly #chat: FoundChatTemplate
  readonly #cachedPrompts: CachedPrompts | undefined
  readonly #reader: PromptReader
  readonly #generator: Generator
  readonly #held = new LiveSet<Session | SessionCheckpoint | Chat>()
  readonly #sessions: SessionHost
  readonly #scorer: PrefixScorer
  #disposed = false

  /** @internal Use `loadModel`. */
  constructor(engine: Engine, facts: ModelFacts, loadMs: number) {
    const { model } = engine
    const { identity, tokenizer, endOfText, chat, generationDefaults, promptCache } = facts
    this.engine = engine
    this.device = model.device
    this.languageModel = model
    this.tokenizer = tokenizer
    this.endOfText = endOfText
    this.chatTemplate = chat.template
    this.#chat = chat
    this.generationDefaults = generationDefaults
    const cachedPrompts = promptCache && new CachedPrompts(model, promptCache)
    this.#cachedPrompts = cachedPrompts
    engine.freePages = () => cachedPrompts?.freeSome() ?? false
    this.config = model.config
    const reader = new PromptReader(model.config, facts)
    this.#reader = reader
    this.#generator = new Generator({
      engine,
      reader,
      cachedPrompts,
      endOfText,
      generationDefaults,
      loadMs,
    })
    this.weightBytes = model.weightBytes
    this.stateBytes = stateBytes(model.config, model.activationType)
    this.#scorer = new PrefixScorer(engine, reader, (prompt) => cachedPrompts?.momentsOf(prompt))
    let known: Promise<ModelIdentity> | undefined
    this.#sessions = {
      languageModel: model,
      engine,
      stateBytes: this.stateBytes,
      identity: () => {
        // A failure to read the weights may pass.
        known ??= identity().catch((error: unknown) => {
          known = undefined
          throw error
        })
        return known
      },
      check: (operation) => this.#check(operation),
      tokens: (...prompt) => reader.tokens(...prompt),
      stream: (operation, wanted) => this.#generator.start(operation, wanted),
      scoreAfter: (...asked) => this.#scorer.scoreAfter(...asked),
      holds: (owner) => this.#held.add(owner),
      letsGo: (owner) => this.#held.delete(owner),
    }
  }

  /**
   * The most tokens of a prompt and its text together, for models with attention over all positions; undefined for
   * others, which have no limit.
   */
  get maxContext(): number | undefined {
    const { maxContext } = this.engine.context
    return Number.isFinite(maxContext) ? maxContext : undefined
  }

  /** @internal Which model this is, wherever its files are. */
  identity(): Promise<ModelIdentity> {
    return this.#sessions.identity()
  }

  /** `mamba2` or `rene`. */
  get architecture(): ModelConfig['architecture'] {
    return this.config.architecture
  }

  /**
   * The logits after each token: data[i * vocabulary + v] of shape [length, vocabulary].
   *
   * @example
   * const { data, shape } = await model.logits([1, 2, 3])
   */
  async logits(
    tokens: Prompt,
    options: LogitsOptions = {},
  ): Promise<{ data: Float32Array; shape: [length: number, vocabulary: number] }> {
    this.#check('logits')
    checkOptions('logits', options, optionNames(LOGITS))
    optionValue('logits', LOGITS, 'signal', options)
    const ids = this.#reader.tokens('logits', tokens, options)
    this.engine.checkContext('logits', ids.length)
    const vocabulary = this.config.paddedVocabSize
    if (ids.length * vocabulary > MOST_LOGITS) {
      throw new RangeError(
        `[logits] ${ids.length} tokens have ${ids.length * vocabulary} logits, more than the ${MOST_LOGITS} that one array holds: ask in parts, or use perplexity`,
      )
    }
    const data = new Float32Array(ids.length * vocabulary)
    const prefillChunkSize = optionValue('logits', LOGITS, 'prefillChunkSize', options)
    using scorer = new Scorer(this.languageModel)
    const store = (rows: Float32Array, first: number) => data.set(rows, first * vocabulary)
    await scorer.logits(ids, store, { signal: options.signal, prefillChunkSize })
    return { data, shape: [ids.length, vocabulary] }
  }

  /**
   * How likely each continuation is after `prefix`: log-probabilities of its tokens, as `logits` has them. The prefix
   * is read once. Text is tokenised together with the prefix; a continuation has the tokens that are not the prefix's
   * own. docs/scoring.md says what it costs.
   *
   * @throws RangeError for an empty prefix or continuation.
   * @example
   * const [yes, no] = await model.score('Is water wet? Answer:', [' yes', ' no'])
   * yes.logprob > no.logprob
   */
  async score(
    prefix: Prompt,
    continuations: readonly Prompt[],
    options: ScoreOptions = {},
  ): Promise<Score[]> {
    this.#check('score')
    return this.#scorer.score(prefix, continuations, options)
  }

  /**
   * Which label comes next: p(label | prefix), over those of all labels. They are compared as text that follows the
   * prefix, so one that begins a word has a space in front.
   *
   * @throws RangeError for an empty prefix or label.
   * @example
   * const { label, probabilities } = await model.classify(`${review}\nSentiment:`, [' good', ' bad'])
   */
  async classify<Label extends Prompt>(
    prefix: Prompt,
    labels: readonly Label[],
    options: ClassifyOptions = {},
  ): Promise<Classification<Label>> {
    this.#check('classify')
    return this.#scorer.classify(prefix, labels, options)
  }

  /**
   * The token ids of a prompt, checked against the vocabulary. Throws for an empty one, and
   * `TokenizerNotFoundError` for a text when the model has no tokenizer that can be used.
   *
   * @example
   * model.encode('Once upon a time') // Uint32Array
   */
  encode(prompt: Prompt, options: PromptOptions = {}): Uint32Array {
    checkOptions('encode', options, optionNames(PROMPT))
    return this.#reader.tokens('encode', prompt, options)
  }

  /**
   * The prompt that the checkpoint's chat template makes of a conversation. It is a text with the template's own
   * special tokens: give it to `generate` with `addSpecialTokens: false`. What the
   * template asks for else, such as `enable_thinking`, goes among the options.
   *
   * @throws NoChatTemplateError when there is none; ChatTemplateError when it refuses the conversation, fails
   *   or takes longer than 0.8 seconds; UnsupportedOptionError for an argument that it does not mention.
   * @example
   * const prompt = await model.applyChatTemplate([{ role: 'user', content: 'Hello' }], { addGenerationPrompt: true })
   */
  async applyChatTemplate(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions = {},
  ): Promise<string> {
    this.#check('applyChatTemplate')
    return applyChatTemplate(this.#chat, messages, options)
  }

  /**
   * Generates `n` texts from one prompt, which is run once: their seeds are `seed`, `seed + 1`, ...
   *
   * @example
   * const [first, second] = await model.generate('Once upon a time', { n: 2, temperature: 0.8 })
   */
  generate(prompt: Prompt, options: SamplesOptions): Promise<GenerateResult[]>
  /**
   * Generates text. Greedy unless `temperature` or the model's `generationDefaults` say otherwise; with a `seed`, sampling
   * repeats exactly.
   * Rejects with `signal.reason` when aborted.
   *
   * @example
   * const { text } = await model.generate('Once upon a time', { maxTokens: 50, temperature: 0.8 })
   */
  generate(prompt: Prompt, options?: GenerateOptions): Promise<GenerateResult>
  async generate(
    prompt: Prompt,
    options: GenerateOptions | SamplesOptions = {},
  ): Promise<GenerateResult | GenerateResult[]> {
    this.#check('generate')
    const { n } = (options ?? {}) as Partial<SamplesOptions>
    // Awaited, so that the stack of an error goes on to whoever called this.
    if (n !== undefined) return await this.#generator.samples('generate', prompt, { ...options, n })
    return this.#generator.stream('generate', prompt, options).resultAlone()
  }

  /**
   * Generates text as a stream. `break` or `signal` stop the work within a token.
   *
   * @example
   * for await (const { text } of model.stream('Once upon a time')) process.stdout.write(text)
   */
  stream(prompt: Prompt, options: GenerateOptions = {}): TextStream {
    this.#check('stream')
    return this.#generator.stream('stream', prompt, options)
  }

  /** @internal `n` texts after a prompt as streams; `parts` come apart. */
  async sampleStreams(
    operation: string,
    prompt: Prompt,
    options: SamplesOptions,
    parts?: TextParts,
  ): Promise<SampleStreams> {
    this.#check(operation)
    return this.#generator.sampleStreams(operation, prompt, options, parts)
  }

  /**
   * A sequence to hold: its state stays between calls, and can be copied, rewound and saved.
   *
   * @example using session = model.createSession()
   */
  createSession(): Session {
    this.#check('createSession')
    return new Session(this.#sessions)
  }

  /**
   * The session that `session.save` wrote to a file. It has consumed all of its tokens.
   *
   * @throws CorruptFileError for a file that is missing or damaged, SessionMismatchError for one of another
   *   model or a newer version.
   * @example using session = await model.loadSession('chat.session')
   */
  async loadSession(path: string): Promise<Session> {
    this.#check('loadSession')
    checkPath('loadSession', path)
    const identity = await this.#sessions.identity()
    const { snapshot, history } = await restoredState(path, this.engine, identity)
    return new Session(this.#sessions, new SequenceState(snapshot), history)
  }

  /**
   * A conversation: each turn runs its new text only.
   *
   * @throws NoChatTemplateError for a model without a chat template, as base models are: give one, such as
   *   `PLAIN_CHAT_TEMPLATE`. TokenizerNotFoundError without a tokenizer.
   * @example
   * using chat = model.createChat({ system: 'Be brief.' })
   * const { text } = await chat.send('What is a state space?')
   */
  createChat(options: ChatOptions = {}): Chat {
    this.#check('createChat')
    const { messages, templateOptions } = chatBeginning('createChat', options)
    const host: ChatHost = {
      engine: this.engine,
      generator: this.#generator,
      cachedPrompts: this.#cachedPrompts,
      tokenizer: this.#reader.needTokenizer('createChat'),
      template: chatTemplateOf('createChat', this.#chat, options.template),
      generationDefaults: this.generationDefaults,
      identity: () => this.#sessions.identity(),
      check: (operation) => this.#check(operation),
      holds: (owner) => this.#held.add(owner),
      letsGo: (owner) => this.#held.delete(owner),
    }
    return new Chat(host, templateOptions, { messages, transcript: Transcript.empty })
  }

  /** Bytes of native memory by what they are for. */
  memory(): ModelMemory {
    this.#check('memory')
    const { slots: slotBytes, workspace: workspaceBytes, pages } = this.engine.memory
    let snapshotBytes = 0
    for (const { snapshot } of this.#held.of(SessionCheckpoint)) snapshotBytes += snapshot.bytes
    for (const session of this.#held.of(Session)) snapshotBytes += session.snapshotBytes
    for (const chat of this.#held.of(Chat)) snapshotBytes += chat.snapshotBytes
    const { bytes: promptCacheBytes = 0, maxBytes: promptCacheMaxBytes = 0 } =
      this.#cachedPrompts ?? {}
    return {
      weightBytes: this.weightBytes,
      slotBytes,
      snapshotBytes,
      workspaceBytes,
      promptCacheBytes,
      promptCacheMaxBytes,
      ...(pages && { pages }),
    }
  }

  /** Frees weights, device and threads. Generations in flight reject with `DisposedError`. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.engine.dispose()
    this.#cachedPrompts?.dispose()
    this.#generator.dispose()
    this.languageModel.dispose()
    this.device.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose()
  }

  #check(operation: string): void {
    if (this.#disposed) throw new DisposedError(`[${operation}] this model was disposed`)
  }
}

// A loaded model: what most users hold.

import type { Signal } from './abort.js'
import type { ChatTemplate, ChatTemplateOptions } from './chat/chat-template.js'
import { applyChatTemplate, type FoundChatTemplate } from './chat/find.js'
import type { ChatMessage } from './chat/messages.js'
import type { Device } from './device.js'
import { DisposedError, TokenizerNotFoundError, UnsupportedOptionError } from './errors.js'
import type { Engine } from './engine/engine.js'
import { CachedPrompts, type CachedPromptsOptions } from './engine/cached-prompts.js'
import { LARGEST_CHUNK_SIZE } from './engine/chunks.js'
import type { Moments } from './engine/moments.js'
import { Scorer } from './engine/scoring.js'
import { SequenceState } from './engine/sequence-state.js'
import type { Begun, GenerateResult, TextChunk } from './generate.js'
import { type GenerationDefaults, withDefaults } from './generation-config.js'
import { TextStream } from './text-stream.js'
import type { ModelConfig } from './models/config.js'
import type { EndOfTextToken } from './models/end-of-text.js'
import type { LanguageModel } from './models/language-model.js'
import { stateBytes } from './models/state-fields.js'
import { booleanOption, checkOptions, checkSignal, describe, integerOption } from './options.js'
import { LiveSet } from './live-set.js'
import type { ModelIdentity } from './model-identity.js'
import { samples } from './samples.js'
import { restoredState } from './session-saving.js'
import { Session } from './session.js'
import { SessionCheckpoint, type SessionHost, type StreamSettings } from './session-checkpoint.js'
import { MOST_ALTERNATIVES, Sampler, SAMPLING_OPTIONS, type SamplingOptions } from './sampler.js'
import {
  type Classification,
  type ClassifyOptions,
  PrefixScorer,
  type Score,
  type ScoreOptions,
} from './scoring.js'
import { STOP_OPTIONS, type StopOptions, stopping } from './stopping.js'
import { concatenated } from './token-ids.js'
import type { Tokenizer } from './tokenizer/tokenizer.js'

// 16 GiB: what a typed array holds in every supported version of Node.
const MOST_LOGITS = 2 ** 32

/** A text, or token ids. */
export type Prompt = string | ArrayLike<number>

/** How a prompt is read. */
export interface PromptOptions {
  /**
   * Whether special tokens written out in a prompt's text, such as `<|endoftext|>`, become those tokens.
   * `false` is for text that others wrote. Not for prompts of token ids. Defaults to true.
   */
  parseSpecial?: boolean | undefined
}

export interface LogitsOptions extends PromptOptions {
  signal?: Signal | undefined
  /**
   * Tokens that run through the model at once, at most 960; fewer where these would need too much memory or hold up
   * other streams. Results do not depend on it. Defaults to 256.
   */
  prefillChunkSize?: number | undefined
}

/** Sampling options that are left out have the model's `generationDefaults`, where it has them. */
export interface GenerateOptions extends SamplingOptions, StopOptions, LogitsOptions {
  /** Defaults to 256. */
  maxTokens?: number | undefined
  /** Report each token's log-probability and this many alternatives. */
  logprobs?: number | undefined
}

export interface SamplesOptions extends GenerateOptions {
  /** How many texts, up to 128. Needs a temperature above 0. */
  n: number
}

const PROMPT_OPTIONS = ['parseSpecial'] as const satisfies readonly (keyof PromptOptions)[]
const LOGITS_OPTIONS = [
  ...PROMPT_OPTIONS,
  'signal',
  'prefillChunkSize',
] as const satisfies readonly (keyof LogitsOptions)[]
const GENERATE_OPTIONS = [
  ...SAMPLING_OPTIONS,
  ...STOP_OPTIONS,
  ...LOGITS_OPTIONS,
  'maxTokens',
  'logprobs',
] as const satisfies readonly (keyof GenerateOptions)[]

/** Native memory of a model, in bytes. */
export interface ModelMemory {
  weightBytes: number
  /** What sequences that run, and sessions, keep between tokens. Grows with the most that there were at once. */
  slotBytes: number
  /** Checkpoints, and sessions that have not run yet or whose slot others needed. */
  snapshotBytes: number
  /** Scratch memory of passes and kernels. */
  workspaceBytes: number
  /** Snapshots of prompts and turns, for later prompts that begin in the same way. */
  promptCacheBytes: number
  /** The most that they may become; 0 without a prompt cache. */
  promptCacheMaxBytes: number
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
  readonly #tokenizerProblem: Error | undefined
  readonly #loadMs: number
  readonly #cachedPrompts: CachedPrompts | undefined
  readonly #held = new LiveSet<Session | SessionCheckpoint>()
  readonly #sessions: SessionHost
  readonly #scorer: PrefixScorer
  #disposed = false

  /** @internal Use `loadModel`. */
  constructor(
    engine: Engine,
    { identity, tokenizer, problem, endOfText, chat, generationDefaults, promptCache }: ModelFacts,
    loadMs: number,
  ) {
    const { model } = engine
    this.engine = engine
    this.device = model.device
    this.languageModel = model
    this.tokenizer = tokenizer
    this.endOfText = endOfText
    this.chatTemplate = chat.template
    this.#chat = chat
    this.generationDefaults = generationDefaults
    this.#tokenizerProblem = problem
    this.#loadMs = loadMs
    this.#cachedPrompts = promptCache && new CachedPrompts(model, promptCache)
    this.config = model.config
    this.weightBytes = model.weightBytes
    this.stateBytes = stateBytes(model.config, model.activationType)
    const source = {
      tokenizer: (operation: string) => this.#needTokenizer(operation),
      vocabulary: this.config.paddedVocabSize,
    }
    this.#scorer = new PrefixScorer(engine, source, (prompt) =>
      this.#cachedPrompts?.momentsOf(prompt),
    )
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
      tokens: (...prompt) => this.#tokens(...prompt),
      stream: (...generation) => this.#start(...generation),
      holds: (owner) => this.#held.add(owner),
      letsGo: (owner) => this.#held.delete(owner),
    }
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
    checkOptions('logits', options, LOGITS_OPTIONS)
    checkSignal('logits', options.signal)
    const ids = this.#tokens('logits', tokens, options)
    const vocabulary = this.config.paddedVocabSize
    if (ids.length * vocabulary > MOST_LOGITS) {
      throw new RangeError(
        `[logits] ${ids.length} tokens have ${ids.length * vocabulary} logits, more than the ${MOST_LOGITS} that one array holds: ask in parts, or use perplexity`,
      )
    }
    const data = new Float32Array(ids.length * vocabulary)
    const prefillChunkSize = chunkSizeOption('logits', options)
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
    checkOptions('encode', options, PROMPT_OPTIONS)
    return this.#tokens('encode', prompt, options)
  }

  /**
   * The prompt that the checkpoint's chat template makes of a conversation. It is a text with the template's own
   * special tokens: encode it with `model.tokenizer.encode(prompt, { addSpecialTokens: false })`. What the
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
    const { n } = (options ?? {}) as Partial<SamplesOptions>
    if (n === undefined) return this.#stream('generate', prompt, options).resultAlone()
    return samples(
      'generate',
      { ...options, n },
      {
        tokens: (rest) => this.#cachedTokens('generate', prompt, rest),
        stream: (tokens, rest, shared) => {
          const text = typeof prompt === 'string' ? prompt : undefined
          return this.#streamOf('generate', { tokens: () => tokens, text }, rest, shared)
        },
      },
    )
  }

  /**
   * Generates text as a stream. `break` or `signal` stop the work within a token.
   *
   * @example
   * for await (const { text } of model.stream('Once upon a time')) process.stdout.write(text)
   */
  stream(prompt: Prompt, options: GenerateOptions = {}): TextStream {
    return this.#stream('stream', prompt, options)
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
    if (typeof path !== 'string' || path === '') {
      throw new TypeError(`[loadSession] the path must be a text but is ${describe(path)}`)
    }
    const identity = await this.#sessions.identity()
    const { snapshot, history } = await restoredState(path, this.languageModel, identity)
    return new Session(this.#sessions, new SequenceState(snapshot), history)
  }

  /** Bytes of native memory by what they are for. */
  memory(): ModelMemory {
    this.#check('memory')
    const { slots: slotBytes, workspace: workspaceBytes } = this.engine.memory
    let snapshotBytes = 0
    for (const { stateBytes } of this.#held.of(SessionCheckpoint)) snapshotBytes += stateBytes
    for (const session of this.#held.of(Session)) snapshotBytes += session.snapshotBytes
    const { bytes: promptCacheBytes = 0, maxBytes: promptCacheMaxBytes = 0 } =
      this.#cachedPrompts ?? {}
    return {
      weightBytes: this.weightBytes,
      slotBytes,
      snapshotBytes,
      workspaceBytes,
      promptCacheBytes,
      promptCacheMaxBytes,
    }
  }

  /** Frees weights, device and threads. Generations in flight reject with `DisposedError`. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.engine.dispose()
    this.#cachedPrompts?.dispose()
    this.languageModel.dispose()
    this.device.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose()
  }

  #stream(operation: string, prompt: Prompt, options: GenerateOptions): TextStream {
    this.#check(operation)
    const text = typeof prompt === 'string' ? prompt : undefined
    const tokens = () => this.#cachedTokens(operation, prompt, options)
    return this.#streamOf(operation, { tokens, text }, options)
  }

  // `text`: what the tokens stand for. `also`: who takes part in its moments.
  #streamOf(
    operation: string,
    { tokens, text }: { tokens: () => Uint32Array; text: string | undefined },
    options: GenerateOptions,
    also = async (moments: Moments | undefined) => moments,
  ): TextStream {
    let history: Uint32Array
    const read = () => {
      history = tokens()
      return history
    }
    return this.#start(operation, read, options, async (settings) => {
      const cached = this.#cachedPrompts?.momentsOf({
        tokens: history,
        text,
        decode: (drawn) => this.tokenizer!.decode(drawn, { keepLeadingSpace: true }),
        chunkSize: options.prefillChunkSize,
      })
      const begin = { position: 0, history, generated: 0, moments: await also(cached) }
      return { stream: await this.engine.open(operation, { ...settings, ...begin }) }
    })
  }

  // Those of the prompt; where its beginning was generated, those that were drawn.
  #cachedTokens(operation: string, prompt: Prompt, options: PromptOptions): Uint32Array {
    const tokens = this.#tokens(operation, prompt, options)
    if (typeof prompt !== 'string' || options.parseSpecial === false) return tokens
    const isBorder = (text: string, index: number) => this.tokenizer!.isSpecialAt(text, index)
    const cached = this.#cachedPrompts?.findText(prompt, tokens, isBorder)
    if (!cached || cached.textLength === prompt.length) return cached?.tokens ?? tokens
    const rest = this.#tokens(operation, prompt.slice(cached.textLength), options, false)
    return concatenated(cached.tokens, rest)
  }

  // `tokens` gives the prompt once the options are checked; `begin` makes what runs the model when the first token is asked for.
  #start(
    operation: string,
    tokens: () => Uint32Array,
    options: GenerateOptions,
    begin: (settings: StreamSettings) => Promise<Begun>,
  ): TextStream {
    checkOptions(operation, options, GENERATE_OPTIONS)
    checkSignal(operation, options.signal)
    const maxTokens = integerOption(operation, 'maxTokens', options.maxTokens, { min: 1 }) ?? 256
    const logprobs = integerOption(operation, 'logprobs', options.logprobs, {
      min: 0,
      max: MOST_ALTERNATIVES,
    })
    const prefillChunkSize = chunkSizeOption(operation, options)
    const { stopStrings, stopTokens } = stopping(operation, options, {
      needTokenizer: () => this.#needTokenizer(operation),
      vocabulary: this.config.paddedVocabSize,
      endOfText: this.endOfText,
    })
    const prompt = tokens()
    const sampling = withDefaults(options, this.generationDefaults)
    const sampler = new Sampler(operation, sampling, this.config.paddedVocabSize)
    return new TextStream({
      begin: (signal) => begin({ sampler, maxTokens, stopTokens, alternatives: logprobs, signal }),
      prompt,
      maxTokens,
      stopTokens,
      stopStrings,
      detokenizer: this.tokenizer?.createStream({ keepLeadingSpace: true }),
      logprobs: logprobs !== undefined,
      signal: options.signal,
      prefillChunkSize,
      loadMs: this.#loadMs,
      seed: sampler.seed,
    })
  }

  #check(operation: string): void {
    if (this.#disposed) throw new DisposedError(`[${operation}] this model was disposed`)
  }

  #tokens(operation: string, prompt: Prompt, options: PromptOptions, isFirst = true): Uint32Array {
    const isText = typeof prompt === 'string'
    const parseSpecial = booleanOption(operation, 'parseSpecial', options.parseSpecial)
    if (!isText && (typeof prompt !== 'object' || typeof prompt?.length !== 'number')) {
      throw new TypeError(
        `[${operation}] the prompt must be a text or token ids but is ${describe(prompt)}`,
      )
    }
    if (!isText && parseSpecial !== undefined) {
      throw new UnsupportedOptionError(
        `[${operation}] parseSpecial is for a prompt of text: leave it out with token ids`,
      )
    }
    const ids = isText
      ? this.#needTokenizer(operation).encode(prompt, { parseSpecial, addSpecialTokens: isFirst })
      : prompt
    if (ids.length === 0) throw new RangeError(`[${operation}] the prompt is empty`)
    const vocabulary = this.config.paddedVocabSize
    return Uint32Array.from(ids, (id, index) => {
      if (Number.isInteger(id) && id >= 0 && id < vocabulary) return id
      throw new RangeError(
        `[${operation}] token ${index} of the prompt is ${describe(id)}, which is outside the vocabulary of ${vocabulary}`,
      )
    })
  }

  #needTokenizer(operation: string): Tokenizer {
    if (this.tokenizer) return this.tokenizer
    const problem = this.#tokenizerProblem
    if (problem) {
      throw new TokenizerNotFoundError(
        `[${operation}] the model's tokenizer cannot be used: ${problem.message}. ` +
          'Token ids work without one; give loadModel (or --tokenizer) the path of another tokenizer.json if it fits',
        { cause: problem },
      )
    }
    const name = this.config.tokenizerName
    throw new TokenizerNotFoundError(
      `[${operation}] this checkpoint ships no tokenizer.json. ` +
        (name
          ? `Its authors use ${name}: give loadModel (or --tokenizer) the path of that tokenizer.json, or fetch it with: hf download ${name} tokenizer.json`
          : 'Give loadModel (or --tokenizer) the path of a tokenizer.json') +
        '. Token ids work without one.',
    )
  }
}

function chunkSizeOption(operation: string, options: LogitsOptions): number | undefined {
  return integerOption(operation, 'prefillChunkSize', options.prefillChunkSize, {
    min: 1,
    max: LARGEST_CHUNK_SIZE,
  })
}

export type { GenerateResult, TextChunk }

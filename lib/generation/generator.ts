// Starts the generations of a model: options are checked, prompts read, and the stream begun when somebody asks.

import { AfterThoughts } from './after-thoughts.js'
import type { CachedPrompts } from '../engine/cached-prompts.js'
import type { Engine } from '../engine/engine.js'
import type { Masker } from '../engine/masks.js'
import type { Moments } from '../engine/moments.js'
import type { StreamSettings } from '../engine/stream.js'
import type { Begun, GenerateResult, TextParts, Thoughts } from './generate.js'
import {
  GENERATION,
  type GenerateOptions,
  type Prompt,
  type PromptOptions,
  type SamplesOptions,
  type SamplingOptions,
} from '../options/generation.js'
import { type GenerationDefaults, withDefaults } from './generation-config.js'
import { GrammarEngine, type Matcher } from '../grammar/grammar.js'
import { checkResponseFormat, type ConstrainedFormat } from '../grammar/response-format.js'
import type { EndOfTextToken } from './end-of-text.js'
import { checkOptions } from '../support/option-checks.js'
import { optionNames, optionValue } from '../support/option-table.js'
import type { PromptReader } from './prompt-reader.js'
import { type SampleHost, type SampleStreams, samples, sampleStreams } from './samples.js'
import { samplerOf } from './sampler.js'
import { stopping } from './stopping.js'
import { TextStream } from './text-stream.js'
import { concatenated } from '../support/token-ids.js'

/** What a model's generations need of it. */
export interface GeneratorFacts {
  engine: Engine
  reader: PromptReader
  /** Without it nothing is kept of prompts. */
  cachedPrompts: CachedPrompts | undefined
  endOfText: readonly EndOfTextToken[]
  generationDefaults: GenerationDefaults
  loadMs: number
}

/** A generation whose options are still to be checked. */
export interface Wanted {
  options: GenerateOptions
  /** What the text must match, besides what the options say. */
  grammar?: string | undefined
  /** Gives the prompt once the options are checked. */
  tokens(): Uint32Array
  /** Makes what runs the model when the first token is asked for. */
  begin(settings: StreamSettings): Promise<Begun>
  onEnd?: ((result: GenerateResult, failed: boolean) => void) | undefined
}

/** Where a stream has its prompt from. */
interface PromptSource {
  /** What its tokens stand for. Asked once the options are checked. */
  text(): string | undefined
  /** Those that it is checked with. */
  tokens(): Uint32Array
  /** Those that it has, once it begins. */
  known(tokens: Uint32Array): Promise<Uint32Array>
  /** Who takes part in the moments of the prompt. */
  also?: ((moments: Moments | undefined) => Promise<Moments | undefined>) | undefined
  parts?: TextParts | undefined
}

/**
 * One a model.
 *
 * @example generator.stream('generate', 'Once upon a time', { maxTokens: 50 })
 */
export class Generator {
  readonly #facts: GeneratorFacts
  #grammars: GrammarEngine | undefined

  constructor(facts: GeneratorFacts) {
    this.#facts = facts
  }

  /** Text after a prompt. */
  stream(operation: string, prompt: Prompt, options: GenerateOptions): TextStream {
    const text = () => this.#textOf(prompt, options)
    return this.#streamOf(operation, options, {
      text,
      tokens: () => this.#facts.reader.tokens(operation, prompt, options),
      known: (tokens) => this.#cachedTokens(operation, { text: text(), tokens }),
    })
  }

  /** `options.n` texts after a prompt. */
  samples(operation: string, prompt: Prompt, options: SamplesOptions): Promise<GenerateResult[]> {
    return samples(operation, options, this.#sampleHost(operation, prompt, options))
  }

  /** The same as streams, each to be iterated or asked for its result; `parts` come apart. */
  sampleStreams(
    operation: string,
    prompt: Prompt,
    options: SamplesOptions,
    parts?: TextParts,
  ): Promise<SampleStreams> {
    const host = this.#sampleHost(operation, prompt, options, parts)
    return sampleStreams(operation, options, host)
  }

  #sampleHost(
    operation: string,
    prompt: Prompt,
    options: SamplesOptions,
    parts?: TextParts,
  ): SampleHost {
    const { reader } = this.#facts
    const text = () => this.#textOf(prompt, options)
    return {
      maxStreams: this.#facts.engine.maxStreams,
      tokens: (rest) =>
        this.#cachedTokens(operation, {
          text: text(),
          tokens: reader.tokens(operation, prompt, rest),
        }),
      sampler: (rest) => samplerOf(operation, this.#withDefaults(rest)),
      stream: (tokens, rest, also) =>
        this.#streamOf(operation, rest, {
          text,
          tokens: () => tokens,
          known: async () => tokens,
          also,
          parts,
        }),
    }
  }

  /** Moments of a prompt in the prompt cache. `text`: what its tokens stand for. */
  momentsOf(
    tokens: Uint32Array,
    {
      text,
      prefillChunkSize,
    }: { text?: string | undefined } & Pick<GenerateOptions, 'prefillChunkSize'>,
  ): Moments | undefined {
    const { cachedPrompts, reader } = this.#facts
    return cachedPrompts?.momentsOf({
      tokens,
      text,
      // Special tokens written out: a text without them is another one.
      decode: (drawn) =>
        reader.tokenizer!.decode(drawn, { keepLeadingSpace: true, skipSpecialTokens: false }),
      chunkSize: prefillChunkSize,
    })
  }

  start(operation: string, { options, grammar, tokens, begin, onEnd }: Wanted): TextStream {
    const { reader, endOfText, loadMs } = this.#facts
    checkOptions(operation, options, optionNames(GENERATION))
    optionValue(operation, GENERATION, 'signal', options)
    const { signal, responseFormat } = options
    const maxTokens = optionValue(operation, GENERATION, 'maxTokens', options)
    const alternatives = optionValue(operation, GENERATION, 'logprobs', options)
    const prefillChunkSize = optionValue(operation, GENERATION, 'prefillChunkSize', options)
    const { stopStrings, stopTokens } = stopping(operation, options, {
      needTokenizer: () => reader.needTokenizer(operation),
      vocabulary: reader.vocabulary,
      endOfText,
    })
    const format = grammar ?? constrainedFormat(operation, responseFormat)
    if (format) reader.needTokenizer(operation)
    const prompt = tokens()
    const sampler = samplerOf(operation, this.#withDefaults(options), reader.vocabulary)
    let matcher: Matcher | undefined
    return new TextStream({
      begin: async (signal) => {
        matcher = await this.#matcher(operation, format, { stopTokens, signal })
        const masker = matcher && maskerOf(matcher)
        return begin({ sampler, maxTokens, stopTokens, alternatives, masker, signal })
      },
      onEnd: (...end) => {
        matcher?.dispose()
        onEnd?.(...end)
      },
      prompt,
      maxTokens,
      stopTokens,
      stopStrings,
      detokenizer: reader.tokenizer?.createStream({ keepLeadingSpace: true }),
      logprobs: alternatives !== undefined,
      signal,
      prefillChunkSize,
      loadMs,
      seed: sampler.seed,
    })
  }

  /** What keeps an answer to its format, from where the thoughts that the prompt opened end. */
  maskerAfter(
    thoughts: Thoughts | undefined,
    { masker, stopTokens }: Pick<StreamSettings, 'masker' | 'stopTokens'>,
  ): Masker | undefined {
    const { engine, reader } = this.#facts
    if (!masker || !thoughts?.isOpened) return masker
    return new AfterThoughts(masker, {
      tags: thoughts.tags,
      detokenizer: reader.needTokenizer('generate').createStream({ keepLeadingSpace: true }),
      vocabulary: engine.model.config.paddedVocabSize,
      stopTokens,
    })
  }

  dispose(): void {
    this.#grammars?.dispose()
  }

  #withDefaults(options: SamplingOptions): SamplingOptions {
    return withDefaults(options, this.#facts.generationDefaults)
  }

  // What the tokens of a prompt stand for, where chats and other prompts give that text the same ones.
  #textOf(prompt: Prompt, options: PromptOptions): string | undefined {
    return this.#facts.reader.isPlain(prompt, options ?? {}) ? prompt : undefined
  }

  #streamOf(
    operation: string,
    options: GenerateOptions,
    { text, tokens, known, also = async (moments) => moments, parts }: PromptSource,
  ): TextStream {
    let encoded: Uint32Array
    return this.start(operation, {
      options,
      grammar: parts?.grammar,
      tokens: () => {
        encoded = tokens()
        return encoded
      },
      begin: async (settings) => {
        const history = await known(encoded)
        const moments = await also(this.momentsOf(history, { ...options, text: text() }))
        const masker = this.maskerAfter(parts?.thoughts, settings)
        const begin = { ...settings, masker, position: 0, history, generated: 0, moments }
        const stream = await this.#facts.engine.open(operation, begin)
        return { stream, prompt: history, parts }
      },
    })
  }

  // Those of the prompt; where its beginning was generated, those that were drawn.
  async #cachedTokens(
    operation: string,
    { text, tokens }: { text: string | undefined; tokens: Uint32Array },
  ): Promise<Uint32Array> {
    const { reader, cachedPrompts } = this.#facts
    if (text === undefined || !cachedPrompts) return tokens
    await cachedPrompts.ready()
    const isBorder = (text: string, index: number) => reader.tokenizer!.isSpecialAt(text, index)
    const cached = cachedPrompts.findText(text, tokens, isBorder)
    if (!cached || cached.textLength === text.length) return cached?.tokens ?? tokens
    const rest = reader.tokens(operation, text.slice(cached.textLength), {}, false)
    return concatenated(cached.tokens, rest)
  }

  async #matcher(
    operation: string,
    format: ConstrainedFormat | string | undefined,
    options: Parameters<GrammarEngine['compile']>[2],
  ): Promise<Matcher | undefined> {
    if (!format) return undefined
    const { engine, reader } = this.#facts
    // A model that was disposed of starts no thread.
    engine.check(operation)
    this.#grammars ??= new GrammarEngine({
      tokenizer: reader.needTokenizer(operation),
      vocabulary: reader.vocabulary,
    })
    try {
      return await this.#grammars.compile(operation, format, options)
    } catch (error) {
      // The thread has ended with the model: that is the reason.
      engine.check(operation)
      throw error
    }
  }
}

/** What has to be kept to; any text will do without it. */
function constrainedFormat(
  operation: string,
  responseFormat: GenerateOptions['responseFormat'],
): ConstrainedFormat | undefined {
  if (responseFormat === undefined) return undefined
  const format = checkResponseFormat(operation, responseFormat)
  return format.type === 'text' ? undefined : format
}

function maskerOf(matcher: Matcher): Masker {
  return { first: async () => matcher.step, after: (token) => matcher.accept(token) }
}

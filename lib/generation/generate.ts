// The generation loop: prompt in, text out, token by token.

import { onAbort, reasonOf, throwIfAborted, type Signal } from '../support/abort.js'
import type { TokenLogprob, TokenReport } from '../engine/logprobs.js'
import { ReasoningSplitter, type ReasoningTags, tagOf } from './reasoning.js'
import { RUNS_IN_FLIGHT } from '../engine/scheduler.js'
import type { Drawn, EngineStream } from '../engine/stream.js'
import { NO_TOKEN } from '../operations/drawn-token.js'
import type { DetokenizerStream } from '../tokenizer/detokenizer.js'
import type { StopStrings } from '../tokenizer/stop-strings.js'

/** `stop`: a stop token or stop string. `length`: `maxTokens`, or the end of the context. `abort`: the caller stopped early. */
export type FinishReason = 'stop' | 'length' | 'abort'

/** What one token adds. */
export interface TextChunk {
  /** May be empty: a character can take several tokens, and a possible stop string is held back. */
  text: string
  /** Undefined for text that was held back and is released at the end. */
  token: number | undefined
  /** What it adds to the thoughts of a model that thinks before it answers, in a chat. */
  reasoning?: string
  logprob?: number
  topLogprobs?: TokenLogprob[]
}

export interface Usage {
  promptTokens: number
  /** Tokens of the prompt that were not computed: the prompt cache, a chat or a session had their state. */
  cachedTokens: number
  completionTokens: number
  /** Those of `completionTokens` that are thoughts, tags included; of a chat with a model that thinks. */
  reasoningTokens?: number
  totalTokens: number
}

/** Milliseconds, and rates from them. Tokenisation is not included. */
export interface Timings {
  loadMs: number
  /** Waiting for one of the places that `maxStreams` allows. */
  queueMs: number
  promptMs: number
  /** From the call to the first token, the wait included. */
  timeToFirstTokenMs: number
  /** From the first token to the last. */
  generationMs: number
  promptTokensPerSecond: number
  /** 0 when fewer than two tokens were generated. */
  generationTokensPerSecond: number
  /** Highest resident memory of the process so far. */
  peakMemoryBytes: number
}

export interface GenerateResult {
  /** Without the thoughts of a model that thinks, in a chat. */
  text: string
  reasoning?: string
  /** Generated tokens; a stop token is not among them. */
  tokens: number[]
  finishReason: FinishReason
  /** Of each token, when `logprobs` was asked for. */
  logprobs?: TokenReport[]
  usage: Usage
  timings: Timings
  /** Repeats the result when given as an option. */
  seed: number
}

/**
 * The state of a session during a generation. Nothing is cut short, so that the state holds whole tokens at
 * every moment, and one run is started ahead at most: the one that consumes what the caller sees.
 */
export interface KeptState {
  /** That of the generation, as it is read after what the state holds when the generation begins. */
  prompt: Uint32Array
  /** Tokens consumed before this generation. */
  history: Uint32Array
  /** The state has consumed so many more tokens of the prompt. */
  consumedOfPrompt(count: number): void
  /** A run that consumes a token is about to start; none does when this throws. */
  consumes(token: number): void
  /** The last token is part of the text, but the state has not consumed it. */
  leaves(token: number): void
  /** All runs have ended. `failure`: the state is lost. */
  ended(failure: { error: unknown } | undefined): void
}

/** What runs a generation. */
export interface Begun {
  stream: EngineStream
  /** The state that it leaves to somebody. */
  kept?: KeptState | undefined
  /** The prompt, where it is made only when the generation begins. */
  prompt?: Uint32Array | undefined
  parts?: TextParts | undefined
}

/** What a text consists of, besides what its tokens spell. */
export interface TextParts {
  /** Parts thoughts from the answer. */
  thoughts?: Thoughts | undefined
  /** Special tokens whose names are part of the text, such as tags around calls of tools. */
  shown?: ReadonlyMap<number, string> | undefined
  /** What the answer must match, in the place of a `responseFormat`, as `emitGrammar` writes it. */
  grammar?: string | undefined
}

/** The thoughts of a model, and the tags around them. */
export interface Thoughts {
  tags: ReasoningTags
  /** Whether the prompt begins with them. */
  isOpened: boolean
}

/** One generation, checked and ready to run. */
export interface Generation {
  /** What runs the model. Called once, when the generation begins. `signal` ends it. */
  begin(signal: Signal): Promise<Begun>
  /** All runs have ended. `failed`: it was aborted, or rejects. */
  onEnd?: ((result: GenerateResult, failed: boolean) => void) | undefined
  /** May be empty for a state that is kept: the text goes on from there. */
  prompt: Uint32Array
  maxTokens: number
  stopTokens: ReadonlySet<number>
  stopStrings: StopStrings
  detokenizer: DetokenizerStream | undefined
  /** Whether the log-probability of each token is reported. */
  logprobs: boolean
  signal: Signal | undefined
  prefillChunkSize: number | undefined
  loadMs: number
  seed: number
}

/**
 * What becomes of a token where the state is kept: a stop token is dropped, the last one of `maxTokens` waits
 * for what comes next, all others are consumed.
 */
type Fate = 'consumed' | 'pending' | 'dropped'

/** Tokens that a text which nobody keeps may be ahead of its reader. */
export const MOST_AHEAD = 32

/** Runs a generation. What was generated so far stands in `result` at every moment. */
export class GenerationRun {
  readonly result: GenerateResult
  readonly #generation: Generation
  /** Runs under way, the oldest first: the first one ends with the token after the one at hand. */
  readonly #steps: Promise<Drawn>[] = []
  /** Tokens whose runs have been started, that of the prompt included. */
  #started = 1
  /** Stops the runs ahead when their tokens are not wanted any more. */
  readonly #ended = new AbortController()
  /** The reader has stopped it, before anything else did. */
  #isLeft = false

  #stream!: EngineStream
  #kept: KeptState | undefined
  #prompt: Uint32Array
  #maxTokens: number
  #splitter: ReasoningSplitter | undefined
  #tags: ReasoningTags | undefined
  #shown: ReadonlyMap<number, string> | undefined

  constructor(generation: Generation) {
    this.#generation = generation
    this.#prompt = generation.prompt
    this.#maxTokens = generation.maxTokens
    const promptTokens = generation.prompt.length
    this.result = {
      text: '',
      tokens: [],
      // Until an end of its own is reached.
      finishReason: 'abort',
      ...(generation.logprobs ? { logprobs: [] } : {}),
      usage: { promptTokens, cachedTokens: 0, completionTokens: 0, totalTokens: promptTokens },
      timings: {
        loadMs: generation.loadMs,
        queueMs: 0,
        promptMs: 0,
        timeToFirstTokenMs: 0,
        generationMs: 0,
        promptTokensPerSecond: 0,
        generationTokensPerSecond: 0,
        peakMemoryBytes: 0,
      },
      seed: generation.seed,
    }
  }

  /**
   * Yields a chunk a token. The device works on the tokens after it meanwhile: up to 32, or one where a stop
   * string may end the text. Returning early stops the work.
   */
  async *chunks(): AsyncGenerator<TextChunk, void, void> {
    const { stopStrings, signal: wanted } = this.#generation
    const { timings } = this.result
    const start = performance.now()
    let firstToken = Number.NaN
    let failure: { error: unknown } | undefined
    let rejects = false
    const ended = this.#ended
    const { signal } = ended
    const forget = onAbort(wanted, () => ended.abort(reasonOf(wanted!)))
    // While a token is looked at, and while one is awaited. A token that may be the last is looked at first.
    const ahead = stopStrings.isEmpty
      ? { looking: MOST_AHEAD, waiting: MOST_AHEAD }
      : { looking: RUNS_IN_FLIGHT - 1, waiting: RUNS_IN_FLIGHT }
    try {
      throwIfAborted(wanted)
      const { stream, kept, prompt, parts } = await this.#generation.begin(signal)
      this.#stream = stream
      this.#maxTokens = Math.min(this.#maxTokens, stream.room)
      timings.queueMs = stream.queueMs
      if (prompt) this.#prompt = prompt
      if (parts?.thoughts) this.#split(parts.thoughts)
      this.#shown = parts?.shown
      if (kept) this.#goOnFrom(kept)
      else this.#beginAt(stream.position)
      let { token, logprobs } = await this.#first(ahead.looking, signal)
      firstToken = performance.now()
      timings.timeToFirstTokenMs = firstToken - start
      timings.promptMs = timings.timeToFirstTokenMs - timings.queueMs
      timings.promptTokensPerSecond = (1000 * this.#prompt.length) / timings.promptMs
      for (;;) {
        if (kept) throwIfAborted(signal)
        else this.#runAhead(ahead.looking)
        const { chunk, done, fate } = this.#take(token, await logprobs)
        if (kept) this.#keep(token, fate)
        this.#measure(firstToken)
        if (chunk) yield chunk
        if (done) return
        throwIfAborted(signal)
        stream.checkModel()
        if (!kept) this.#runAhead(ahead.waiting)
        ;({ token, logprobs } = await this.#steps.shift()!)
      }
    } catch (error) {
      // Who left while a token was on its way keeps those before.
      const isLeft = this.#isLeft && error === signal.reason
      rejects = !isLeft || this.result.tokens.length === 0
      if (!signal.aborted || error !== signal.reason) failure = { error }
      throw error
    } finally {
      forget()
      ended.abort()
      this.#measure(firstToken)
      await this.#end(failure)
      this.#generation.onEnd?.(this.result, rejects)
    }
  }

  #split({ tags, isOpened }: Thoughts): void {
    this.#tags = tags
    this.#splitter = new ReasoningSplitter(tags, { isOpened })
    this.result.reasoning = ''
    this.result.usage.reasoningTokens = 0
  }

  // Of a session, what came before is part of the context, and nothing of it was computed again.
  #goOnFrom(kept: KeptState): void {
    this.#kept = kept
    this.#prompt = kept.prompt
    const { usage } = this.result
    usage.cachedTokens = kept.history.length
    usage.promptTokens = kept.history.length + kept.prompt.length
  }

  // Of a prompt that begins as an earlier one did, the rest is run.
  #beginAt(position: number): void {
    const { usage } = this.result
    usage.promptTokens = this.#prompt.length
    usage.cachedTokens = position
    this.#prompt = this.#prompt.subarray(position)
  }

  // The token after the prompt.
  async #first(ahead: number, signal: Signal): Promise<Drawn> {
    const { prefillChunkSize } = this.#generation
    const prompt = this.#prompt
    const stream = this.#stream
    const kept = this.#kept
    if (prompt.length === 0) {
      const first = stream.drawAgain()
      if (!kept) this.#runAhead(ahead)
      return first
    }
    if (kept) {
      return stream.prefill(prompt, {
        chunkSize: prefillChunkSize,
        betweenPieces: signal,
        onConsumed: (count) => kept.consumedOfPrompt(count),
      })
    }
    const first = stream.prefill(prompt, { chunkSize: prefillChunkSize })
    this.#runAhead(ahead)
    return first
  }

  // What becomes of a token that the caller is about to see.
  #keep(token: number, fate: Fate): void {
    if (fate === 'pending') this.#kept!.leaves(token)
    if (fate !== 'consumed') return
    this.#kept!.consumes(token)
    this.#ask()
  }

  // Waits for the run that is under way where the state is kept: what it consumes belongs to it.
  async #end(failure: { error: unknown } | undefined): Promise<void> {
    if (this.#kept) {
      for (const step of this.#steps) {
        await step.catch((error: unknown) => {
          failure ??= { error }
        })
      }
    }
    this.#stream?.close()
    this.#kept?.ended(failure)
  }

  /** Ends the generation within the operation at hand: what `chunks` waits for rejects. */
  stop(): void {
    this.#isLeft ||= !this.#ended.signal.aborted
    this.#ended.abort()
  }

  // Asks for tokens until `count` are on their way, or no further one is wanted.
  #runAhead(count: number): void {
    while (this.#steps.length < count && this.#started < this.#maxTokens) {
      this.#ask()
      this.#started += 1
    }
  }

  #ask(): void {
    const step = this.#stream.decode()
    step.catch(() => {}) // it is awaited later, unless this generation ends before
    this.#steps.push(step)
  }

  #take(
    token: number,
    report: TokenReport | undefined,
  ): { chunk: TextChunk | undefined; done: boolean; fate: Fate } {
    const { stopTokens, detokenizer, stopStrings } = this.#generation
    const { result } = this
    if (stopTokens.has(token) || token === NO_TOKEN) {
      result.finishReason = 'stop'
      const released = stopStrings.push(detokenizer?.flush() ?? '')
      const rest = released.text + (released.stopped ? '' : stopStrings.flush())
      const parts = this.#add(rest, { isLast: true })
      const isEmpty = parts.text === '' && !parts.reasoning
      const chunk = isEmpty ? undefined : { ...parts, token: undefined }
      return { chunk, done: true, fate: 'dropped' }
    }
    result.tokens.push(token)
    const isLast = result.tokens.length === this.#maxTokens
    let piece = (detokenizer?.push(token) ?? '') + this.#nameOf(token)
    if (isLast) piece += detokenizer?.flush() ?? ''
    const released = stopStrings.push(piece)
    let text = released.text
    if (released.stopped) result.finishReason = 'stop'
    else if (isLast) {
      result.finishReason = 'length'
      text += stopStrings.flush()
    }
    if (report) result.logprobs!.push(report)
    const done = released.stopped || isLast
    const wasReasoning = this.#splitter?.isReasoning
    const parts = this.#add(text, { isLast: done })
    // Thoughts come first, so that all tokens so far are theirs: their tags may take several.
    if (wasReasoning || this.#splitter?.isReasoning) {
      result.usage.reasoningTokens = result.tokens.length
    }
    const chunk = { ...parts, token, ...report }
    const fate = isLast && !released.stopped ? 'pending' : 'consumed'
    return { chunk, done, fate }
  }

  // Of a special token that is part of the text, which the detokenizer leaves out.
  #nameOf(token: number): string {
    return this.#shown?.get(token) ?? tagOf(token, this.#tags)
  }

  // Adds text to the result: its parts, where thoughts are parted from the answer.
  #add(text: string, { isLast }: { isLast: boolean }): { text: string; reasoning?: string } {
    const { result } = this
    const splitter = this.#splitter
    if (!splitter) {
      result.text += text
      return { text }
    }
    const parts = splitter.push(text)
    const rest = isLast ? splitter.flush() : { text: '', reasoning: '' }
    parts.text += rest.text
    parts.reasoning += rest.reasoning
    result.text += parts.text
    result.reasoning += parts.reasoning
    return parts
  }

  #measure(firstToken: number): void {
    const { usage, timings, tokens } = this.result
    usage.completionTokens = tokens.length
    usage.totalTokens = usage.promptTokens + tokens.length
    timings.peakMemoryBytes = process.resourceUsage().maxRSS * 1024
    if (Number.isNaN(firstToken)) return
    timings.generationMs = performance.now() - firstToken
    // The first token belongs to the prompt: it costs no decode.
    const decoded = tokens.length - 1
    if (decoded > 0 && timings.generationMs > 0) {
      timings.generationTokensPerSecond = (1000 * decoded) / timings.generationMs
    }
  }
}

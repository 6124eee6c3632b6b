// The generation loop: prompt in, text out, token by token.

import { onAbort, reasonOf, throwIfAborted, type Signal } from './abort.js'
import { logSumExp, type TokenLogprob, topLogprobs } from './logprobs.js'
import { RUNS_IN_FLIGHT, type Sequence } from './models/sequence.js'
import type { DetokenizerStream } from './tokenizer/detokenizer.js'
import type { StopStrings } from './tokenizer/stop-strings.js'

/** `stop`: a stop token or stop string. `length`: `maxTokens`. `abort`: the caller stopped early. */
export type FinishReason = 'stop' | 'length' | 'abort'

/** What one token adds. */
export interface TextChunk {
  /** May be empty: a character can take several tokens, and a possible stop string is held back. */
  text: string
  /** Undefined for text that was held back and is released at the end. */
  token: number | undefined
  logprob?: number
  topLogprobs?: TokenLogprob[]
}

export interface Usage {
  promptTokens: number
  /** Tokens of the prompt that a kept state saved; 0 in this version. */
  cachedTokens: number
  completionTokens: number
  totalTokens: number
}

/** Milliseconds, and rates from them. Tokenisation is not included. */
export interface Timings {
  loadMs: number
  promptMs: number
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
  text: string
  /** Generated tokens; a stop token is not among them. */
  tokens: number[]
  finishReason: FinishReason
  /** Of each token, when `logprobs` was asked for. */
  logprobs?: { logprob: number; topLogprobs: TokenLogprob[] }[]
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
  ended(sequence: Sequence, failure: { error: unknown } | undefined): Promise<void>
}

/** One generation, checked and ready to run. */
export interface Generation {
  /** What runs the model. Called once, when the generation begins. */
  begin(): Promise<{ sequence: Sequence; kept?: KeptState }>
  /** May be empty for a state that is kept: the text goes on from there. */
  prompt: Uint32Array
  maxTokens: number
  stopTokens: ReadonlySet<number>
  stopStrings: StopStrings
  detokenizer: DetokenizerStream | undefined
  /** How many alternatives to report for each token; undefined for no logprobs at all. */
  logprobs: number | undefined
  signal: Signal | undefined
  prefillChunkSize: number | undefined
  loadMs: number
  seed: number
  /** Called once at the end, however it comes. */
  dispose(): void
}

/**
 * What becomes of a token where the state is kept: a stop token is dropped, the last one of `maxTokens` waits
 * for what comes next, all others are consumed.
 */
type Fate = 'consumed' | 'pending' | 'dropped'

/** A token on its way. */
interface Step {
  token: Promise<number | undefined>
  logits: Promise<Float32Array> | undefined
}

/** Runs a generation. What was generated so far stands in `result` at every moment. */
export class GenerationRun {
  readonly result: GenerateResult
  readonly #generation: Generation
  /** Runs under way, the oldest first: the first one ends with the token after the one at hand. */
  readonly #steps: Step[] = []
  /** Tokens whose runs have been started, that of the prompt included. */
  #started = 1
  /** Stops the runs ahead when their tokens are not wanted any more. */
  readonly #ended = new AbortController()
  #isBegun = false

  #sequence!: Sequence
  #kept: KeptState | undefined
  #prompt: Uint32Array

  constructor(generation: Generation) {
    this.#generation = generation
    this.#prompt = generation.prompt
    const promptTokens = generation.prompt.length
    this.result = {
      text: '',
      tokens: [],
      // Until an end of its own is reached.
      finishReason: 'abort',
      ...(generation.logprobs === undefined ? {} : { logprobs: [] }),
      usage: { promptTokens, cachedTokens: 0, completionTokens: 0, totalTokens: promptTokens },
      timings: {
        loadMs: generation.loadMs,
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
   * Yields a chunk a token. The device works on the tokens after it meanwhile: two runs, or one where a stop
   * string may end the text. Returning early stops the work.
   */
  async *chunks(): AsyncGenerator<TextChunk, void, void> {
    const { stopStrings, signal: wanted } = this.#generation
    this.#isBegun = true
    const { timings } = this.result
    const start = performance.now()
    let firstToken = Number.NaN
    let failure: { error: unknown } | undefined
    const ended = this.#ended
    const { signal } = ended
    const forget = onAbort(wanted, () => ended.abort(reasonOf(wanted!)))
    // While a token is looked at: the run that consumes it, and the one after that unless this token may be
    // the last.
    const ahead = stopStrings.isEmpty ? RUNS_IN_FLIGHT : RUNS_IN_FLIGHT - 1
    try {
      throwIfAborted(wanted)
      const { sequence, kept } = await this.#generation.begin()
      this.#sequence = sequence
      if (kept) this.#goOnFrom(kept)
      let { token, logits } = await this.#first(signal)
      firstToken = performance.now()
      timings.promptMs = firstToken - start
      timings.timeToFirstTokenMs = firstToken - start
      timings.promptTokensPerSecond = (1000 * this.#prompt.length) / (firstToken - start)
      for (;;) {
        if (kept) throwIfAborted(signal)
        else this.#runAhead(ahead, signal)
        const { chunk, done, fate } = this.#take(token, await logits)
        if (kept) this.#keep(token, fate, signal)
        this.#measure(firstToken)
        if (chunk) yield chunk
        if (done) return
        throwIfAborted(signal)
        sequence.checkDevice()
        if (!kept) this.#runAhead(RUNS_IN_FLIGHT, signal)
        const step = this.#steps.shift()!
        token = (await step.token)!
        logits = step.logits
      }
    } catch (error) {
      if (!signal.aborted || error !== signal.reason) failure = { error }
      throw error
    } finally {
      forget()
      ended.abort()
      this.#measure(firstToken)
      await this.#endKept(failure)
      this.#generation.dispose()
    }
  }

  // Of a session, what came before is part of the context, and nothing of it was computed again.
  #goOnFrom(kept: KeptState): void {
    this.#kept = kept
    this.#prompt = kept.prompt
    const { usage } = this.result
    usage.cachedTokens = kept.history.length
    usage.promptTokens = kept.history.length + kept.prompt.length
  }

  // The token after the prompt.
  async #first(signal: Signal): Promise<{ token: number; logits: Step['logits'] }> {
    const { prefillChunkSize } = this.#generation
    const prompt = this.#prompt
    const sequence = this.#sequence
    const kept = this.#kept
    if (kept && prompt.length === 0) {
      const token = await sequence.drawAgain(kept.history)
      return { token, logits: this.#readLogits(signal) }
    }
    let logits: Step['logits']
    const token = await sequence.prefill(prompt, {
      prefillChunkSize,
      ...(kept
        ? {
            history: kept.history,
            betweenChunks: signal,
            onConsumed: (count) => kept.consumedOfPrompt(count),
          }
        : { signal }),
      onLastStarted: () => {
        logits = this.#readLogits(signal)
        if (!kept) this.#runAhead(RUNS_IN_FLIGHT - 1, signal)
      },
    })
    return { token: token!, logits }
  }

  // What becomes of a token that the caller is about to see.
  #keep(token: number, fate: Fate, signal: Signal): void {
    if (fate === 'pending') this.#kept!.leaves(token)
    if (fate !== 'consumed') return
    this.#kept!.consumes(token)
    const next = this.#sequence.decode()
    next.catch(() => {}) // it is awaited later, or at the end
    this.#steps.push({ token: next, logits: this.#readLogits(signal) })
  }

  // Waits for the run that is under way: what it consumes belongs to the state.
  async #endKept(failure: { error: unknown } | undefined): Promise<void> {
    if (!this.#kept) return
    for (const { token } of this.#steps) {
      await token.catch((error) => {
        failure ??= { error }
      })
    }
    await this.#kept.ended(this.#sequence, failure)
  }

  /** Ends the generation within the operation at hand: what `chunks` waits for rejects. */
  stop(): void {
    this.#ended.abort()
    // A generator that never began does not run its `finally`.
    if (!this.#isBegun) this.#generation.dispose()
    this.#isBegun = true
  }

  // Starts runs until `count` are under way, or no further token is wanted.
  #runAhead(count: number, signal: Signal): void {
    const { maxTokens } = this.#generation
    const sequence = this.#sequence
    while (this.#steps.length < count && this.#started < maxTokens) {
      const token = sequence.decode({ signal })
      token.catch(() => {}) // it is awaited later, unless this generation ends before
      this.#steps.push({ token, logits: this.#readLogits(signal) })
      this.#started += 1
    }
  }

  // Those of the run that was started last, when they are wanted.
  #readLogits(signal: Signal): Step['logits'] {
    if (this.#generation.logprobs === undefined) return undefined
    const logits = this.#sequence.readLogits({ signal })
    logits.catch(() => {})
    return logits
  }

  #take(
    token: number,
    logits: Float32Array | undefined,
  ): { chunk: TextChunk | undefined; done: boolean; fate: Fate } {
    const { stopTokens, maxTokens, detokenizer, stopStrings } = this.#generation
    const { result } = this
    if (stopTokens.has(token)) {
      result.finishReason = 'stop'
      const released = stopStrings.push(detokenizer?.flush() ?? '')
      const text = released.text + (released.stopped ? '' : stopStrings.flush())
      result.text += text
      const chunk = text === '' ? undefined : { text, token: undefined }
      return { chunk, done: true, fate: 'dropped' }
    }
    result.tokens.push(token)
    const isLast = result.tokens.length === maxTokens
    let piece = detokenizer?.push(token) ?? ''
    if (isLast) piece += detokenizer?.flush() ?? ''
    const released = stopStrings.push(piece)
    let text = released.text
    if (released.stopped) result.finishReason = 'stop'
    else if (isLast) {
      result.finishReason = 'length'
      text += stopStrings.flush()
    }
    result.text += text
    const chunk = { text, token, ...this.#logprobsOf(token, logits) }
    const fate = isLast && !released.stopped ? 'pending' : 'consumed'
    return { chunk, done: released.stopped || isLast, fate }
  }

  #logprobsOf(
    token: number,
    logits: Float32Array | undefined,
  ): { logprob?: number; topLogprobs?: TokenLogprob[] } {
    const { logprobs: count } = this.#generation
    if (count === undefined || !logits) return {}
    const entry = {
      logprob: logits[token]! - logSumExp(logits),
      topLogprobs: topLogprobs(logits, count),
    }
    this.result.logprobs!.push(entry)
    return entry
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

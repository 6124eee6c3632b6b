// Structured output: which tokens may come next. The work is done on the grammar thread.

import { onAbort, reasonOf, type Signal, throwIfAborted } from '../support/abort.js'
import { IsolatedThread, ThreadLostError } from '../support/isolated-thread.js'
import type { GrammarAnswer, GrammarRequest, Step } from './grammar-thread.js'
import { type ConstrainedFormat, grammarOf } from './response-format.js'
import { type SharedVocabulary, sharedVocabulary, type TokenSource } from './vocabulary.js'

export type { Step } from './grammar-thread.js'

// JavaScript's heap holds the vocabulary's tokens for a while; xgrammar's own memory is bounded in the thread.
const MAX_HEAP_MIB = 256
const COMPILE_MS = 20_000
const STEP_MS = 5_000
/** How often a text is gone through again because others lost the thread. */
const MAX_REBUILDS = 5

const BITS = 32

export interface GrammarEngineOptions {
  tokenizer: TokenSource
  /** Rows of the logits: ids that the tokenizer lacks are never allowed. */
  vocabulary: number
}

export interface CompileOptions {
  /** Allowed exactly where the text may end. */
  stopTokens: ReadonlySet<number>
  signal?: Signal | undefined
  /**
   * How long it may take, with that of the vocabulary the first time; a token later takes 5 seconds or as long as this,
   * whichever is less. Defaults to 20 seconds.
   */
  timeoutMs?: number | undefined
}

/**
 * Compiles what outputs must look like, for one vocabulary. Its thread starts with the first one.
 *
 * @example
 * const engine = new GrammarEngine({ tokenizer, vocabulary: 50288 })
 * const matcher = await engine.compile('generate', { type: 'json' }, { stopTokens: new Set([0]) })
 * for (let step = matcher.step; !step.isOver; ) step = await matcher.accept(sample(step.mask))
 */
export class GrammarEngine {
  readonly #tokenizer: TokenSource
  readonly #size: number
  readonly #thread: IsolatedThread<GrammarRequest, GrammarAnswer>
  #vocabulary: SharedVocabulary | undefined
  #matchers = 0

  constructor({ tokenizer, vocabulary }: GrammarEngineOptions) {
    this.#tokenizer = tokenizer
    this.#size = vocabulary
    this.#thread = new IsolatedThread({
      script: 'grammar/grammar-thread',
      maxMemoryMiB: MAX_HEAP_MIB,
    })
  }

  /**
   * A matcher at the beginning of a text. `format`: or a grammar as `emitGrammar` writes it.
   *
   * @throws TypeError or RangeError if the format is not one, or cannot be kept to; the message says where.
   * @throws Error if the grammar takes too long or too much memory.
   * @example await engine.compile('generate', { type: 'regex', pattern: 'yes|no' }, { stopTokens })
   */
  async compile(
    operation: string,
    format: ConstrainedFormat | string,
    { stopTokens, signal, timeoutMs = COMPILE_MS }: CompileOptions,
  ): Promise<Matcher> {
    throwIfAborted(signal)
    const grammar = typeof format === 'string' ? format : grammarOf(operation, format)
    const stops = Int32Array.from(stopTokens)
    const source: MatcherSource = {
      operation,
      begin: (accepted) => this.#begin(grammar, stops, accepted, timeoutMs),
      accept: (matcher, token) =>
        this.#thread.ask({ kind: 'accept', matcher, token }, Math.min(STEP_MS, timeoutMs)),
      dispose: (matcher) => this.#dispose(matcher),
    }
    const started = Matcher.start(source)
    return abortable(started, signal)
  }

  /** Ends the thread; matchers that are waiting reject. */
  dispose(): void {
    this.#thread.dispose()
  }

  async #begin(
    grammar: string,
    stopTokens: Int32Array,
    accepted: Int32Array,
    timeoutMs: number,
  ): Promise<Begun> {
    this.#vocabulary ??= sharedVocabulary(this.#tokenizer, this.#size)
    const matcher = ++this.#matchers
    const step = await this.#thread.ask(
      {
        kind: 'compile',
        matcher,
        grammar,
        vocabulary: this.#vocabulary,
        words: Math.ceil(this.#size / BITS),
        stopTokens,
        accepted,
      },
      timeoutMs,
    )
    return { matcher, step: step! }
  }

  #dispose(matcher: number): void {
    // A thread that was lost has nothing to free.
    this.#thread.ask({ kind: 'dispose', matcher }, STEP_MS).catch(() => {})
  }
}

interface Begun {
  matcher: number
  step: Step
}

/** What a matcher asks its engine for. */
interface MatcherSource {
  readonly operation: string
  begin(accepted: Int32Array): Promise<Begun>
  accept(matcher: number, token: number): Promise<GrammarAnswer>
  dispose(matcher: number): void
}

const forgotten = new FinalizationRegistry<() => void>((dispose) => dispose())

/**
 * Follows one text through its grammar. Takes one call at a time.
 *
 * @example const { mask, isOver } = await matcher.accept(token)
 */
export class Matcher {
  readonly #source: MatcherSource
  readonly #held: { matcher: number }
  readonly #accepted: number[] = []
  #step: Step
  #rebuilds = 0
  #isDisposed = false

  private constructor(source: MatcherSource, { matcher, step }: Begun) {
    this.#source = source
    this.#held = { matcher }
    this.#step = step
    const held = this.#held
    forgotten.register(this, () => source.dispose(held.matcher), this)
  }

  static async start(source: MatcherSource): Promise<Matcher> {
    return new Matcher(source, await explained(source.operation, source.begin(new Int32Array())))
  }

  /** Where the text stands: the tokens that may come next, and whether it is over. */
  get step(): Step {
    return this.#step
  }

  /**
   * Goes on by a token of the text, one that the mask allows and that does not end it.
   *
   * @throws Error if the token may not come here, or the grammar took too long or too much memory.
   * @example if ((await matcher.accept(token)).isOver) break
   */
  async accept(token: number): Promise<Step> {
    const { operation } = this.#source
    const step = await explained(operation, this.#source.accept(this.#held.matcher, token))
    this.#step = step ?? (await this.#rebuild(token))
    this.#accepted.push(token)
    return this.#step
  }

  /** Frees what the thread holds for it. */
  dispose(): void {
    if (this.#isDisposed) return
    this.#isDisposed = true
    forgotten.unregister(this)
    this.#source.dispose(this.#held.matcher)
  }

  /** Somebody else's grammar ended the thread, and this matcher with it. */
  async #rebuild(token: number): Promise<Step> {
    const { operation, begin } = this.#source
    if (++this.#rebuilds > MAX_REBUILDS) {
      throw new Error(
        `[${operation}] the grammar thread was lost ${this.#rebuilds} times to other formats that took too ` +
          'long: check those, or generate with a responseFormat in a process of its own',
      )
    }
    const begun = await explained(operation, begin(Int32Array.from([...this.#accepted, token])))
    this.#held.matcher = begun.matcher
    // Nobody frees it any more.
    if (this.#isDisposed) this.#source.dispose(begun.matcher)
    return begun.step
  }
}

/** Errors of the thread as its readers need them. */
async function explained<Answer>(operation: string, asked: Promise<Answer>): Promise<Answer> {
  try {
    return await asked
  } catch (error) {
    const { name, message } = error as Error
    if (error instanceof ThreadLostError) {
      throw new Error(
        `[${operation}] responseFormat could not be followed (${message}): use a simpler one`,
        { cause: error },
      )
    }
    if (name !== 'GrammarRefusal') throw error
    throw new RangeError(`[${operation}] responseFormat: ${message}`, { cause: error })
  }
}

/** Rejects when the signal aborts; a matcher that comes after that is freed. */
function abortable(started: Promise<Matcher>, signal: Signal | undefined): Promise<Matcher> {
  return new Promise((resolve, reject) => {
    const forget = onAbort(signal, () => {
      reject(reasonOf(signal!))
      started.then((matcher) => matcher.dispose()).catch(() => {})
    })
    started.then(resolve, reject).finally(forget)
  })
}

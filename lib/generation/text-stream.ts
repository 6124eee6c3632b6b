// What users iterate over while a text is generated.

import { callerOf, toldTo } from '../support/caller.js'
import { type GenerateResult, type Generation, GenerationRun, type TextChunk } from './generate.js'

// A stream that nobody holds any more, in the middle of its text, leaves its place to others.
const forgotten = new FinalizationRegistry<AsyncGenerator>((chunks) => {
  void chunks.return(undefined).catch(() => {})
})

/**
 * A stream of text, to be iterated once. `result` may be asked for before, while and after: it takes nothing
 * away from whoever iterates. Also ends with `await using`.
 *
 * @example
 * const stream = model.stream('Once upon a time')
 * void stream.result.then(({ usage }) => console.log(usage))
 * for await (const { text } of stream) process.stdout.write(text)
 */
export class TextStream implements AsyncIterableIterator<TextChunk> {
  /** Who asked for the text. */
  readonly #caller = callerOf(TextStream)
  readonly #run: GenerationRun
  readonly #chunks: AsyncGenerator<TextChunk, void, void>
  readonly #result: Promise<GenerateResult>
  #settle!: (outcome: { error?: unknown }) => void
  /** Chunks that were generated because of `result`, and that nobody has iterated over yet. */
  readonly #kept: TextChunk[] = []
  /** What iterating has yet to throw. */
  #failure: { error: unknown } | undefined
  #isOver = false
  #isStopped = false
  /** Somebody waits for the result, so that the generation goes on by itself. */
  #isDriven = false
  /** Nobody will iterate. */
  #isUnseen = false
  /** The chunk on its way. */
  #advancing: Promise<void> | undefined
  /** The last call of `next`: each has its turn. */
  #last: Promise<unknown> = Promise.resolve()

  /** @internal Use `model.stream`. */
  constructor(generation: Generation) {
    this.#run = new GenerationRun(generation)
    this.#chunks = this.#run.chunks()
    forgotten.register(this, this.#chunks, this)
    this.#result = new Promise((resolve, reject) => {
      this.#settle = (outcome) =>
        'error' in outcome ? reject(toldTo(this.#caller, outcome.error)) : resolve(this.#run.result)
    })
    // A failure reaches whoever iterates; it must not also count as unhandled here.
    this.#result.catch(() => {})
  }

  /** What has been generated so far. */
  get partial(): GenerateResult {
    return this.#run.result
  }

  /**
   * The whole result, once the stream has ended: by itself, by `break` (finishReason 'abort'), or with
   * the error that iteration throws. Whoever asks for it before has the generation run to its end, as fast as
   * it can; what a loop has not taken by then is kept for it.
   */
  get result(): Promise<GenerateResult> {
    void this.#drive()
    return this.#result
  }

  /** @internal The result, where nobody iterates. */
  resultAlone(): Promise<GenerateResult> {
    this.#isUnseen = true
    return this.result
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<TextChunk, void>> {
    const taken = this.#last.then(() => this.#take())
    this.#last = taken.catch(() => {})
    return taken
  }

  /** Stops the generation: what `break` calls. */
  async return(): Promise<IteratorResult<TextChunk, void>> {
    this.#isStopped = true
    this.#kept.length = 0
    this.#run.stop()
    await this.#chunks.return()
    this.#end({})
    this.#failure = undefined
    return { value: undefined, done: true }
  }

  /** The same as `return()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #take(): Promise<IteratorResult<TextChunk, void>> {
    while (this.#kept.length === 0 && !this.#isOver) await this.#advance()
    const value = this.#kept.shift()
    if (value) return { value, done: false }
    const failure = this.#failure
    this.#failure = undefined
    if (failure) throw toldTo(this.#caller, failure.error)
    return { value: undefined, done: true }
  }

  async #drive(): Promise<void> {
    if (this.#isDriven) return
    this.#isDriven = true
    while (!this.#isOver) await this.#advance()
  }

  /** Resolves when there is another chunk, for whoever comes first, or none will follow. */
  #advance(): Promise<void> {
    this.#advancing ??= this.#generate().finally(() => {
      this.#advancing = undefined
    })
    return this.#advancing
  }

  async #generate(): Promise<void> {
    try {
      const { value, done } = await this.#chunks.next()
      if (done) this.#end({})
      else if (!this.#isStopped && !this.#isUnseen) this.#kept.push(value)
    } catch (error) {
      this.#end(this.#isStopped ? {} : { error })
    }
  }

  #end(outcome: { error?: unknown }): void {
    if (this.#isOver) return
    this.#isOver = true
    forgotten.unregister(this)
    if ('error' in outcome) this.#failure = { error: outcome.error }
    this.#settle(outcome)
  }
}

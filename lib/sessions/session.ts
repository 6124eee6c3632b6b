// A sequence that somebody holds: its state between calls, and copies of it.

import { throwIfAborted } from '../support/abort.js'
import { callerOf, toldTo } from '../support/caller.js'
import { checkOptions, checkPath } from '../support/option-checks.js'
import { optionNames, optionValue, optionValues } from '../support/option-table.js'
import { DisposedError, SessionBusyError, SessionLostError } from '../support/errors.js'
import type { Begun, GenerateResult } from '../generation/generate.js'
import type { TextStream } from '../generation/text-stream.js'
import type { GenerateOptions, Prompt, PromptOptions } from '../options/generation.js'
import {
  PREFILL_SESSION,
  type PrefillSessionOptions,
  SAVE_SESSION,
  type SaveSessionOptions,
  SCORE_SESSION,
  type ScoreSessionOptions,
} from '../options/sessions.js'
import { pageBytesOf, SequenceState } from '../engine/sequence-state.js'
import type { Moment } from '../engine/moments.js'
import type { Snapshot } from '../engine/snapshot.js'
import type { Engine } from '../engine/engine.js'
import type { EngineStream, StreamSettings } from '../engine/stream.js'
import type { Wanted } from '../generation/generator.js'
import type { ModelIdentity } from '../models/model-identity.js'
import type { LanguageModel } from '../models/language-model.js'
import type { Score } from '../scoring/scoring.js'
import { writeSessionFile } from './session-file.js'
import { savedContents } from './session-saving.js'
import { type CheckpointHost, SessionCheckpoint } from './session-checkpoint.js'
import { disposedError, SessionSequence } from './session-sequence.js'
import { TokenHistory } from '../engine/token-history.js'

/** What a session needs of its model. */
export interface SessionHost extends CheckpointHost {
  readonly languageModel: LanguageModel
  readonly engine: Engine
  /** Bytes of the state of one sequence. */
  readonly stateBytes: number
  /** Whose sessions these are, for their files. */
  identity(): Promise<ModelIdentity>
  /** Throws when the model was disposed of. */
  check(operation: string): void
  /** Tokens of a prompt; what the tokenizer puts around a text only at the beginning of a sequence. */
  tokens(operation: string, prompt: Prompt, options: PromptOptions, isFirst: boolean): Uint32Array
  stream(operation: string, wanted: Wanted): TextStream
  /** Scores candidates after a moment with logits. */
  scoreAfter(
    operation: string,
    from: Moment,
    candidates: readonly Uint32Array[],
    options: Pick<ScoreSessionOptions, 'signal'>,
  ): Promise<Score[]>
  /** Counts the memory of what is alive. */
  holds(owner: Session | SessionCheckpoint): void
  letsGo(owner: Session | SessionCheckpoint): void
}

/**
 * One sequence of tokens and the model's memory of it, which has a fixed size. Give it more tokens, let it go
 * on, hold a moment and come back to it, or let two branches go their own ways: nothing is computed twice.
 * One call at a time; `SessionBusyError` otherwise.
 *
 * Whatever ends a call, the state is that of whole tokens. After a stop token, a stop text, `break` or an
 * abort it has consumed all of `consumed`; after `maxTokens` all but the last token, which is consumed before
 * anything else happens. An abort in a prompt leaves its finished chunks. After an error `SessionLostError`
 * refuses everything but `rewind`, `reset` and `dispose`.
 *
 * @example
 * using session = model.createSession()
 * await session.prefill('You are a helpful assistant.\n')
 * const start = await session.checkpoint()
 * const { text } = await session.generate('What is a state space?\n')
 * await session.rewind(start) // as if the question had never been asked
 */
export class Session {
  readonly #host: SessionHost
  readonly #sequence: SessionSequence
  #running: string | undefined

  /** @internal Use `model.createSession`. */
  constructor(host: SessionHost, state = new SequenceState(), history = new TokenHistory()) {
    this.#host = host
    this.#sequence = new SessionSequence(host.engine, state, history)
    host.holds(this)
  }

  /** Tokens so far. */
  get position(): number {
    return this.#sequence.history.length
  }

  /**
   * The tokens so far: prompts and what was generated, stop tokens not among them. Of a session that was saved
   * without its tokens, those since then.
   */
  get consumed(): Uint32Array {
    return this.#sequence.history.known()
  }

  /**
   * Bytes in memory, whatever the number of tokens; of models that attend to all of them also what they keep of each, in
   * pages that forks and checkpoints may share.
   */
  get stateBytes(): number {
    const { isDisposed, state } = this.#sequence
    return isDisposed ? 0 : this.#host.stateBytes + pageBytesOf(state)
  }

  /**
   * Consumes a text or token ids and generates nothing.
   *
   * @throws SessionBusyError, SessionLostError; ContextLengthError where the context cannot hold it; `signal.reason` when
   *   aborted.
   * @example await session.prefill('Once upon a time')
   */
  async prefill(prompt: Prompt, options: PrefillSessionOptions = {}): Promise<void> {
    checkOptions('prefill', options, optionNames(PREFILL_SESSION))
    optionValue('prefill', PREFILL_SESSION, 'signal', options)
    const { signal } = options
    this.#check('prefill')
    const isFirst = this.position === 0
    const tokens = this.#host.tokens('prefill', prompt, options, isFirst)
    this.#host.engine.checkContext('prefill', this.position + tokens.length)
    throwIfAborted(signal)
    await this.#alone('prefill', async () => {
      const before = await this.#sequence.settle('prefill', signal)
      try {
        throwIfAborted(signal)
        await this.#sequence.advance(tokens, signal, before)
      } finally {
        before?.close()
      }
    })
  }

  /**
   * How likely each continuation is after what the session holds, which stays as it is: `prefill` takes one in. A text
   * is tokenised by itself.
   *
   * @throws RangeError for an empty continuation, and for a session that has nothing to go on from: a new one, one that
   *   was loaded from a file, or one whose last prompt was aborted between two chunks. SessionBusyError, SessionLostError.
   * @example
   * const [{ logprob }] = await session.score([line]) // how unexpected a line of a log is
   * await session.prefill(line)
   */
  async score(
    continuations: readonly Prompt[],
    options: ScoreSessionOptions = {},
  ): Promise<Score[]> {
    checkOptions('score', options, optionNames(SCORE_SESSION))
    const { parseSpecial } = optionValues('score', SCORE_SESSION, options)
    const { signal } = options
    this.#check('score')
    if (!Array.isArray(continuations) || continuations.length === 0) {
      throw new RangeError('[score] there are no continuations: give an array of at least one')
    }
    const candidates = continuations.map((continuation) =>
      this.#host.tokens('score', continuation, { parseSpecial }, false),
    )
    return this.withSnapshot('score', (snapshot) => {
      if (!snapshot.hasLogits) throw nothingToGoOnFrom('score')
      const from = { snapshot, position: this.position }
      return this.#host.scoreAfter('score', from, candidates, { signal })
    })
  }

  /**
   * Generates text after what the session holds and `prompt`, as `model.generate` does. An empty prompt goes
   * on from where the last call ended.
   *
   * @throws RangeError for an empty prompt in a session that has nothing to go on from: a new one, one that
   *   was loaded from a file, or one whose last prompt was aborted between two chunks. SessionBusyError,
   *   SessionLostError.
   * @example const { text } = await session.generate('And then', { maxTokens: 50 })
   */
  async generate(prompt: Prompt = '', options: GenerateOptions = {}): Promise<GenerateResult> {
    return this.#stream('generate', prompt, options).resultAlone()
  }

  /**
   * The same as a stream. The session is busy from the first token that is asked for until the stream ends.
   *
   * @example for await (const { text } of session.stream('And then')) process.stdout.write(text)
   */
  stream(prompt: Prompt = '', options: GenerateOptions = {}): TextStream {
    return this.#stream('stream', prompt, options)
  }

  /**
   * Holds the present moment: a copy of the state, of the same size.
   *
   * @example using moment = await session.checkpoint()
   */
  async checkpoint(): Promise<SessionCheckpoint> {
    const { snapshot, history } = await this.#copy('checkpoint')
    return new SessionCheckpoint(this.#host, snapshot, history)
  }

  /**
   * Goes back to a moment of this session or of another one of the same model; also after an error.
   *
   * @throws TypeError for a checkpoint of another model, DisposedError for one that was disposed of.
   * @example await session.rewind(moment)
   */
  async rewind(moment: SessionCheckpoint): Promise<void> {
    if (!(moment instanceof SessionCheckpoint) || moment.host !== this.#host) {
      throw new TypeError('[rewind] takes a checkpoint of a session of the same model')
    }
    if (moment.isDisposed) throw new DisposedError('[rewind] this checkpoint was disposed')
    this.#check('rewind', { evenIfLost: true })
    await this.#alone('rewind', async () => {
      await this.#sequence.restore(moment.snapshot, moment.history.copy())
    })
  }

  /**
   * A second session that goes on from here on its own.
   *
   * @example using other = await session.fork()
   */
  async fork(): Promise<Session> {
    const { snapshot, history } = await this.#copy('fork')
    return new Session(this.#host, new SequenceState(snapshot), history)
  }

  /**
   * Writes the session to a file, whole or not at all; `model.loadSession` reads it. docs/sessions.md has the
   * format. `consumed` of a session that was loaded without its tokens cannot be saved.
   *
   * @throws RangeError where `float16` is asked for and a number is beyond it; the errors of `fs`.
   * @example await session.save('chat.session')
   */
  async save(path: string, options: SaveSessionOptions = {}): Promise<void> {
    checkPath('save', path)
    checkOptions('save', options, optionNames(SAVE_SESSION))
    const { dtype, tokens } = optionValues('save', SAVE_SESSION, options)
    await this.withSnapshot('save', async (snapshot, history, engine) => {
      const model = await this.#host.identity()
      const contents = await savedContents(snapshot, history, { engine, model, tokens })
      await writeSessionFile(path, contents, dtype && { dtype })
    })
  }

  /** Forgets everything, as a new session would; also after an error. */
  reset(): void {
    this.#check('reset', { evenIfLost: true })
    if (this.#running) throw this.#busy('reset')
    this.#sequence.forget()
  }

  /** Frees the state. A stream that is under way ends with its next token. */
  dispose(): void {
    if (this.#sequence.isDisposed) return
    this.#sequence.dispose()
    if (!this.#running) this.#sequence.release()
    this.#host.letsGo(this)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose()
  }

  /**
   * Bytes of memory of its own: 0 while it has a slot of the model's pool.
   *
   * @internal
   */
  get snapshotBytes(): number {
    const { place } = this.#sequence.state
    return place.kind === 'snapshot' ? place.snapshot.bytes : 0
  }

  /**
   * Calls `use` with a copy of the state of all tokens, which is freed afterwards.
   *
   * @internal
   */
  async withSnapshot<T>(
    operation: string,
    use: (snapshot: Snapshot, history: TokenHistory, engine: Engine) => Promise<T>,
  ): Promise<T> {
    this.#check(operation)
    return this.#alone(operation, async () => {
      await this.#sequence.settleAlone(operation)
      const snapshot = await this.#host.engine.snapshot(this.#sequence.state, this.position)
      try {
        return await use(snapshot, this.#sequence.history, this.#host.engine)
      } finally {
        snapshot.dispose()
      }
    })
  }

  #stream(operation: string, prompt: Prompt, options: GenerateOptions): TextStream {
    this.#check(operation)
    let tokens: Uint32Array = new Uint32Array(0)
    let wasFirst = false
    const read = () => {
      wasFirst = this.position === 0
      if (prompt?.length !== 0) tokens = this.#host.tokens(operation, prompt, options, wasFirst)
      return tokens
    }
    const begin = async (settings: StreamSettings): Promise<Begun> => {
      this.#check(operation)
      if (this.#running) throw this.#busy(operation)
      this.#running = operation
      let before: EngineStream | undefined
      try {
        // Other calls may have come between. Token ids stay those that were given.
        if (typeof prompt === 'string' && wasFirst !== (this.position === 0)) read()
        before = await this.#sequence.settle(operation, settings.signal)
        if (tokens.length === 0 && !this.#sequence.state.hasLogits) {
          throw nothingToGoOnFrom(operation, 'the prompt is empty, and ')
        }
        return await this.#sequence.begin(operation, tokens, settings, {
          before,
          onEnd: () => this.#end(),
        })
      } catch (error) {
        before?.close()
        this.#end()
        throw error
      }
    }
    return this.#host.stream(operation, { options, tokens: read, begin })
  }

  async #copy(operation: string): Promise<{ snapshot: Snapshot; history: TokenHistory }> {
    this.#check(operation)
    return this.#alone(operation, async () => {
      await this.#sequence.settleAlone(operation)
      const snapshot = await this.#host.engine.snapshot(this.#sequence.state, this.position)
      return { snapshot, history: this.#sequence.history.copy() }
    })
  }

  async #alone<T>(operation: string, work: () => Promise<T>): Promise<T> {
    if (this.#running) throw this.#busy(operation)
    this.#running = operation
    const caller = callerOf(this.#alone)
    try {
      return await work()
    } catch (error) {
      throw toldTo(caller, error)
    } finally {
      this.#end()
    }
  }

  #end(): void {
    this.#running = undefined
    if (this.#sequence.isDisposed) this.#sequence.release()
  }

  #busy(operation: string): Error {
    return new SessionBusyError(
      `[${operation}] this session is busy with ${this.#running}: wait for its end, or fork the session before`,
    )
  }

  #check(operation: string, { evenIfLost = false } = {}): void {
    this.#host.check(operation)
    if (this.#sequence.isDisposed) throw disposedError(operation)
    const { lost } = this.#sequence
    if (lost === undefined || evenIfLost) return
    throw new SessionLostError(
      `[${operation}] an error left this session's state unusable: rewind it to a checkpoint, reset it or dispose of it`,
      { cause: lost },
    )
  }
}

function nothingToGoOnFrom(operation: string, lead = ''): RangeError {
  return new RangeError(
    `[${operation}] ${lead}this session has nothing to go on from: give at least one token`,
  )
}

// A moment of a session that somebody holds, and the model that sessions belong to.

import type { KeptState } from './generate.js'
import type { GenerateOptions, Prompt, PromptOptions } from './model.js'
import type { ModelIdentity } from './model-identity.js'
import type { LanguageModel } from './models/language-model.js'
import type { Sequence } from './models/sequence.js'
import type { SequenceState } from './models/sequence-state.js'
import type { Sampler } from './sampler.js'
import type { Session } from './session.js'
import type { TextStream } from './text-stream.js'
import type { TokenHistory } from './token-history.js'

/** What a session needs of its model. */
export interface SessionHost {
  readonly languageModel: LanguageModel
  /** Whose sessions these are, for their files. */
  identity(): Promise<ModelIdentity>
  /** Throws when the model was disposed of. */
  check(operation: string): void
  /** Tokens of a prompt; what the tokenizer puts around a text only at the beginning of a sequence. */
  tokens(operation: string, prompt: Prompt, options: PromptOptions, isFirst: boolean): Uint32Array
  stream(
    operation: string,
    tokens: () => Uint32Array,
    options: GenerateOptions,
    begin: (sampler: Sampler) => Promise<{ sequence: Sequence; kept: KeptState }>,
  ): TextStream
  /** Counts the memory of what is alive. */
  holds(owner: Session | SessionCheckpoint): void
  letsGo(owner: Session | SessionCheckpoint): void
}

/** The moment of a session that `checkpoint` took. It never changes, and outlives the session. */
export class SessionCheckpoint {
  /** @internal */
  readonly state: SequenceState
  /** @internal */
  readonly history: TokenHistory
  /** @internal */
  readonly host: SessionHost
  #isDisposed = false

  /** @internal Use `session.checkpoint`. */
  constructor(host: SessionHost, state: SequenceState, history: TokenHistory) {
    this.host = host
    this.state = state
    this.history = history
    host.holds(this)
  }

  /** Tokens that it has consumed. */
  get position(): number {
    return this.history.length
  }

  /** Bytes in memory. */
  get stateBytes(): number {
    return this.#isDisposed ? 0 : this.state.bytes
  }

  get isDisposed(): boolean {
    return this.#isDisposed
  }

  dispose(): void {
    if (this.#isDisposed) return
    this.#isDisposed = true
    this.state.dispose()
    this.host.letsGo(this)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

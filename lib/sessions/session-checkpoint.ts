// A moment of a session that somebody holds, and the model that sessions belong to.

import type { Engine } from '../engine/engine.js'
import type { Snapshot } from '../engine/snapshot.js'
import type { Wanted } from '../generation/generator.js'
import type { Prompt, PromptOptions } from '../options/generation.js'
import type { ModelIdentity } from '../models/model-identity.js'
import type { LanguageModel } from '../models/language-model.js'
import type { Session } from './session.js'
import type { TextStream } from '../generation/text-stream.js'
import type { TokenHistory } from '../engine/token-history.js'

/** What a session needs of its model. */
export interface SessionHost {
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
  /** Counts the memory of what is alive. */
  holds(owner: Session | SessionCheckpoint): void
  letsGo(owner: Session | SessionCheckpoint): void
}

/** The moment of a session that `checkpoint` took. It never changes, and outlives the session. */
export class SessionCheckpoint {
  /** @internal */
  readonly snapshot: Snapshot
  /** @internal */
  readonly history: TokenHistory
  /** @internal */
  readonly host: SessionHost
  #isDisposed = false

  /** @internal Use `session.checkpoint`. */
  constructor(host: SessionHost, snapshot: Snapshot, history: TokenHistory) {
    this.host = host
    this.snapshot = snapshot
    this.history = history
    host.holds(this)
  }

  /** Tokens that it has consumed. */
  get position(): number {
    return this.history.length
  }

  /** Bytes in memory. */
  get stateBytes(): number {
    return this.#isDisposed ? 0 : this.snapshot.bytes
  }

  get isDisposed(): boolean {
    return this.#isDisposed
  }

  dispose(): void {
    if (this.#isDisposed) return
    this.#isDisposed = true
    this.snapshot.dispose()
    this.host.letsGo(this)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

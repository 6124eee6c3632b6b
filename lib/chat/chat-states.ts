// The states that a chat holds: after its last prompt, and after the last answer.

import { type Moment, type Moments, PendingCopies } from '../engine/moments.js'
import type { Snapshot } from '../engine/snapshot.js'
import { commonLength, concatenated } from '../support/token-ids.js'

/** A state and the tokens that led to it. */
export interface ChatState {
  readonly tokens: Uint32Array
  readonly snapshot: Snapshot
}

/**
 * Two moments of a conversation: the next turn goes on from the answer, another answer to the same question from the
 * prompt. Whatever the prompt cache keeps, these stay.
 */
export class ChatStates {
  #prompt: ChatState | undefined
  #answer: ChatState | undefined
  readonly #copies = new PendingCopies()
  #isDisposed = false

  get snapshots(): Snapshot[] {
    return [this.#prompt, this.#answer].flatMap((state) => (state ? [state.snapshot] : []))
  }

  /** For the stream of a prompt. With `begins` false it only takes copies. */
  momentsOf(
    prompt: Uint32Array,
    { begins }: { begins: boolean },
  ): Pick<Moments, 'ready' | 'beginning' | 'receiver'> {
    return {
      ready: () => this.#copies.settled(),
      beginning: () => (begins ? this.#find(prompt) : undefined),
      receiver: ({ prompt: length, drawn }) => {
        if (length < prompt.length) return undefined
        return this.#copies.receiver((snapshot) => {
          if (snapshot) this.#take(concatenated(prompt, drawn), snapshot, drawn.length > 0)
        })
      },
    }
  }

  /** The state that has consumed most of the tokens, which begin with its own. */
  longestOf(
    tokens: Uint32Array,
    accept: (state: ChatState) => boolean = () => true,
  ): ChatState | undefined {
    const fitting = [this.#prompt, this.#answer].filter(
      (state) =>
        state !== undefined &&
        commonLength(tokens, state.tokens) === state.tokens.length &&
        accept(state),
    )
    return fitting.sort((a, b) => b!.tokens.length - a!.tokens.length)[0]
  }

  /** Resolves when what the last turn left is there. */
  async settled(): Promise<void> {
    await this.#copies.settled()
  }

  /** In the place of all others. */
  restore(state: ChatState): void {
    this.clear()
    this.#answer = state
  }

  /** The same states, for a chat that goes its own way. */
  fork(): ChatStates {
    const copy = new ChatStates()
    const shared = (state: ChatState | undefined) =>
      state && { tokens: state.tokens, snapshot: state.snapshot.share() }
    copy.#prompt = shared(this.#prompt)
    copy.#answer = shared(this.#answer)
    return copy
  }

  clear(): void {
    for (const snapshot of this.snapshots) snapshot.dispose()
    this.#prompt = undefined
    this.#answer = undefined
  }

  dispose(): void {
    this.#isDisposed = true
    this.clear()
  }

  #find(prompt: Uint32Array): Moment | undefined {
    const state = this.longestOf(
      prompt,
      ({ tokens, snapshot }) =>
        !snapshot.isLost && (tokens.length < prompt.length || snapshot.hasLogits),
    )
    return state && { snapshot: state.snapshot, position: state.tokens.length }
  }

  // The answer before stays until there is another one: this turn may come to nothing.
  #take(tokens: Uint32Array, snapshot: Snapshot, isAnswer: boolean): void {
    if (this.#isDisposed) {
      snapshot.dispose()
      return
    }
    const replaced = isAnswer ? this.#answer : this.#prompt
    replaced?.snapshot.dispose()
    if (isAnswer) this.#answer = { tokens, snapshot }
    else this.#prompt = { tokens, snapshot }
  }
}

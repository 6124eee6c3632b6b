// What an answer must look like, of a model that thinks before it.

import type { Allowed, Masker } from '../engine/masks.js'
import type { DetokenizerStream } from '../tokenizer/detokenizer.js'
import { type ReasoningTags, ReasoningSplitter, tagOf } from './reasoning.js'

/** What thoughts and their answer are made of. */
export interface AfterThoughtsOptions {
  tags: ReasoningTags
  detokenizer: DetokenizerStream
  /** Rows of the logits. */
  vocabulary: number
  /** They end no thoughts: the answer is still to come. */
  stopTokens: ReadonlySet<number>
}

/**
 * Lets a model think as it likes in the block that its prompt has opened; from the tag that closes it on, the answer
 * keeps to `masker`.
 *
 * @example new AfterThoughts(masker, { tags, detokenizer: tokenizer.createStream(), vocabulary: 50288, stopTokens })
 */
export class AfterThoughts implements Masker {
  readonly #masker: Masker
  readonly #options: AfterThoughtsOptions
  readonly #splitter: ReasoningSplitter
  readonly #anything: Allowed

  constructor(masker: Masker, options: AfterThoughtsOptions) {
    this.#masker = masker
    this.#options = options
    this.#splitter = new ReasoningSplitter(options.tags, { isOpened: true })
    const mask = new Uint32Array(Math.ceil(options.vocabulary / 32)).fill(0xffffffff)
    for (const token of options.stopTokens) mask[token >> 5]! &= ~(1 << (token & 31))
    this.#anything = { mask, isOver: false }
  }

  async first(): Promise<Allowed> {
    return this.#anything
  }

  async after(token: number): Promise<Allowed> {
    if (!this.#splitter.isReasoning) return this.#masker.after(token)
    const { detokenizer, tags } = this.#options
    this.#splitter.push(detokenizer.push(token) + tagOf(token, tags))
    return this.#splitter.isReasoning ? this.#anything : this.#masker.first()
  }
}

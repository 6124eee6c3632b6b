// The tokens of a prefix and of what may follow it. A tokenizer may merge across the border: then the last tokens of
// the prefix are others with a continuation than without it.

import { setImmediate as turn } from 'node:timers/promises'
import { type Signal, throwIfAborted } from '../support/abort.js'
import { UnsupportedOptionError } from '../support/errors.js'
import type { Prompt } from '../options/generation.js'
import { describe } from '../support/option-checks.js'
import type { PromptReader } from '../generation/prompt-reader.js'
import { commonLength } from '../support/token-ids.js'

// Milliseconds of encoding between two turns of the event loop.
const SLICE_MS = 10

/** What texts are encoded with. */
export type TokenSource = Pick<PromptReader, 'needTokenizer' | 'vocabulary'>

/** A prefix and its continuations: the options of a call. */
export interface Texts {
  prefix: Prompt
  /** At least one. */
  continuations: readonly Prompt[]
  parseSpecial: boolean | undefined
  signal: Signal | undefined
  /** What an error calls a continuation: `continuation`, `label`. */
  noun: string
}

export interface ContinuationTokens {
  /** What all candidates have in common with the prefix, their longest common beginning: at least one token. */
  context: Uint32Array
  /** What each has after `context`. */
  candidates: Uint32Array[]
  /** Tokens of each candidate that are still the prefix's: another continuation changes them. */
  ofPrefix: number[]
}

/**
 * Encodes texts, each with its prefix; token ids are put after the prefix as they are. Takes turns with whatever else
 * the event loop has to do.
 *
 * @throws RangeError for an empty prefix or continuation, a token outside the vocabulary, and a prefix of which a
 *   continuation leaves no token.
 * @example
 * // 'ab' is one token, and so is 'ac'
 * await continuationTokens('score', { prefix: ' xa', continuations: ['b', 'c'], ... }, source)
 * // { context: [' x'], candidates: [['ab'], ['ac']], ofPrefix: [0, 0] }
 */
export async function continuationTokens(
  operation: string,
  { prefix, continuations, parseSpecial, signal, noun }: Texts,
  source: TokenSource,
): Promise<ContinuationTokens> {
  const read = new Reader(operation, parseSpecial, source)
  // Now, not later: ids are the caller's and may change.
  const given = continuations.map((value, i) => read.checked(`${noun} ${i}`, value))
  const prefixGiven = read.checked('the prefix', prefix)
  if (parseSpecial !== undefined && ![prefixGiven, ...given].some(isText)) {
    throw new UnsupportedOptionError(
      `[${operation}] parseSpecial is for text: leave it out with token ids`,
    )
  }
  const start = isText(prefixGiven) ? read.beginning('the prefix', prefixGiven) : prefixGiven
  if (start.length === 0) {
    throw new RangeError(
      `[${operation}] the prefix is empty, and no tokenizer puts a token in front of it: begin with one, such as the model's end of text ([model.endOfText[0].id])`,
    )
  }
  const own: Uint32Array[] = []
  const borders: number[] = []
  let sliceEnd = performance.now() + SLICE_MS
  for (const [i, value] of given.entries()) {
    if (performance.now() > sliceEnd) {
      await turn()
      throwIfAborted(signal)
      sliceEnd = performance.now() + SLICE_MS
    }
    const name = `${noun} ${i}`
    if (isText(prefixGiven) && isText(value)) {
      const both = read.beginning(name, prefixGiven + value)
      borders.push(commonLength(start, both))
      own.push(both.slice(borders[i])) // no more of it is kept
    } else {
      borders.push(start.length)
      own.push(isText(value) ? read.text(name, value) : value)
    }
    if (own[i]!.length === 0) {
      throw new RangeError(`[${operation}] ${name} is empty: it adds no token to the prefix`)
    }
    if (borders[i] === 0) {
      throw new RangeError(
        `[${operation}] the tokenizer merges all of the prefix with ${name}: give a longer prefix, or one that begins with a special token`,
      )
    }
  }
  const shared = borders.reduce((a, b) => Math.min(a, b))
  return {
    context: start.slice(0, shared),
    candidates: own.map((tokens, i) =>
      Uint32Array.from([...start.subarray(shared, borders[i]), ...tokens]),
    ),
    ofPrefix: borders.map((border) => border - shared),
  }
}

const isText = (value: Prompt): value is string => typeof value === 'string'

/** Reads texts and token ids. `name`: what errors call them. */
class Reader {
  readonly #operation: string
  readonly #parseSpecial: boolean | undefined
  readonly #source: TokenSource

  constructor(operation: string, parseSpecial: boolean | undefined, source: TokenSource) {
    this.#operation = operation
    this.#parseSpecial = parseSpecial
    this.#source = source
  }

  /** A text as it is; a copy of token ids. */
  checked(name: string, value: Prompt): string | Uint32Array {
    if (isText(value)) return value
    if (typeof value !== 'object' || typeof value?.length !== 'number') {
      throw new TypeError(
        `[${this.#operation}] ${name} must be a text or token ids but is ${describe(value)}`,
      )
    }
    return this.#ids(name, value)
  }

  /** A text at the beginning of a sequence. */
  beginning(name: string, text: string): Uint32Array {
    const { startTokens } = this.#source.needTokenizer(this.#operation)
    return Uint32Array.from([...this.#ids(name, startTokens), ...this.text(name, text)])
  }

  /** A text after others. */
  text(name: string, text: string): Uint32Array {
    const parseSpecial = this.#parseSpecial
    const tokenizer = this.#source.needTokenizer(this.#operation)
    return this.#ids(name, tokenizer.encode(text, { parseSpecial, addSpecialTokens: false }))
  }

  #ids(name: string, ids: ArrayLike<number>): Uint32Array {
    const { vocabulary } = this.#source
    return Uint32Array.from(ids, (id, index) => {
      if (Number.isInteger(id) && id >= 0 && id < vocabulary) return id
      throw new RangeError(
        `[${this.#operation}] token ${index} of ${name} is ${describe(id)}, which is outside the vocabulary of ${vocabulary}`,
      )
    })
  }
}

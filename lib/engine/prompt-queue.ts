// Prompts on their way, each cut into pieces. They take turns, so that a short one does not wait for a long one.

import { chunkFrom, PREFILL_CHUNK_SIZE, SCAN_TOKENS } from './chunks.js'
import type { Drawn, EngineStream, PromptOptions } from './stream.js'

// Milliseconds that a piece takes others' turn for.
const PIECE_MS = 100

/** A prompt of a stream. */
export interface Prompt {
  stream: EngineStream
  tokens: Uint32Array
  options: PromptOptions
  /** Where a piece has to end, in tokens of it, ascending. */
  cuts: readonly number[]
  /** Tokens that were started. */
  started: number
  resolve(drawn: Drawn): void
  reject(error: unknown): void
}

/** A part of a prompt: tokens `first` up to `first + length`. */
export interface Piece {
  prompt: Prompt
  first: number
  length: number
  isLast: boolean
}

export class Prompts {
  #prompts: Prompt[] = []
  /** Of pieces so far; 0 when none has ended. */
  #tokensPerMs = 0

  get isEmpty(): boolean {
    return this.#prompts.length === 0
  }

  add(prompt: Prompt): void {
    this.#prompts.push(prompt)
  }

  /** Takes it out, whether it has ended or not. */
  remove(prompt: Prompt): void {
    this.#prompts = this.#prompts.filter((other) => other !== prompt)
  }

  of(stream: EngineStream): Prompt | undefined {
    return this.#prompts.find((prompt) => prompt.stream === stream)
  }

  /** Those that were to end between two pieces, and whose pieces have ended. */
  aborted(): Prompt[] {
    return this.#prompts.filter(
      ({ stream, started, tokens, options }) =>
        options.betweenPieces?.aborted && stream.pieces === 0 && started < tokens.length,
    )
  }

  /**
   * The next piece of the prompt whose turn it is. `othersDecode`: somebody waits for a token meanwhile. `mayStart`: asked
   * of a piece before it is given out.
   */
  next(othersDecode: boolean, mayStart: (piece: Piece) => boolean = () => true): Piece | undefined {
    for (const prompt of this.#prompts) {
      const { tokens, options, cuts, started: first } = prompt
      if (first === tokens.length || options.betweenPieces?.aborted) continue
      const chunkSize = this.#size(othersDecode, options.chunkSize)
      const length = chunkFrom(first, { tokens: tokens.length, chunkSize, cuts })
      const piece = { prompt, first, length, isLast: first + length === tokens.length }
      if (!mayStart(piece)) continue
      this.remove(prompt)
      this.#prompts.push(prompt)
      prompt.started += length
      return piece
    }
    return undefined
  }

  /** A piece has taken so long. */
  measured(tokens: number, milliseconds: number): void {
    if (tokens < SCAN_TOKENS) return // mostly overhead: it says nothing about larger ones
    const rate = tokens / Math.max(milliseconds, 0.01)
    this.#tokensPerMs = this.#tokensPerMs === 0 ? rate : 0.5 * (this.#tokensPerMs + rate)
  }

  // Less than what was asked for where others wait, in multiples of 64, so that the bits do not depend on who else
  // is there. They would where the prompt is cut elsewhere.
  #size(othersDecode: boolean, most = PREFILL_CHUNK_SIZE): number {
    if (!othersDecode || most % SCAN_TOKENS !== 0) return most
    // The first piece of all tells how long one takes: as few tokens as there may be.
    const scans = Math.floor((PIECE_MS * this.#tokensPerMs) / SCAN_TOKENS)
    return Math.min(Math.max(scans, 1) * SCAN_TOKENS, most)
  }
}

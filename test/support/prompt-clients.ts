// Clients of a prompt cache, as seeds say: prompts that begin as earlier ones did, and what came of them.

import type { GenerateResult } from '../../lib/index.js'
import { tokensOf } from './company.js'
import type { Draw } from './session-cases.js'

// Around the multiples of 64 and of 2048, where copies are made.
const LENGTHS = [1, 2, 63, 64, 65, 100, 128, 129, 192, 250, 256, 321, 640, 2047, 2048, 2050, 2200]

/** What a client said and heard: the prompt, and the tokens after it. */
interface Turn {
  prompt: number[]
  tokens: number[]
}

/**
 * Remembers its turns, and begins most prompts with something of them.
 *
 * @example
 * const client = new PromptClient(seededIntegers(1))
 * const prompt = client.next()
 * client.heard(prompt, (await model.generate(prompt)).tokens)
 */
export class PromptClient {
  readonly #draw: Draw
  readonly #turns: Turn[] = []

  constructor(draw: Draw) {
    this.#draw = draw
  }

  heard(prompt: number[], tokens: number[]): void {
    this.#turns.push({ prompt, tokens })
  }

  next(): number[] {
    const draw = this.#draw
    const turn = this.#turns.length > 0 ? this.#turns[draw(this.#turns.length)]! : undefined
    if (!turn || draw(5) === 0) return tokensOf(LENGTHS[draw(LENGTHS.length)]!, draw)
    const { prompt, tokens } = turn
    const more = tokensOf(1 + draw(90), draw)
    switch (draw(4)) {
      case 0: // again
        return prompt
      case 1: // the next turn
        return [...prompt, ...tokens, ...more]
      case 2: // parts somewhere
        return [...prompt.slice(0, draw(prompt.length + 1)), ...more]
      default: // ends earlier
        return prompt.slice(0, 1 + draw(prompt.length))
    }
  }
}

/** Tokens that the state of a turn has consumed when it ends by itself: a stop token, and the last one, are not run. */
export function consumedTokens(prompt: readonly number[], result: GenerateResult): number[] {
  const { tokens, finishReason } = result
  return [...prompt, ...(finishReason === 'length' ? tokens.slice(0, -1) : tokens)]
}

// Log-probabilities in the two forms that OpenAI's API has.

import type { TokenReport } from '../engine/logprobs.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'

interface TokenLogprob {
  token: string
  logprob: number
  /** Of a character that several tokens make up, the part that is this token's. */
  bytes: number[]
}

/** As chats have it, of each token. */
export interface ChatLogprob extends TokenLogprob {
  top_logprobs: TokenLogprob[]
}

// What a probability of 0 is written as: JSON has no -Infinity.
const LEAST = -9999

/** @example chatLogprob(tokenizer, 42, { logprob: -0.1, topLogprobs: [] }) */
export function chatLogprob(
  tokenizer: Tokenizer,
  token: number,
  { logprob, topLogprobs }: TokenReport,
): ChatLogprob {
  return {
    ...tokenLogprob(tokenizer, token, logprob),
    top_logprobs: topLogprobs.map(({ token, logprob }) => tokenLogprob(tokenizer, token, logprob)),
  }
}

function tokenLogprob(tokenizer: Tokenizer, token: number, logprob: number): TokenLogprob {
  const bytes = bytesOf(tokenizer, token)
  return { token: textOf(bytes), logprob: finite(logprob), bytes: [...bytes] }
}

/** As completions have it: lists of equal length. */
export class CompletionLogprobs {
  readonly tokens: string[] = []
  readonly token_logprobs: number[] = []
  readonly top_logprobs: Record<string, number>[] = []
  readonly text_offset: number[] = []

  add(
    tokenizer: Tokenizer,
    token: number,
    { logprob, topLogprobs }: TokenReport,
    offset: number,
  ): void {
    const text = (id: number) => textOf(bytesOf(tokenizer, id))
    this.tokens.push(text(token))
    this.token_logprobs.push(finite(logprob))
    this.top_logprobs.push(
      Object.fromEntries(topLogprobs.map(({ token, logprob }) => [text(token), finite(logprob)])),
    )
    this.text_offset.push(offset)
  }
}

function bytesOf(tokenizer: Tokenizer, token: number): Uint8Array {
  const bytes = tokenizer.bytesOf(token)
  // A special token adds nothing to the text, but has a name.
  return bytes ?? new TextEncoder().encode(tokenizer.decode([token], { skipSpecialTokens: false }))
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    const hex = [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`)
    return `bytes:${hex.join('')}`
  }
}

const finite = (logprob: number) => Math.max(logprob, LEAST)

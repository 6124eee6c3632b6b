// Walks through grammars without a model: any token that a mask allows may come next.

import { Buffer } from 'node:buffer'
import type { GrammarEngine, Matcher } from '../../lib/grammar/grammar.js'
import type { ConstrainedFormat } from '../../lib/grammar/response-format.js'
import type { Tokenizer } from '../../lib/tokenizer/tokenizer.js'

/** The ids that a mask allows. */
export function allowedTokens(mask: Uint32Array): number[] {
  const tokens: number[] = []
  for (const [word, bits] of mask.entries()) {
    for (let left = bits; left !== 0; left &= left - 1) {
      tokens.push(word * 32 + 31 - Math.clz32(left & -left))
    }
  }
  return tokens
}

export interface Walk {
  text: string
  /** Whether the text may end where the walk did. */
  mayEnd: boolean
  isOver: boolean
}

export interface WalkOptions {
  engine: GrammarEngine
  tokenizer: Tokenizer
  format: ConstrainedFormat
  integer: (below: number) => number
  maxTokens: number
  /** Walks end where they may, one time in this many. */
  endOneIn?: number
}

const STOP = 0

/** A random walk; its text as the real detokenizer has it. */
export async function randomWalk(options: WalkOptions): Promise<Walk> {
  const { engine, format } = options
  const matcher = await engine.compile('test', format, { stopTokens: new Set([STOP]) })
  try {
    return await walkOn(matcher, options)
  } finally {
    matcher.dispose()
  }
}

async function walkOn(
  matcher: Matcher,
  { tokenizer, integer, maxTokens, endOneIn = 1 }: WalkOptions,
): Promise<Walk> {
  const tokens: number[] = []
  for (;;) {
    const { mask, isOver } = matcher.step
    const allowed = allowedTokens(mask)
    const mayEnd = allowed[0] === STOP
    const next = mayEnd ? allowed.slice(1) : allowed
    if (allowed.length === 0) throw new Error('nothing is allowed, not even an end')
    if (isOver !== (next.length === 0)) throw new Error('isOver is wrong')
    const isEnd = isOver || (mayEnd && integer(endOneIn) === 0) || tokens.length === maxTokens
    if (isEnd) return { text: tokenizer.decode(tokens, { keepLeadingSpace: true }), mayEnd, isOver }
    const token = closing(next, tokenizer, integer) ?? next[integer(next.length)]!
    tokens.push(token)
    await matcher.accept(token)
  }
}

/** Now and then a token that closes something: most tokens only make strings longer. */
function closing(
  next: readonly number[],
  tokenizer: Tokenizer,
  integer: (below: number) => number,
): number | undefined {
  if (integer(3) > 0) return undefined
  const ends = next.filter((token) =>
    /["\]},]/.test(Buffer.from(tokenizer.bytesOf(token)!).toString()),
  )
  return ends[integer(ends.length)]
}

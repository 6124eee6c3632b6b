// The script of the grammar thread: holds xgrammar, the vocabulary, compiled grammars and matchers.

import { answerRequests } from '../support/isolated-answers.js'
import { requireFrom, scriptOf } from '../support/location.js'
import { byteLevelText } from '../tokenizer/token-pieces.js'
import { type SharedVocabulary, tokensOf } from './vocabulary.js'
import {
  type CompiledGrammar,
  type GrammarCompiler,
  type GrammarMatcher,
  loadXgrammar,
} from './xgrammar.js'

/** What the thread is asked. Matchers have numbers that are never used again. */
export type GrammarRequest =
  | ({ kind: 'compile' } & CompileRequest)
  | { kind: 'accept'; matcher: number; token: number }
  | { kind: 'dispose'; matcher: number }

export interface CompileRequest {
  matcher: number
  /** As emit.ts writes it. */
  grammar: string
  vocabulary: SharedVocabulary
  /** 32-bit words of a mask. */
  words: number
  stopTokens: Int32Array
  /** What the matcher has accepted before. */
  accepted: Int32Array
}

/** Where a text stands; null: there is no such matcher, because the thread that had it was lost. */
export type GrammarAnswer = Step | null

export interface Step {
  /** Bit `token % 32` of word `token >> 5`: whether `token` may come next. */
  mask: Uint32Array
  /** The text is complete, and nothing but an end may follow. */
  isOver: boolean
}

/** What was asked cannot be; xgrammar is well. */
class Refusal extends Error {
  override readonly name = 'GrammarRefusal'
}

interface Held {
  matcher: GrammarMatcher
  words: number
  stopTokens: Int32Array
}

// Of WebAssembly, which V8's limits leave out.
const MAX_MEMORY_MIB = 384
const MAX_COMPILED = 16

const file = requireFrom(scriptOf('grammar/grammar-thread')!).resolve('@mlc-ai/web-xgrammar')
const xgrammar = loadXgrammar(file, MAX_MEMORY_MIB)

const matchers = new Map<number, Held>()
/** The least recently used first. */
const compiled = new Map<string, CompiledGrammar>()
let compiler: { of: GrammarCompiler; endToken: number } | undefined

/** One token more than the vocabulary has stands for the end of a text. */
async function compilerOf(vocabulary: SharedVocabulary) {
  if (compiler) return compiler
  const tokens = tokensOf(vocabulary).map(byteLevelText)
  const endToken = tokens.length
  tokens.push('')
  const { TokenizerInfo, GrammarCompiler } = xgrammar
  const info = await TokenizerInfo.createTokenizerInfo(tokens, 'byte_level', false, undefined, [
    endToken,
  ])
  // Its own cache knows no bounds.
  compiler = { of: await GrammarCompiler.createGrammarCompiler(info, false), endToken }
  return compiler
}

async function compiledGrammar(request: CompileRequest): Promise<CompiledGrammar> {
  const { grammar, vocabulary } = request
  const { of } = await compilerOf(vocabulary)
  const known = compiled.get(grammar) ?? (await of.compileGrammar(grammar))
  compiled.delete(grammar)
  compiled.set(grammar, known)
  if (compiled.size > MAX_COMPILED) {
    const [oldest, unused] = compiled.entries().next().value!
    compiled.delete(oldest)
    unused.dispose()
  }
  return known
}

async function compile(request: CompileRequest): Promise<Step> {
  const { words, stopTokens, accepted } = request
  const grammar = await compiledGrammar(request)
  const matcher = await xgrammar.GrammarMatcher.createGrammarMatcher(grammar)
  const held = { matcher, words, stopTokens }
  matchers.set(request.matcher, held)
  for (const token of accepted) take(matcher, token)
  return stepOf(held)
}

async function stepOf({ matcher, words, stopTokens }: Held): Promise<Step> {
  const endToken = compiler!.endToken
  const allowed = new Uint32Array((await matcher.getNextTokenBitmask()).buffer)
  const endBit = 1 << (endToken & 31)
  const mayEnd = (allowed[endToken >> 5]! & endBit) !== 0
  // Bits behind the last token may have any value.
  allowed[endToken >> 5]! &= endBit - 1
  const mask = new Uint32Array(words)
  mask.set(allowed.subarray(0, words))
  for (const token of stopTokens) mask[token >> 5]! &= ~(1 << (token & 31))
  const isOver = mask.every((word) => word === 0)
  if (mayEnd) for (const token of stopTokens) mask[token >> 5]! |= 1 << (token & 31)
  if (isOver && !mayEnd) throw new Refusal('no token of the vocabulary continues the text')
  return { mask, isOver }
}

function take(matcher: GrammarMatcher, token: number): void {
  if (!matcher.acceptToken(token)) throw new Refusal(`token ${token} may not come here`)
}

async function accept(matcher: number, token: number): Promise<GrammarAnswer> {
  const held = matchers.get(matcher)
  if (!held) return null
  take(held.matcher, token)
  return stepOf(held)
}

function dispose(matcher: number): null {
  matchers.get(matcher)?.matcher.dispose()
  matchers.delete(matcher)
  return null
}

function answer(request: GrammarRequest): Promise<GrammarAnswer> | GrammarAnswer {
  switch (request.kind) {
    case 'compile':
      return compile(request)
    case 'accept':
      return accept(request.matcher, request.token)
    case 'dispose':
      return dispose(request.matcher)
  }
}

/** Ends the thread: nobody knows in what state xgrammar is, which was built without exceptions, and aborts. */
function end(error: unknown): Promise<never> {
  setImmediate(() => {
    throw error
  })
  return new Promise(() => {})
}

answerRequests<GrammarRequest, GrammarAnswer>(async (request) => {
  try {
    return await answer(request)
  } catch (error) {
    if (error instanceof Refusal) throw error
    return end(error)
  }
})

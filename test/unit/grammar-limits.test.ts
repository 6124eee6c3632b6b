// Formats that would take for ever or all memory: they end, and others go on.

import { createRequire } from 'node:module'
import { afterAll, expect, it, onTestFinished, vi } from 'vitest'
import { emitGrammar } from '../../lib/grammar/emit.js'
import { GrammarEngine } from '../../lib/grammar/grammar.js'
import type { GrammarRequest } from '../../lib/grammar/grammar-thread.js'
import { parseRegex } from '../../lib/grammar/regex.js'
import type { ConstrainedFormat } from '../../lib/grammar/response-format.js'
import { sharedVocabulary, tokensOf } from '../../lib/grammar/vocabulary.js'
import { loadXgrammar } from '../../lib/grammar/xgrammar.js'
import { IsolatedThread } from '../../lib/support/isolated-thread.js'
import { byteLevelText } from '../../lib/tokenizer/token-pieces.js'
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js'
import { collectGarbage } from '../support/failing-runs.js'

const tokenizer = await Tokenizer.fromFolder('test/fixtures/tokenizer')
const options = { tokenizer, vocabulary: tokenizer.vocabSize }
const stopTokens = new Set([0])
const engine = new GrammarEngine(options)
const untroubled = new GrammarEngine(options)
afterAll(() => {
  engine.dispose()
  untroubled.dispose()
})

const JSON_FORMAT: ConstrainedFormat = { type: 'json' }
const letter = tokenizer.encode('a')[0]!

/** Each of `count` rules is two others, another with an "a", an "a", or nothing: the ways to read "aaa…" explode. */
function ambiguous(count: number): ConstrainedFormat {
  const name = (index: number) => `x${index % count}`
  const rules = Array.from(
    { length: count },
    (_, i) =>
      `${name(i)} ::= ${name(7 * i + 1)} ${name(3 * i + 5)} | ${name(11 * i + 3)} "a" | "a" | ""`,
  )
  return { type: 'grammar', grammar: ['root ::= x0', ...rules].join('\n') }
}

it('a token that takes too long is an error, and other matchers go on', async () => {
  const text = [...tokenizer.encode('{"key": ["value", 1.5]}')]
  const others = await Promise.all(
    [engine, engine, untroubled].map((on) => on.compile('test', JSON_FORMAT, { stopTokens })),
  )
  for (const token of text.slice(0, 6)) {
    for (const matcher of others) await matcher.accept(token)
  }
  const matcher = await engine.compile('test', ambiguous(60), { stopTokens, timeoutMs: 1500 })
  const endless = async () => {
    for (let count = 0; count < 200; count++) await matcher.accept(letter)
  }
  await expect(endless()).rejects.toThrow(
    '[test] responseFormat could not be followed (it took longer than 1500 ms): use a simpler one',
  )
  matcher.dispose()
  for (const token of text.slice(6)) {
    const [expected, ...steps] = await Promise.all(
      others.toReversed().map((other) => other.accept(token)),
    )
    for (const step of steps) expect(step).toEqual(expected)
  }
  for (const other of others) other.dispose()
})

it('a format that takes too long to compile is an error, and the thread works afterwards', async () => {
  const before = await engine.compile('test', JSON_FORMAT, { stopTokens })
  const pattern = '(?:a|aa|aaa|[^]{1,30}a|[^]{1,50}){1,9}b'
  const late = engine.compile('test', { type: 'regex', pattern }, { stopTokens, timeoutMs: 50 })
  await expect(late).rejects.toThrow('(it took longer than 50 ms): use a simpler one')
  const after = await engine.compile('test', JSON_FORMAT, { stopTokens })
  expect(after.step).toEqual(before.step)
  after.dispose()
  before.dispose()
})

it('says that there is no more memory, and how much there was', async () => {
  const most = 16
  const file = createRequire(import.meta.url).resolve('@mlc-ai/web-xgrammar')
  const { TokenizerInfo, GrammarCompiler } = loadXgrammar(file, most)
  const fill = async () => {
    const tokens = tokensOf(sharedVocabulary(tokenizer, tokenizer.vocabSize)).map(byteLevelText)
    const info = await TokenizerInfo.createTokenizerInfo(
      tokens,
      'byte_level',
      false,
      undefined,
      [0],
    )
    const compiler = await GrammarCompiler.createGrammarCompiler(info, false)
    for (let count = 0; count < 500; count++) {
      const root = parseRegex(`[^x]{1,250}${count}`)
      await compiler.compileGrammar(emitGrammar({ root, rules: new Map() }))
    }
  }
  await expect(fill()).rejects.toThrow(`it needed more than ${most} MiB`)
})

it('frees matchers that nobody holds', async () => {
  const freed: number[] = []
  const { ask } = IsolatedThread.prototype
  const spy = vi.spyOn(IsolatedThread.prototype, 'ask').mockImplementation(function (
    this: IsolatedThread<unknown, unknown>,
    request,
    timeoutMs,
  ) {
    const { kind, matcher } = request as GrammarRequest
    if (kind === 'dispose') freed.push(matcher)
    return ask.call(this, request, timeoutMs)
  })
  onTestFinished(() => spy.mockRestore())
  const held = await engine.compile('test', JSON_FORMAT, { stopTokens })
  // A function of its own: nothing of it is left on the stack.
  const forgetOne = async () => {
    const matcher = await engine.compile('test', JSON_FORMAT, { stopTokens })
    await matcher.accept(tokenizer.encode('{')[0]!)
  }
  for (let count = 0; count < 5; count++) await forgetOne()
  await vi.waitFor(
    async () => {
      await collectGarbage()
      expect(new Set(freed).size).toBe(5)
    },
    { timeout: 10_000 },
  )
  await held.accept(tokenizer.encode('{')[0]!)
  held.dispose()
  expect(freed).toHaveLength(6)
})

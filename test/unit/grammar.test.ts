import { Ajv2020 } from 'ajv/dist/2020.js'
import formatsOf from 'ajv-formats'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { GrammarEngine } from '../../lib/grammar/grammar.js'
import type { ConstrainedFormat } from '../../lib/grammar/response-format.js'
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js'
import { randomSchema } from '../support/random-schema.js'
import { allowedTokens, randomWalk, type Walk } from './grammar-walk.js'
import { seededIntegers } from './random.js'
import { llamaDecoder, sentencePieceDefinition } from './sentence-piece.js'

const tokenizer = await Tokenizer.fromFolder('test/fixtures/tokenizer')
// As a model pads it.
const VOCABULARY = tokenizer.vocabSize + 43
const STOP = 0
const stopTokens = new Set([STOP])
const engine = new GrammarEngine({ tokenizer, vocabulary: VOCABULARY })
afterAll(() => engine.dispose())

const addFormats = formatsOf as unknown as (ajv: Ajv2020) => void

function validatorOf(schema: object | boolean) {
  const ajv = new Ajv2020({ strict: false })
  addFormats(ajv)
  return ajv.compile(schema)
}

function walk(
  format: ConstrainedFormat,
  integer = seededIntegers(1),
  maxTokens = 45,
  endOneIn = 3,
) {
  return randomWalk({ engine, tokenizer, format, integer, maxTokens, endOneIn })
}

/** The walks of several seeds that came to where the text may end. */
async function ended(format: ConstrainedFormat, count: number): Promise<Walk[]> {
  const walks: Walk[] = []
  for (let seed = 0; seed < count; seed++) walks.push(await walk(format, seededIntegers(seed)))
  return walks.filter(({ mayEnd }) => mayEnd)
}

/** Whether a format allows a text, token by token, and its end. */
async function allows(format: ConstrainedFormat, text: string): Promise<boolean> {
  const matcher = await engine.compile('test', format, { stopTokens })
  try {
    for (const token of tokenizer.encode(text)) {
      if (!allowedTokens(matcher.step.mask).includes(token)) return false
      await matcher.accept(token)
    }
    return allowedTokens(matcher.step.mask).includes(STOP)
  } finally {
    matcher.dispose()
  }
}

describe('grammars of schemas', () => {
  it('lead to what is valid, whatever the schema and the tokens', async () => {
    const integer = seededIntegers(2)
    let complete = 0
    for (let count = 0; count < 250; count++) {
      const schema = randomSchema(integer)
      const strict = integer(2) === 0
      let result: Walk
      try {
        result = await walk({ type: 'json_schema', schema, strict }, integer)
      } catch (error) {
        // Some of these schemas ask for what cannot be.
        expect(String(error)).toContain('can never be met')
        continue
      }
      if (!result.mayEnd) continue
      complete += 1
      const value: unknown = JSON.parse(result.text)
      const validate = validatorOf(schema)
      expect(validate(value), `${JSON.stringify(schema)} ${result.text}`).toBe(true)
    }
    expect(complete).toBeGreaterThan(120)
  })

  it('keep to bounds of numbers to the last digit', async () => {
    const format = (schema: object): ConstrainedFormat => ({ type: 'json_schema', schema })
    const decimals = format({ type: 'number', exclusiveMinimum: -1.05, maximum: 12.5 })
    for (const text of ['-1.049', '-1', '-0.5', '0', '0.0', '9', '12.4999', '12.5', '12.50']) {
      expect(await allows(decimals, text), text).toBe(true)
    }
    for (const text of [
      '-1.05',
      '-1.050',
      '-1.1',
      '-2',
      '12.51',
      '12.500001',
      '13',
      '100',
      '1.',
      '01',
    ]) {
      expect(await allows(decimals, text), text).toBe(false)
    }
    const integers = format({ type: 'integer', minimum: -15, maximum: 1203 })
    for (let value = -40; value < 1300; value += 7) {
      expect(await allows(integers, String(value)), String(value)).toBe(
        value >= -15 && value <= 1203,
      )
    }
  })

  it('count characters as JSON Schema does, escaped ones too', async () => {
    const schema = { type: 'string', minLength: 2, maxLength: 3 }
    const format: ConstrainedFormat = { type: 'json_schema', schema }
    for (const text of ['"ab"', '"é😀"', '"\\n\\u00e9x"', '"\\ud83d\\ude00a"']) {
      expect(await allows(format, text), text).toBe(true)
    }
    for (const text of ['"a"', '"😀"', '"\\ud83d\\ude00"', '"abcd"', '"a\tb"', '"\\ud83da"']) {
      expect(await allows(format, text), text).toBe(false)
    }
  })

  it('give no property twice', async () => {
    const schema = {
      type: 'object',
      properties: { a: { type: 'integer' }, ab: { type: 'integer' } },
      additionalProperties: { type: 'null' },
    }
    const format: ConstrainedFormat = { type: 'json_schema', schema }
    for (const text of ['{"a": 1, "ab": 2, "b": null}', '{"abc": null}', '{"": null}', '{}']) {
      expect(await allows(format, text), text).toBe(true)
    }
    for (const text of ['{"a": 1, "a": null}', '{"b": null, "ab": null}', '{"\\u0061": null}']) {
      expect(await allows(format, text), text).toBe(false)
    }
  })

  it('close objects unless strict is false', async () => {
    const schema = { type: 'object', properties: { a: { type: 'integer' } } }
    const text = '{"a": 1, "b": 2}'
    expect(await allows({ type: 'json_schema', schema }, text)).toBe(false)
    expect(await allows({ type: 'json_schema', schema, strict: false }, text)).toBe(true)
  })

  it('leave out what no finite text is valid under', async () => {
    const schema = {
      type: 'object',
      properties: {
        end: { $ref: '#' },
        a: { type: 'object', properties: { b: { $ref: '#/properties/a' } }, required: ['b'] },
      },
    }
    const walks = await ended({ type: 'json_schema', schema }, 20)
    expect(walks.length).toBeGreaterThan(0)
    for (const { text } of walks) expect(text).not.toContain('"a"')
  })
})

describe('the JSON format', () => {
  it('gives objects, with any Unicode, and no white space that could go on', async () => {
    for (const { text } of await ended({ type: 'json' }, 40)) {
      const value = JSON.parse(text) as unknown
      expect(Object.prototype.toString.call(value)).toBe('[object Object]')
      const outsideStrings = text.replaceAll(/"(?:[^"\\]|\\.)*"/gu, '')
      expect(outsideStrings).not.toMatch(/\s\s|[\n\t]/)
    }
    const odd =
      '{"\\u0000\\ud83d\\ude00": "\u007f\u2028\ufeff\u{10ffff}é😀\\/", "": [{}, [], -0.5e-10]}'
    expect(await allows({ type: 'json' }, odd)).toBe(true)
    for (const text of [
      '[]',
      '{"a":1}',
      '{"a": 1 }',
      '{"a": "\n"}',
      '{"\\ud800": 1}',
      '{"a": 01}',
    ]) {
      expect(await allows({ type: 'json' }, text), text).toBe(false)
    }
  })

  it('allows no bytes that are not UTF-8', async () => {
    // Half of the walk's tokens are single bytes.
    const format: ConstrainedFormat = { type: 'regex', pattern: '[^a-z]{20}' }
    const walks = await ended(format, 60)
    expect(walks.length).toBe(60)
    for (const { text } of walks) {
      expect(text).not.toContain('\ufffd')
      expect(text).toMatch(/^[^a-z]{20}$/su)
    }
  })
})

describe('regular expressions', () => {
  const PATTERNS = [
    ...[
      'a|bc|',
      'a*b+?c{2}',
      '(?:x|y(z)?){1,3}',
      '[^]{2}',
      '.[\\n].',
      '\\x41\\u00e9\\u{1F600}\\cJ',
    ],
    ...[
      '[\\w-]{1,3}@\\d{2,}',
      '(a*)*b',
      '(|a)+',
      '^(?<n>x)$',
      '[\\]\\\\^-]{3}',
      '\\.\\*\\/',
      '\\ud83d\\ude00',
    ],
    ...['[\\S\\s]{3}', '[^\\W\\d]', '\\s\\D', '[\\b]', '[😀-😃é]', '\\0\\t\\v\\f\\r'],
  ]

  it('match the whole text, as JavaScript has it', async () => {
    for (const pattern of PATTERNS) {
      const walks = await ended({ type: 'regex', pattern }, 8)
      expect(walks.length, pattern).toBeGreaterThan(0)
      for (const { text } of walks)
        expect(text, pattern).toMatch(new RegExp(`^(?:${pattern})$`, 'u'))
    }
  })

  it('allow whatever matches', async () => {
    for (const [pattern, text, other] of [
      ['a*b+?c{2}', 'aabbcc', 'aabbc'],
      ['[^x-z]+', 'é😀\u0000\n', 'éx'],
      ['(\\w+\\s?)+', 'so it goes', 'so  it'],
      ['[à-ÿ\\u0400-\\u{10FFFF}]+', 'éщ😀\u{10ffff}', 'éa'],
      ['.', 'a', '\u2028'],
    ] as const) {
      expect(await allows({ type: 'regex', pattern }, text), pattern).toBe(true)
      expect(await allows({ type: 'regex', pattern }, other), pattern).toBe(false)
    }
  })
})

describe('grammars in GBNF', () => {
  it('are followed, with rules that call themselves on either side', async () => {
    const grammar = `
      # arithmetic
      root ::= sum "\\n"   # ends a line
      sum ::= sum ("+" | "-") item | item
      item ::= [0-9]{1,2} | "(" sum ")" | wörd
      w-1 ::= "unused"
    `.replace('wörd', 'word\n word ::= [^\\x00-\\x7F] "\\u00e9"')
    const format: ConstrainedFormat = { type: 'grammar', grammar }
    for (const text of ['1\n', '(1+22)-3\n', '((щé))\n'])
      expect(await allows(format, text)).toBe(true)
    for (const text of ['1', '1+\n', '(1\n', '123\n', 'éx\n'])
      expect(await allows(format, text)).toBe(false)
  })

  it('end where nothing may follow', async () => {
    const format: ConstrainedFormat = { type: 'grammar', grammar: 'root ::= "yes" | "no" "!"?' }
    const matcher = await engine.compile('test', format, { stopTokens: new Set() })
    expect(matcher.step.isOver).toBe(false)
    for (const token of tokenizer.encode('yes')) await matcher.accept(token)
    expect(matcher.step.isOver).toBe(true)
    expect(allowedTokens(matcher.step.mask)).toEqual([])
    matcher.dispose()
  })
})

describe('masks', () => {
  it('have the stop tokens where the text may end, and nowhere else', async () => {
    const letter = tokenizer.encode('a')[0]!
    const stops = new Set([STOP, letter, VOCABULARY - 1])
    const matcher = await engine.compile(
      'test',
      { type: 'regex', pattern: 'a?b[a-c]?' },
      { stopTokens: stops },
    )
    const letters = (text: string) => [...text].map((one) => tokenizer.encode(one)[0]!)
    expect(allowedTokens(matcher.step.mask)).toEqual(letters('b'))
    const { mask, isOver } = await matcher.accept(letters('b')[0]!)
    expect(isOver).toBe(false)
    expect(new Set(allowedTokens(mask))).toEqual(new Set([...stops, ...letters('bc')]))
    expect(mask.length).toBe(Math.ceil(VOCABULARY / 32))
    matcher.dispose()
  })

  it('have no special tokens, and none that the tokenizer lacks', async () => {
    const matcher = await engine.compile(
      'test',
      { type: 'regex', pattern: '[^]*' },
      { stopTokens: new Set() },
    )
    const allowed = allowedTokens(matcher.step.mask)
    expect(allowed.length).toBeGreaterThan(300)
    for (const token of allowed) {
      expect(tokenizer.decode([token], { keepLeadingSpace: true }), String(token)).not.toBe('')
    }
    matcher.dispose()
  })

  it('are of the text that the detokenizer gives, whatever the tokenizer', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'grammar-'))
    try {
      for (const decoder of [llamaDecoder, { type: 'Metaspace', replacement: '\u2581' }]) {
        const file = join(folder, 'tokenizer.json')
        await writeFile(file, JSON.stringify(sentencePieceDefinition(decoder)))
        const other = await Tokenizer.fromFile(file)
        const own = new GrammarEngine({ tokenizer: other, vocabulary: other.vocabSize })
        for (let seed = 0; seed < 20; seed++) {
          const { text } = await randomWalk({
            engine: own,
            tokenizer: other,
            format: { type: 'regex', pattern: '( {1,3}[a-z]*|é?日?本?|<|>|0x|A)*' },
            integer: seededIntegers(seed),
            maxTokens: 30,
            endOneIn: 10,
          })
          expect(text).toMatch(/^(?: {1,3}[a-z]*|é?日?本?|<|>|0x|A)*$/u)
        }
        own.dispose()
      }
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('are as large as a vocabulary that is smaller than the tokenizer', async () => {
    const small = new GrammarEngine({ tokenizer, vocabulary: 200 })
    const matcher = await small.compile('test', { type: 'json' }, { stopTokens })
    expect(matcher.step.mask.length).toBe(7)
    expect(Math.max(...allowedTokens(matcher.step.mask))).toBeLessThan(200)
    small.dispose()
  })
})

describe('GrammarEngine', () => {
  it('follows several texts at once', async () => {
    const texts = ['{"a": [1, 2]}', '{"b": {"c": "d"}}']
    const matchers = await Promise.all(
      texts.map(() => engine.compile('test', { type: 'json' }, { stopTokens })),
    )
    const tokens = texts.map((text) => [...tokenizer.encode(text)])
    for (let at = 0; at < Math.max(...tokens.map(({ length }) => length)); at++) {
      await Promise.all(
        matchers.map(
          (matcher, index) =>
            tokens[index]![at] !== undefined && matcher.accept(tokens[index]![at]!),
        ),
      )
    }
    for (const matcher of matchers) {
      expect(matcher.step.isOver).toBe(true)
      matcher.dispose()
      matcher.dispose()
    }
  })

  it('refuses a token that may not come', async () => {
    const matcher = await engine.compile('test', { type: 'json' }, { stopTokens })
    await expect(matcher.accept(tokenizer.encode('x')[0]!)).rejects.toThrow(
      /^\[test\] responseFormat: token \d+ may not/,
    )
    await expect(matcher.accept(VOCABULARY + 5)).rejects.toThrow('may not come here')
    expect((await matcher.accept(tokenizer.encode('{')[0]!)).isOver).toBe(false)
    matcher.dispose()
  })

  it('goes on when another format ended the thread', async () => {
    const format: ConstrainedFormat = { type: 'json' }
    const tokens = [...tokenizer.encode('{"key": ["value", 1.5]}')]
    const matcher = await engine.compile('test', format, { stopTokens })
    const untouched = await engine.compile('test', format, { stopTokens })
    for (const [index, token] of tokens.entries()) {
      const expected = await untouched.accept(token)
      if (index === 5) {
        // Compiled by nobody before, in less time than anything takes.
        const late = engine.compile(
          'test',
          { type: 'regex', pattern: '(.{1,25}x){1,9}' },
          { stopTokens, timeoutMs: 1 },
        )
        await expect(late).rejects.toThrow(
          /^\[test\] responseFormat could not be followed \(it took longer than 1 ms\)/,
        )
      }
      expect(await matcher.accept(token)).toEqual(expected)
    }
    matcher.dispose()
    untouched.dispose()
  })

  it('says when the vocabulary cannot spell what the format asks for', async () => {
    const bytesOf = (token: number) => (token === 1 ? Uint8Array.of(0x61) : undefined)
    const poor = new GrammarEngine({ tokenizer: { vocabSize: 2, bytesOf }, vocabulary: 2 })
    const matcher = await poor.compile('test', { type: 'regex', pattern: 'ab' }, { stopTokens })
    await expect(matcher.accept(1)).rejects.toThrow(
      '[test] responseFormat: no token of the vocabulary continues',
    )
    await expect(poor.compile('test', { type: 'json' }, { stopTokens })).rejects.toThrow('no token')
    poor.dispose()
  })

  it('rejects when its signal aborts, and when it is disposed of', async () => {
    const own = new GrammarEngine({ tokenizer, vocabulary: VOCABULARY })
    const reason = new Error('enough')
    const compile = (signal: AbortSignal) =>
      own.compile('test', { type: 'json' }, { stopTokens, signal })
    await expect(compile(AbortSignal.abort(reason))).rejects.toBe(reason)
    const controller = new AbortController()
    const started = compile(controller.signal)
    controller.abort(reason)
    await expect(started).rejects.toBe(reason)
    const matcher = await own.compile('test', { type: 'json' }, { stopTokens })
    own.dispose()
    await expect(matcher.accept(1)).rejects.toThrow('the thread has ended')
  })
})

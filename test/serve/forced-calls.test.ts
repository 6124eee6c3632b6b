// What a model can write where it has to call a tool: any token that is allowed may come.

import { Ajv2020 } from 'ajv/dist/2020.js'
import formatsOf from 'ajv-formats'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { GrammarEngine } from '../../lib/grammar/grammar.js'
import { CallSplitter } from '../../lib/serve/tools/call-splitter.js'
import type { CallFormat, OfferedTool } from '../../lib/serve/tools/calls.js'
import { type BeforeCalls, forcedCalls } from '../../lib/serve/tools/forced-calls.js'
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js'
import { CALL_FORMATS, type Form } from '../support/call-forms.js'
import { FIXTURES } from '../support/checkpoints.js'
import { randomSchema } from '../support/random-schema.js'
import { allowedTokens } from '../unit/grammar-walk.js'
import { seededIntegers } from '../unit/random.js'

type Integers = (below: number) => number

const FORMS = Object.keys(CALL_FORMATS) as Form[]

const THINK = { open: '<think>', close: '</think>' }

/** How a tokenizer has the tags: ordinary tokens spell them, or each is a special token. */
const [plain, tagged] = await Promise.all([
  Tokenizer.fromFolder(join(FIXTURES, 'tokenizer')),
  withTags(Object.values(CALL_FORMATS)),
])
const engines = [plain, tagged].map(
  (tokenizer) => new GrammarEngine({ tokenizer, vocabulary: tokenizer.vocabSize }),
)
afterAll(() => {
  for (const engine of engines) engine.dispose()
})

async function withTags(formats: readonly CallFormat[]): Promise<Tokenizer> {
  const folder = await mkdtemp(join(tmpdir(), 'ssm-metal-'))
  await cp(join(FIXTURES, 'tokenizer'), folder, { recursive: true })
  const file = join(folder, 'tokenizer.json')
  const json = JSON.parse(await readFile(file, 'utf8'))
  const contents = new Set([...formats, THINK].flatMap(({ open, close }) => [open, close]))
  const first = (await Tokenizer.fromFolder(folder)).vocabSize
  for (const [i, content] of [...contents].entries()) {
    json.added_tokens.push({ ...json.added_tokens[0], id: first + i, content, special: true })
  }
  await writeFile(file, JSON.stringify(json))
  const tokenizer = await Tokenizer.fromFolder(folder)
  await rm(folder, { recursive: true })
  return tokenizer
}

/** Mostly any token; now and then those that end something. */
const ENDS = ['"', "'", '}', ']', ')', ', ', '\n</parameter>', '</think>', '</tool_call>']

/** A random text of a grammar, special tokens by their names; undefined where it has not ended. */
async function written(
  grammar: string,
  tokenizer: Tokenizer,
  integer: Integers,
): Promise<string | undefined> {
  const engine = engines[tokenizer === plain ? 0 : 1]!
  const matcher = await engine.compile('test', grammar, { stopTokens: new Set([0]) })
  const tokens: number[] = []
  const accept = async (token: number) => {
    tokens.push(token)
    await matcher.accept(token)
  }
  try {
    while (tokens.length < 250) {
      const { mask, isOver } = matcher.step
      const allowed = allowedTokens(mask)
      if (isOver || (allowed[0] === 0 && integer(2) === 0)) {
        return tokenizer.decode(tokens, { keepLeadingSpace: true, skipSpecialTokens: false })
      }
      if (integer(3) === 0) {
        for (const token of tokenizer.encode(ENDS[integer(ENDS.length)]!)) {
          if (token === 0 || !allowedTokens(matcher.step.mask).includes(token)) break
          await accept(token)
        }
      } else {
        const tokens = allowed[0] === 0 ? allowed.slice(1) : allowed
        await accept(tokens[integer(tokens.length)]!)
      }
    }
    return undefined
  } finally {
    matcher.dispose()
  }
}

interface Asked {
  tools: readonly OfferedTool[]
  tokenizer?: Tokenizer
  isParallel?: boolean
  before?: BeforeCalls
}

function grammarOf(form: Form, { tools, tokenizer = plain, isParallel = false, before }: Asked) {
  const specialTokenId = (text: string) => tokenizer.specialTokenId(text)
  return forcedCalls({ format: CALL_FORMATS[form], tools, isParallel, specialTokenId }, before)
}

/** The calls of some random texts, of which nothing else is there. */
async function callsOf(form: Form, asked: Asked, count: number) {
  const grammar = grammarOf(form, asked)
  const all = []
  for (let seed = 0; seed < count; seed++) {
    const text = await written(grammar, asked.tokenizer ?? plain, seededIntegers(seed))
    if (text === undefined) continue
    const splitter = new CallSplitter(CALL_FORMATS[form], asked.tools)
    const parts = [splitter.push(text), splitter.flush()]
    expect(parts.map((part) => part.text).join(''), text).toBe('')
    all.push(parts.flatMap(({ calls }) => calls))
  }
  return all
}

function isValid(schema: object, value: unknown): boolean {
  const ajv = new Ajv2020({ strict: false })
  ;(formatsOf as unknown as (ajv: Ajv2020) => void)(ajv)
  return ajv.validate(schema, value)
}

const tools = [
  {
    name: 'mail',
    parameters: {
      type: 'object',
      properties: {
        text: { type: 'string' },
        to: { type: 'string', maxLength: 4 },
        at: { type: 'string', format: 'date' },
        kind: { enum: ['a', 'b "c"', '1'] },
        reply: { anyOf: [{ type: 'string', enum: ['yes'] }, { type: 'null' }] },
        urgent: { type: 'boolean' },
        parts: { type: 'array', items: { $ref: '#/$defs/part' }, maxItems: 2 },
      },
      required: ['to', 'kind', 'urgent'],
      $defs: { part: { type: 'object', properties: { n: { type: 'integer' } } } },
    },
  },
  { name: 'clock' },
]

describe.each(FORMS)('a forced call in %s', (form) => {
  it.each([
    ['spelt', plain],
    ['special tokens', tagged],
  ] as const)('keeps to the schema of its tool, with tags that are %s', async (_, tokenizer) => {
    const all = await callsOf(form, { tools, tokenizer }, 20)
    expect(all.length).toBeGreaterThan(7)
    for (const calls of all) {
      expect(calls).toHaveLength(1)
      const [{ name, arguments: given }] = calls as [(typeof calls)[0]]
      const tool = tools.find((one) => one.name === name)!
      const schema = tool.parameters ?? { type: 'object', maxProperties: 0 }
      expect(isValid(schema, given), JSON.stringify(given)).toBe(true)
    }
    expect(new Set(all.map(([call]) => call!.name))).toEqual(new Set(['mail', 'clock']))
  })

  it('may be several', async () => {
    const all = await callsOf(form, { tools: tools.slice(1), isParallel: true }, 30)
    const counts = all.map(({ length }) => length)
    expect(Math.min(...counts)).toBe(1)
    expect(Math.max(...counts)).toBeGreaterThan(1)
  })

  it('keeps to any schema that is not refused', async () => {
    const integer = seededIntegers(5)
    let complete = 0
    for (let count = 0; count < 40; count++) {
      const schema = randomSchema(integer, 2)
      const { $defs, ...value } = typeof schema === 'object' ? schema : { not: {} }
      const properties = { x: value, last: { type: 'boolean' } }
      const parameters = { type: 'object', properties, required: ['x'], $defs }
      let grammar: string
      try {
        grammar = grammarOf(form, { tools: [{ name: 'f', parameters }] })
      } catch (error) {
        expect(error).toMatchObject({ status: 400 })
        continue
      }
      const text = await written(grammar, plain, integer)
      if (text === undefined) continue
      const splitter = new CallSplitter(CALL_FORMATS[form], [{ name: 'f', parameters }])
      const calls = [splitter.push(text), splitter.flush()].flatMap((part) => part.calls)
      expect(calls, text).toHaveLength(1)
      expect(
        isValid(parameters, calls[0]!.arguments),
        `${JSON.stringify(parameters)} ${text}`,
      ).toBe(true)
      complete += 1
    }
    expect(complete).toBeGreaterThan(12)
  })

  it('may be one of as many tools as a request may have', async () => {
    const properties = Object.fromEntries(
      Array.from({ length: 8 }, (_, i) => [`p${i}`, { type: 'integer', minimum: 1 }]),
    )
    const many = Array.from({ length: 128 }, (_, i) => ({
      name: `tool_${i}`,
      parameters: { type: 'object', properties: { ...properties, [`own${i}`]: { enum: [i] } } },
    }))
    grammarOf(form, { tools: many, isParallel: true })
  })

  it.each([
    ['"not"', { properties: { a: { not: {} } } }],
    ['"uniqueItems"', { properties: { a: { type: 'array', uniqueItems: true } } }],
    ['"$ref"', { properties: { a: { $ref: '#/$defs/none' } } }],
  ])('names what it cannot keep to: %s', (part, parameters) => {
    const asked = { tools: [{ name: 'f', parameters: { type: 'object', ...parameters } }] }
    expect(() => grammarOf(form, asked)).toThrow(part)
    expect(() => grammarOf(form, asked)).toThrow('"f"')
  })

  it.each([
    ['spelt', plain],
    ['special tokens', tagged],
  ] as const)('follows thoughts, whose tags are %s', async (kind, tokenizer) => {
    const tags = {
      ...THINK,
      openId: tokenizer.specialTokenId(THINK.open),
      closeId: tokenizer.specialTokenId(THINK.close),
    }
    const textsOf = async (isOpened: boolean, isClosed: boolean) => {
      const before = { tags, isOpened, isClosed }
      const grammar = grammarOf(form, { tools: tools.slice(1), tokenizer, before })
      const texts: string[] = []
      for (let seed = 0; seed < 12; seed++) {
        const text = await written(grammar, tokenizer, seededIntegers(seed))
        if (text !== undefined) texts.push(text)
      }
      return texts
    }
    const [{ open }, newlines] = [CALL_FORMATS[form], /^\n{0,2}/]
    const free = await textsOf(false, false)
    const thinking = free.filter((text) => text.startsWith('<think>'))
    expect(thinking.length, kind).toBeGreaterThan(1)
    for (const text of thinking) {
      const rest = text.slice(text.indexOf('</think>') + '</think>'.length)
      expect(rest.replace(newlines, '').startsWith(open), text).toBe(true)
    }
    expect(free.some((text) => text.startsWith(open))).toBe(true)
    // Thoughts in the prompt's block are no part of the grammar.
    for (const text of await textsOf(true, false)) {
      expect(text.replace(newlines, '').startsWith(open)).toBe(true)
    }
    for (const text of await textsOf(false, true)) expect(text.startsWith(open)).toBe(true)
  })
})

describe('special tokens', () => {
  const allowedAtFirst = async (format: Parameters<GrammarEngine['compile']>[1]) => {
    const matcher = await engines[1]!.compile('test', format, { stopTokens: new Set([0]) })
    const allowed = allowedTokens(matcher.step.mask)
    matcher.dispose()
    return allowed
  }

  it.each(FORMS)('begin a call in %s, and nothing that spells them does', async (form) => {
    const grammar = grammarOf(form, { tools, tokenizer: tagged })
    expect(await allowedAtFirst(grammar)).toEqual([tagged.specialTokenId(CALL_FORMATS[form].open)])
  })

  it('stand in no text', async () => {
    const allowed = await allowedAtFirst({ type: 'regex', pattern: '[^]*' })
    expect(allowed.length).toBeGreaterThan(100)
    for (const { open, close } of [...Object.values(CALL_FORMATS), THINK]) {
      expect(allowed).not.toContain(tagged.specialTokenId(open))
      expect(allowed).not.toContain(tagged.specialTokenId(close))
    }
  })
})

describe('a call whose values are texts', () => {
  it('cannot tell strings from other values with conditions', () => {
    const property = { anyOf: [{ type: 'string' }, { type: 'object' }] }
    const parameters = { type: 'object', properties: { a: property } }
    const asked = { tools: [{ name: 'f', parameters }] }
    expect(() => grammarOf('XML', asked)).toThrow('strings beside')
    for (const form of ['JSON', 'Python'] as const) grammarOf(form, asked)
  })

  it('is of a schema of many references, at once', () => {
    const names = Array.from({ length: 30 }, (_, i) => `d${i}`)
    const referenceTo = (name: string) => ({ $ref: `#/$defs/${name}` })
    const defs = names.map((name, i) => {
      const next = names[i + 1]
      return [name, { anyOf: next ? Array(20).fill(referenceTo(next)) : [{ type: 'string' }] }]
    })
    const properties = { a: referenceTo('d0') }
    const parameters = { type: 'object', properties, $defs: Object.fromEntries(defs) }
    for (const form of FORMS) grammarOf(form, { tools: [{ name: 'f', parameters }] })
  })

  it('cannot write any name', () => {
    const parameters = { type: 'object', properties: { 'a b': {} } }
    const asked = { tools: [{ name: 'f', parameters }] }
    for (const form of ['XML', 'Python'] as const) {
      expect(() => grammarOf(form, asked)).toThrow('"a b"')
    }
  })
})

// Calls in the text of a model: found in each form, however the text arrives.

import { describe, expect, it } from 'vitest'
import { CallSplitter, type SplitCalls } from '../../lib/serve/tools/call-splitter.js'
import { type CallFormat, writtenCalls } from '../../lib/serve/tools/calls.js'
import { parsePythonCalls } from '../../lib/serve/tools/python-calls.js'
import { parseXmlCalls } from '../../lib/serve/tools/xml-calls.js'
import { CALL_FORMATS, type Form } from '../support/call-forms.js'
import { seededIntegers } from '../unit/random.js'

const clock = { name: 'clock' }
const note = {
  name: 'note',
  parameters: {
    type: 'object',
    properties: {
      text: { type: 'string' },
      days: { type: 'integer' },
      more: { $ref: '#/$defs/more' },
    },
    $defs: { more: { type: 'object' } },
  },
}
const tools = [clock, note]

/** The text and the calls of pieces. */
function splitOf(format: CallFormat, pieces: readonly string[]): SplitCalls {
  const splitter = new CallSplitter(format, tools)
  const all: SplitCalls = { text: '', calls: [] }
  for (const part of [...pieces.map((piece) => splitter.push(piece)), splitter.flush()]) {
    all.text += part.text
    all.calls.push(...part.calls)
  }
  return all
}

/** The same for each place where a text may be cut, and for some with many. */
function splitAnywhere(format: CallFormat, text: string): SplitCalls {
  const whole = splitOf(format, [text])
  for (let i = 0; i <= text.length; i++) {
    expect(splitOf(format, [text.slice(0, i), text.slice(i)]), `cut at ${i}`).toEqual(whole)
  }
  expect(splitOf(format, [...text])).toEqual(whole)
  for (let seed = 0; seed < 20; seed++) {
    const integer = seededIntegers(seed)
    const pieces: string[] = []
    for (let i = 0; i < text.length; ) {
      const length = 1 + integer(12)
      pieces.push(text.slice(i, i + length))
      i += length
    }
    expect(splitOf(format, pieces), `seed ${seed}`).toEqual(whole)
  }
  return whole
}

const CALLS = [
  { name: 'clock', arguments: {} },
  {
    name: 'note',
    arguments: { text: 'a "b" \'c\' \\ é😀', days: -3, more: { a: [1, { b: null }], c: true } },
  },
  {
    name: 'note',
    arguments: { text: 'two\nlines </tool_call> <tool_call> </TOOLCALL> <|tool_call_end|>' },
  },
]

describe.each(Object.keys(CALL_FORMATS) as Form[])('calls in %s', (form) => {
  const format = CALL_FORMATS[form]
  const { open, close } = format

  it('are found, several and with a text before', () => {
    const text = `I look.\n\n${writtenCalls(format, CALLS)}\n`
    expect(splitAnywhere(format, text)).toEqual({ text: 'I look.', calls: CALLS })
  })

  it('are found without their last tag, which a stop token may be', () => {
    for (const calls of [CALLS.slice(0, 2), CALLS.slice(1)]) {
      const text = writtenCalls(format, calls).slice(0, -close.length)
      expect(splitAnywhere(format, text)).toEqual({ text: '', calls })
    }
  })

  it('leave the text around them', () => {
    const text = `One ${writtenCalls(format, CALLS.slice(0, 1))} two ${open.slice(0, 3)}`
    expect(splitAnywhere(format, text)).toEqual({
      text: `One two ${open.slice(0, 3)}`,
      calls: CALLS.slice(0, 1),
    })
  })

  it.each([
    ['no call', `so or so`],
    ['nothing', ''],
    ['a call that was cut', writtenCalls(format, CALLS.slice(1, 2)).slice(open.length, 30)],
    ['a quote that is never closed', '{"name": "clock", "arguments": {"'],
  ])('are text, to the letter, where there is %s', (_, block) => {
    const text = `Write \n${open}${block}${close} for a call. \n`
    expect(splitAnywhere(format, text)).toEqual({ text, calls: [] })
    const cut = `Write ${open}${block}`
    expect(splitAnywhere(format, cut)).toEqual({ text: cut, calls: [] })
  })

  it('are found behind one that is none', () => {
    const good = writtenCalls(format, CALLS.slice(0, 1))
    for (const block of ['so or so', '{"name": "clock", "arg', "note(text='"]) {
      const bad = `${open}${block}${close}`
      expect(splitAnywhere(format, `${bad}\n${good}`)).toEqual({
        text: bad,
        calls: CALLS.slice(0, 1),
      })
    }
  })

  it('keep text as it is that has none', () => {
    for (const text of ['', ' ', 'Hello \n', `a < b ${open.slice(0, -1)}`, '\n\nx']) {
      expect(splitAnywhere(format, text)).toEqual({ text, calls: [] })
    }
  })
})

describe('calls in Python', () => {
  it('have values of all kinds', () => {
    const text = `[a.b-c(x='it\\'s', y=[1, -2.5, {"k": None}], z=True), c()]`
    expect(parsePythonCalls(text)).toEqual([
      { name: 'a.b-c', arguments: { x: "it's", y: [1, -2.5, { k: null }], z: true } },
      { name: 'c', arguments: {} },
    ])
  })

  it('may have quotes in quotes, as LFM2.5 writes them', () => {
    expect(parsePythonCalls(`[a(x='it's', y="say "hi"!")]`)).toEqual([
      { name: 'a', arguments: { x: "it's", y: 'say "hi"!' } },
    ])
  })

  it.each(['', '[', 'a', 'a(', 'a(1)', 'a(x=)', 'a(x=b)', '[a()] and', `a(x=${'['.repeat(100)}`])(
    '%s is none',
    (text) => {
      expect(parsePythonCalls(text)).toBeUndefined()
    },
  )
})

describe('values between tags', () => {
  const valueIn = (schema: object, text: string, $defs = {}) => {
    const parameters = { type: 'object', properties: { x: schema }, $defs }
    const block = `<function=f>\n<parameter=x>\n${text}\n</parameter>\n</function>`
    return parseXmlCalls(block, [{ name: 'f', parameters }])?.[0]?.arguments.x
  }

  it.each([
    [{ type: 'string' }, '12', '12'],
    [{ type: 'string' }, '\n a "b" \n', '\n a "b" \n'],
    [{}, '12', '12'],
    [{ type: 'integer' }, '12', 12],
    [{ type: 'integer' }, 'twelve', 'twelve'],
    [{ type: 'boolean' }, 'True', true],
    [{ type: 'boolean' }, 'false', false],
    [{ type: ['string', 'null'] }, 'null', null],
    [{ type: ['string', 'null'] }, '12', '12'],
    [{ anyOf: [{ type: 'string' }, { type: 'integer' }] }, '12', 12],
    [{ anyOf: [{ type: 'string' }, { type: 'integer' }] }, '"12"', '"12"'],
    [{ enum: ['1', 2, null] }, '1', '1'],
    [{ enum: ['1', 2, null] }, '2', 2],
    [{ $ref: '#/$defs/list' }, '["</parameter>"]', ['</parameter>']],
    [{ $ref: '#/$defs/none' }, '[1]', '[1]'],
    [{ $ref: '#/$defs/round' }, '[1]', '[1]'],
  ])('of %j: %j is %j', (schema, text, value) => {
    const defs = { list: { type: 'array' }, round: { $ref: '#/$defs/round' } }
    expect(valueIn(schema, text, defs)).toEqual(value)
  })

  it('of a schema of many references are read at once', () => {
    const names = Array.from({ length: 60 }, (_, i) => `d${i}`)
    const referenceTo = (name: string) => ({ $ref: `#/$defs/${name}` })
    const defs = names.map((name, i) => {
      const next = names[i + 1]
      return [name, { anyOf: next ? Array(20).fill(referenceTo(next)) : [{ type: 'integer' }] }]
    })
    expect(valueIn(referenceTo('d0'), '12', Object.fromEntries(defs))).toBe(12)
  })

  it.each([
    '',
    '<function=f>',
    '<function=f></function> more',
    '<function=f><parameter=x></function>',
  ])('%s has none', (block) => {
    expect(parseXmlCalls(block, [])).toBeUndefined()
  })
})

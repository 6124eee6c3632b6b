import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { CorruptFileError } from '../../lib/support/errors.js'
import { parseConfigJson } from '../../lib/support/json.js'

const reference = join(import.meta.dirname, '../fixtures/reference')
const parse = (text: string) => parseConfigJson(text, 'config.json')

describe('parseConfigJson', () => {
  it('gives what JSON.parse gives for standard JSON', () => {
    const texts = [
      '{}',
      ' {\t"a" :\r\n[ ] } ',
      '{"a": [1, -2.5e3, 0, -0.0, 1E+2, 12345678901234567890], "b": {"c": null}}',
      '{"t": true, "f": false, "": "", "nested": [[[{"x": [[]]}]]]}',
      '{"text": "a\\"b\\\\c\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00 é 😀", "brace": "}{][,:"}',
    ]
    for (const text of texts) expect(parse(text), text).toEqual(JSON.parse(text))
  })

  it('reads bare Infinity, -Infinity and NaN', () => {
    const config = parse('{"limit": [0.0, Infinity], "low": -Infinity,"nan":NaN}')
    expect(config).toEqual({ limit: [0, Infinity], low: -Infinity, nan: NaN })
  })

  it('leaves those words alone inside strings and keys', () => {
    const text = '{"Infinity": "NaN, -Infinity", "a": "\\"Infinity", "b\\\\": "Infinity"}'
    expect(parse(text)).toEqual(JSON.parse(text))
  })

  it('reads the {"__float__": …} of newer transformers', () => {
    const text =
      '{"a": {"__float__": "Infinity"}, "b": [{"__float__": "-Infinity"}, {"__float__": "NaN"}]}'
    expect(parse(text)).toEqual({ a: Infinity, b: [-Infinity, NaN] })
    for (const bad of ['"inf"', '1', 'null', '"Infinity", "x": 1']) {
      expect(() => parse(`{\n "a": {"__float__": ${bad}}}`)).toThrow(
        /^config\.json:2:7: .*__float__/,
      )
    }
  })

  it('reads the published forms of an infinite time_step_limit', async () => {
    for (const folder of ['mamba2-hf', 'mamba2-mlx-lm-4bit']) {
      const path = join(reference, folder, 'config.json')
      const config = parseConfigJson(await readFile(path, 'utf8'), path)
      expect(config.time_step_limit).toEqual([0, Infinity])
    }
  })

  it('treats __proto__ and constructor as ordinary keys', () => {
    const config = parse('{"__proto__": {"polluted": 1}, "constructor": 2}')
    expect(Object.keys(config)).toEqual(['__proto__', 'constructor'])
    expect(config.polluted).toBeUndefined()
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
    expect(parse('{}').toString).toBeUndefined()
  })

  it('lets the last of two equal keys win, as Python does', () => {
    expect(parse('{"a": 1, "a": 2}')).toEqual({ a: 2 })
  })

  it.each([
    ['', '1:1: expected a value, at the end of the text'],
    ['{"a": 1', '1:8: expected "," or "}", at the end of the text'],
    ['{"a": 1,}', '1:9: expected a key in double quotes, at "}"'],
    ['{"a": [1,]}', '1:10: expected a value, at "]}"'],
    ['{"a": [1 2]}', '1:10: expected "," or "]", at "2]}"'],
    ['{,}', '1:2: expected a key in double quotes, at ",}"'],
    ["{'a': 1}", '1:2: expected a key in double quotes'],
    ['{"a" 1}', '1:6: expected ":"'],
    ['{"a": 01}', '1:8: expected "," or "}", at "1}"'],
    ['{"a": +1}', '1:7: expected a value'],
    ['{"a": .5}', '1:7: expected a value'],
    ['{"a": Infinityx}', '1:7: expected a value'],
    ['{"a": --Infinity}', '1:7: expected a value'],
    ['{"a": inf}', '1:7: expected a value'],
    ['{"a": tru}', '1:7: expected a value'],
    ['{"a": 1}\n\n {}', '3:2: expected the end of the text'],
    ['{\n  "a": "b\nc"}', '2:10: control character inside a string'],
    ['{"a": "b', '1:9: a string is not closed'],
    ['{"a": "b\\', '1:10: a string is not closed'],
    ['{"a": "\\x"}', '1:7: a string has an escape that JSON does not know'],
    ['{"a": "\\u12g4"}', '1:7: a string has an escape'],
  ])('refuses %j with line and column', (text, message) => {
    expect(() => parse(text)).toThrow(CorruptFileError)
    expect(() => parse(text)).toThrow(`config.json:${message}`)
  })

  it.each(['[]', '1', '"a"', 'null', 'NaN'])('refuses %s, which is not an object', (text) => {
    expect(() => parse(text)).toThrow('config.json: expected a JSON object')
  })

  it('limits depth, however long the text', () => {
    const nested = (depth: number) => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`
    expect(() => parse(nested(99))).not.toThrow()
    expect(() => parse(nested(100))).toThrow(/at most 100 objects and arrays/)
    expect(() => parse(`{"a":${'['.repeat(1_000_000)}`)).toThrow(CorruptFileError)
    expect(() => parse('{"a":'.repeat(1_000_000))).toThrow(CorruptFileError)
  })
})

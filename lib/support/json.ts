import { CorruptFileError } from './errors.js'
import { quote } from './format.js'

/** A value of a JSON text. Objects have no prototype, so a key such as `__proto__` is only a key. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject
export type JsonObject = { [key: string]: JsonValue }

/** What a JSON text may contain beyond the standard, and how deep it may nest. */
export interface JsonRules {
  /** Accept bare `Infinity`, `-Infinity` and `NaN`, and objects `{"__float__": "Infinity"}`. */
  nonFinite: boolean
  /** Accept a key twice in one object; the last value wins. */
  duplicateKeys: boolean
  /** Objects and arrays inside each other, at most. */
  maxDepth: number
}

// Configurations nest three or four levels; the limit keeps hostile text from exhausting the stack.
const CONFIG_RULES: JsonRules = { nonFinite: true, duplicateKeys: true, maxDepth: 100 }

/**
 * Parses a Hugging Face configuration: JSON in which Python may have left the bare words `Infinity`,
 * `-Infinity` and `NaN`, or newer versions of transformers the object `{"__float__": "Infinity"}`.
 * Both become numbers. `file` is used in messages only.
 *
 * @throws CorruptFileError if the text is not such JSON or not an object, with line and column.
 *
 * @example
 * const config = parseConfigJson(await readFile(path, 'utf8'), path)
 * config.time_step_limit // [0, Infinity]
 */
export function parseConfigJson(text: string, file: string): JsonObject {
  return parseJsonObject(text, file, CONFIG_RULES)
}

/** Parses a JSON text that must hold an object, by the given rules. Throws CorruptFileError. */
export function parseJsonObject(text: string, file: string, rules: JsonRules): JsonObject {
  const value = new JsonParser(text, file, rules).parse()
  if (!isJsonObject(value)) {
    throw new CorruptFileError(`${file}: expected a JSON object but got ${describe(value)}`)
  }
  return value
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function describe(value: JsonValue): string {
  return Array.isArray(value) ? 'an array' : quote(value)
}

const WORDS: [string, JsonValue][] = [
  ['true', true],
  ['false', false],
  ['null', null],
]
const NON_FINITE_WORDS: [string, number][] = [
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
  ['NaN', NaN],
]

// `JSON.parse` neither accepts the bare words, nor reports duplicate keys, nor limits depth; a text
// with the words replaced first would need a tokenizer anyway, and would lose line and column.
class JsonParser {
  readonly #text: string
  readonly #file: string
  readonly #rules: JsonRules
  #position = 0
  #depth = 0

  constructor(text: string, file: string, rules: JsonRules) {
    this.#text = text
    this.#file = file
    this.#rules = rules
  }

  parse(): JsonValue {
    // A byte order mark, which some editors on Windows write.
    if (this.#text.charCodeAt(0) === 0xfeff) this.#position = 1
    const value = this.#value()
    this.#skipSpace()
    if (this.#position < this.#text.length) this.#fail('expected the end of the text')
    return value
  }

  #value(): JsonValue {
    this.#skipSpace()
    const first = this.#text[this.#position]
    if (first === '{') return this.#nested(() => this.#object())
    if (first === '[') return this.#nested(() => this.#array())
    if (first === '"') return this.#string()
    const word = this.#word()
    return word === undefined ? this.#number() : word
  }

  #nested<T>(read: () => T): T {
    if (this.#depth === this.#rules.maxDepth) {
      this.#fail(`expected at most ${this.#rules.maxDepth} objects and arrays inside each other`)
    }
    this.#depth++
    this.#position++
    const value = read()
    this.#depth--
    return value
  }

  #object(): JsonValue {
    const start = this.#position - 1
    const object: JsonObject = Object.create(null)
    let count = 0
    while (!this.#closes('}', count)) {
      this.#skipSpace()
      const keyStart = this.#position
      if (this.#text[keyStart] !== '"') this.#fail('expected a key in double quotes')
      const key = this.#string()
      if (!this.#rules.duplicateKeys && key in object) {
        this.#position = keyStart
        this.#fail(`expected each key once but ${quote(key)} comes again`)
      }
      this.#skipSpace()
      if (this.#text[this.#position] !== ':') this.#fail('expected ":"')
      this.#position++
      object[key] = this.#value()
      count++
    }
    return this.#rules.nonFinite ? this.#taggedFloat(object, start) : object
  }

  #array(): JsonValue {
    const array: JsonValue[] = []
    while (!this.#closes(']', array.length)) array.push(this.#value())
    return array
  }

  // Passes the closing bracket, or the comma that must stand before every item but the first.
  #closes(bracket: string, itemsBefore: number): boolean {
    this.#skipSpace()
    const next = this.#text[this.#position]
    if (next === bracket) {
      this.#position++
      return true
    }
    if (itemsBefore > 0) {
      if (next !== ',') this.#fail(`expected "," or "${bracket}"`)
      this.#position++
    }
    return false
  }

  #taggedFloat(object: JsonObject, start: number): JsonValue {
    if (!('__float__' in object)) return object
    const tag = object.__float__
    const word = NON_FINITE_WORDS.find(([name]) => name === tag)
    if (word && Object.keys(object).length === 1) return word[1]
    this.#position = start
    return this.#fail('expected "__float__" alone, with "Infinity", "-Infinity" or "NaN"')
  }

  #string(): string {
    const start = this.#position
    let end = start + 1
    let escaped = false
    for (; this.#text[end] !== '"'; end++) {
      const code = this.#text.charCodeAt(end)
      if (code === 0x5c) {
        escaped = true
        end++
      }
      // NaN past the end of the text.
      if (!(code >= 0x20) || end >= this.#text.length) {
        this.#position = Math.min(end, this.#text.length)
        this.#fail(
          code < 0x20 ? 'control character inside a string' : 'a string is not closed',
          false,
        )
      }
    }
    this.#position = end + 1
    if (!escaped) return this.#text.slice(start + 1, end)
    try {
      return JSON.parse(this.#text.slice(start, end + 1))
    } catch {
      this.#position = start
      return this.#fail('a string has an escape that JSON does not know')
    }
  }

  #word(): JsonValue | undefined {
    const words = this.#rules.nonFinite ? [...WORDS, ...NON_FINITE_WORDS] : WORDS
    for (const [word, value] of words) {
      if (!this.#text.startsWith(word, this.#position)) continue
      const end = this.#position + word.length
      if (/\w/.test(this.#text[end] ?? '')) continue
      this.#position = end
      return value
    }
    return undefined
  }

  #number(): number {
    const pattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
    pattern.lastIndex = this.#position
    const match = pattern.exec(this.#text)
    if (!match) return this.#fail('expected a value')
    this.#position += match[0].length
    return Number(match[0])
  }

  #skipSpace(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#position)
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return
      this.#position++
    }
  }

  #fail(problem: string, showNext = true): never {
    const before = this.#text.slice(0, this.#position)
    const line = before.split('\n').length
    const column = this.#position - before.lastIndexOf('\n')
    const rest = this.#text.slice(this.#position, this.#position + 20)
    const next = showNext ? `, at ${rest === '' ? 'the end of the text' : quote(rest)}` : ''
    throw new CorruptFileError(`${this.#file}:${line}:${column}: ${problem}${next}`)
  }
}

// Calls as Python writes them: `[weather(city="Rome", days=3), clock()]`.

import { PYTHON_NOTATION, valueText } from '../../grammar/json-nodes.js'
import type { Quoting } from './block-end.js'
import type { WrittenCall } from './call.js'

const WORDS: Readonly<Record<string, unknown>> = {
  True: true,
  False: false,
  None: null,
  true: true,
  false: false,
  null: null,
}
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r' }
const DEEPEST = 32

/**
 * The calls of a list, or of one call alone; undefined for what is none.
 *
 * @example parsePythonCalls('[add(a=1, b=[2, 3])]') // [{ name: 'add', arguments: { a: 1, b: [2, 3] } }]
 */
export function parsePythonCalls(text: string): WrittenCall[] | undefined {
  try {
    return new CallReader(text).read()
  } catch (error) {
    if (error instanceof NoCallError) return undefined
    throw error
  }
}

// Templates write texts between quotes as they are, and so do models: `'it's'` is one string.
function endsString(text: string, position: number): boolean | undefined {
  const next = /\s*(\S?)/y
  next.lastIndex = position + 1
  const [, sign = ''] = next.exec(text)!
  return sign === '' ? undefined : ',)]}:'.includes(sign)
}

/** How the strings of calls stand in a text. */
export const PYTHON_QUOTING: Quoting = { quotes: `"'`, endsString, isOneLine: false }

/** A call as the model would have written it. */
export function pythonCall({ name, arguments: given }: WrittenCall): string {
  const parts = Object.entries(given).map(
    ([key, value]) => `${key}=${valueText(value, PYTHON_NOTATION)}`,
  )
  return `${name}(${parts.join(', ')})`
}

class NoCallError extends Error {}

class CallReader {
  readonly #text: string
  #position = 0
  #depth = 0

  constructor(text: string) {
    this.#text = text
  }

  read(): WrittenCall[] {
    const calls = this.#takes('[') ? this.#items(']', () => this.#call()) : [this.#call()]
    if (this.#next() !== undefined) throw new NoCallError()
    return calls
  }

  #call(): WrittenCall {
    const name = this.#match(/[\w.-]+/y)
    this.#need('(')
    const entries = this.#items(')', () => {
      const key = this.#match(/\w+/y)
      this.#need('=')
      return [key, this.#value()] as const
    })
    return { name, arguments: Object.fromEntries(entries) }
  }

  #value(): unknown {
    if (++this.#depth > DEEPEST) throw new NoCallError()
    const value = this.#anyValue()
    this.#depth -= 1
    return value
  }

  #anyValue(): unknown {
    const next = this.#next()
    if (next === '"' || next === "'") return this.#string(next)
    if (this.#takes('[')) return this.#items(']', () => this.#value())
    if (this.#takes('{')) {
      const entries = this.#items('}', () => {
        const quote = this.#next()
        if (quote !== '"' && quote !== "'") throw new NoCallError()
        const key = this.#string(quote)
        this.#need(':')
        return [key, this.#value()] as const
      })
      return Object.fromEntries(entries)
    }
    const word = this.#match(/[-+.\w]+/y)
    if (Object.hasOwn(WORDS, word)) return WORDS[word]
    if (/^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$/.test(word)) return Number(word)
    throw new NoCallError()
  }

  #string(quote: string): string {
    this.#need(quote)
    let value = ''
    for (;;) {
      const next = this.#text[this.#position++]
      if (next === undefined) throw new NoCallError()
      if (next === quote && endsString(this.#text, this.#position - 1) !== false) return value
      value += next === '\\' ? this.#escape() : next
    }
  }

  #escape(): string {
    const next = this.#text[this.#position++] ?? ''
    if (next !== 'u' && next !== 'x') return ESCAPES[next] ?? next
    const length = next === 'u' ? 4 : 2
    const digits = this.#text.slice(this.#position, this.#position + length)
    if (!new RegExp(`^[\\da-fA-F]{${length}}$`).test(digits)) throw new NoCallError()
    this.#position += length
    return String.fromCharCode(Number.parseInt(digits, 16))
  }

  /** What stands between commas, up to a bracket; a comma may come before it. */
  #items<T>(close: string, item: () => T): T[] {
    const items: T[] = []
    while (!this.#takes(close)) {
      if (items.length > 0) this.#need(',')
      if (this.#takes(close)) break
      items.push(item())
    }
    return items
  }

  #next(): string | undefined {
    while (/\s/.test(this.#text[this.#position] ?? '')) this.#position += 1
    return this.#text[this.#position]
  }

  #takes(character: string): boolean {
    if (this.#next() !== character) return false
    this.#position += 1
    return true
  }

  #need(character: string): void {
    if (!this.#takes(character)) throw new NoCallError()
  }

  #match(pattern: RegExp): string {
    this.#next()
    pattern.lastIndex = this.#position
    const [match] = pattern.exec(this.#text) ?? []
    if (match === undefined) throw new NoCallError()
    this.#position += match.length
    return match
  }
}

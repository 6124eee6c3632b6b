// Regular expressions, as JavaScript writes them with the flag `u`, as grammars.

import { ANY, type CodePoints, codePoints, complement, MAX_CODE_POINT } from './code-points.js'
import {
  choice,
  EMPTY,
  type GrammarNode,
  literal,
  oneOf,
  repeat,
  sequence,
} from './grammar-node.js'
import { TextReader } from './text-reader.js'

const MAX_PATTERN = 4_096
const MAX_DEPTH = 64
const MAX_REPEATS = 256

const point = (character: string): [number, number] => [
  character.codePointAt(0)!,
  character.codePointAt(0)!,
]
const DIGITS: CodePoints = [[0x30, 0x39]]
const WORD = codePoints([[0x30, 0x39], [0x41, 0x5a], point('_'), [0x61, 0x7a]])
const SPACES = codePoints(
  [
    ...[
      0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000,
      0xfeff,
    ],
    ...Array.from({ length: 11 }, (_, index) => 0x2000 + index),
  ].map((code): [number, number] => [code, code]),
)
const LINE_ENDS = codePoints(['\n', '\r', '\u2028', '\u2029'].map(point))
const SETS: Readonly<Record<string, CodePoints>> = {
  d: DIGITS,
  D: complement(DIGITS),
  w: WORD,
  W: complement(WORD),
  s: SPACES,
  S: complement(SPACES),
}
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 }

/** An alternative, and whether it must begin and end with the text. */
interface Alternative {
  node: GrammarNode
  fromStart: boolean
  toEnd: boolean
}

/**
 * The texts that match a regular expression as a whole.
 *
 * @throws GrammarError if it is wrong, or uses what no grammar can follow.
 * @example parseRegex('[a-z]+(-[a-z]+)*')
 */
export function parseRegex(pattern: string): GrammarNode {
  return choice(...new RegexParser(pattern).parse().map(({ node }) => node))
}

/**
 * The texts in which a regular expression is found, as JSON Schema's `pattern` means it.
 *
 * @throws GrammarError if it is wrong, or uses what no grammar can follow.
 * @example parseSearch('^a') // a, and whatever may follow it
 */
export function parseSearch(pattern: string): GrammarNode {
  const anything = repeat(oneOf(ANY), 0, Infinity)
  const alternatives = new RegexParser(pattern).parse()
  return choice(
    ...alternatives.map(({ node, fromStart, toEnd }) =>
      sequence(fromStart ? EMPTY : anything, node, toEnd ? EMPTY : anything),
    ),
  )
}

class RegexParser {
  readonly #reader: TextReader
  #depth = 0

  constructor(pattern: string) {
    this.#reader = new TextReader(pattern, MAX_PATTERN)
  }

  parse(): Alternative[] {
    const alternatives: Alternative[] = []
    do {
      const fromStart = this.#reader.take('^')
      const node = this.#sequence()
      alternatives.push({ node, fromStart, toEnd: this.#reader.take('$') })
    } while (this.#reader.take('|'))
    if (!this.#reader.isAtEnd) this.#unexpected()
    return alternatives
  }

  #unexpected(): never {
    const character = this.#reader.peek()
    const hints: Record<string, string> = {
      '^': '"^" is supported at the start of the whole, or of an alternative of it',
      $: '"$" is supported at the end of the whole, or of an alternative of it',
      ')': '")" has no "(" before it',
    }
    this.#reader.fail(hints[character] ?? `${JSON.stringify(character)} must be escaped here`)
  }

  #sequence(): GrammarNode {
    const items: GrammarNode[] = []
    while (!this.#reader.isAtEnd && !'|)$'.includes(this.#reader.peek())) {
      const item = this.#quantified(this.#atom())
      const last = items.at(-1)
      // Texts of one piece are shorter to write.
      if (item.kind === 'literal' && last?.kind === 'literal') {
        items[items.length - 1] = literal(last.text + item.text)
      } else items.push(item)
    }
    return items.length > 0 ? sequence(...items) : EMPTY
  }

  #atom(): GrammarNode {
    const character = this.#reader.peek()
    if ('^$*+?{}])'.includes(character)) this.#unexpected()
    this.#reader.next()
    if (character === '(') return this.#group()
    if (character === '[') return this.#class()
    if (character === '.') return oneOf(complement(LINE_ENDS))
    if (character !== '\\') return literal(character)
    const escaped = this.#escape(false)
    return typeof escaped === 'number' ? literal(String.fromCodePoint(escaped)) : oneOf(escaped)
  }

  #group(): GrammarNode {
    if (++this.#depth > MAX_DEPTH) this.#reader.fail(`groups may be ${MAX_DEPTH} deep`)
    if (this.#reader.take('?')) this.#groupKind()
    const options = [this.#sequence()]
    while (this.#reader.take('|')) options.push(this.#sequence())
    if (!this.#reader.take(')')) {
      if (this.#reader.isAtEnd) this.#reader.fail('a ")" is missing')
      this.#unexpected()
    }
    this.#depth--
    return choice(...options)
  }

  #groupKind(): void {
    if (this.#reader.take(':')) return
    if (/^[=!]$/.test(this.#reader.peek())) this.#reader.fail('lookahead is not supported')
    if (!this.#reader.take('<')) this.#reader.fail('(?: and (?<name> are the groups supported')
    if (/^[=!]$/.test(this.#reader.peek())) this.#reader.fail('lookbehind is not supported')
    const name = this.#reader.takeWhile(/[\p{ID_Continue}$]/u)
    if (name === '' || !this.#reader.take('>')) this.#reader.fail('a name and ">" must follow')
  }

  #quantified(item: GrammarNode): GrammarNode {
    const [min, max] = this.#quantifier() ?? []
    if (min === undefined || max === undefined) return item
    // How much of it is taken first makes no difference to what matches.
    this.#reader.take('?')
    return repeat(item, min, max)
  }

  #quantifier(): [number, number] | undefined {
    if (this.#reader.take('*')) return [0, Infinity]
    if (this.#reader.take('+')) return [1, Infinity]
    if (this.#reader.take('?')) return [0, 1]
    if (!this.#reader.take('{')) return undefined
    const min = this.#count()
    let max = min
    if (this.#reader.take(',')) max = this.#reader.peek() === '}' ? Infinity : this.#count()
    if (!this.#reader.take('}')) this.#reader.fail('a "}" is missing')
    if (max < min) this.#reader.fail('the numbers of {} are out of order')
    return [min, max]
  }

  #count(): number {
    const digits = this.#reader.takeWhile(/\d/)
    if (digits === '') this.#reader.fail('a number must follow')
    if (Number(digits) > MAX_REPEATS) this.#reader.fail(`{} may go up to ${MAX_REPEATS}`)
    return Number(digits)
  }

  /** What follows a backslash: a character or a set of them. */
  #escape(inClass: boolean): number | CodePoints {
    const character = this.#reader.next()
    if (character === '') this.#reader.fail('something must follow "\\"')
    if (Object.hasOwn(SETS, character)) return SETS[character]!
    if (
      Object.hasOwn(CONTROLS, character) &&
      !(character === '0' && /\d/.test(this.#reader.peek()))
    ) {
      return CONTROLS[character]!
    }
    if (character === 'x') return this.#reader.hex(2)
    if (character === 'u') return this.#unicode()
    if (character === 'b' && inClass) return 8
    if (character === 'c' && /[a-z]/i.test(this.#reader.peek())) {
      return this.#reader.next().codePointAt(0)! % 32
    }
    if ('^$\\.*+?()[]{}|/'.includes(character) || (character === '-' && inClass)) {
      return character.codePointAt(0)!
    }
    const unsupported: Record<string, string> = {
      b: 'word boundaries are not supported',
      B: 'word boundaries are not supported',
      p: 'Unicode properties are not supported',
      P: 'Unicode properties are not supported',
      k: 'back references are not supported',
    }
    const isReference = /[1-9]/.test(character)
    return this.#reader.fail(
      unsupported[isReference ? 'k' : character] ?? `"\\${character}" is no escape`,
    )
  }

  #unicode(): number {
    if (!this.#reader.take('{')) {
      const code = this.#reader.hex(4)
      if (code < 0xd800 || code > 0xdfff) return code
      const isPair = code < 0xdc00 && this.#reader.take('\\u')
      const low = isPair ? this.#reader.hex(4) : 0
      if (low < 0xdc00 || low > 0xdfff)
        this.#reader.fail('half of a surrogate pair matches nothing')
      return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)
    }
    const digits = this.#reader.takeWhile(/[\da-f]/i)
    const code = Number.parseInt(digits, 16)
    if (!(code <= MAX_CODE_POINT) || !this.#reader.take('}')) {
      this.#reader.fail('a code point and "}" must follow')
    }
    if (code >= 0xd800 && code <= 0xdfff) {
      this.#reader.fail('half of a surrogate pair matches nothing')
    }
    return code
  }

  #class(): GrammarNode {
    const isNegated = this.#reader.take('^')
    const parts: [number, number][] = []
    while (!this.#reader.take(']')) {
      const from = this.#classAtom()
      const isRange = this.#reader.peek() === '-' && this.#reader.peek(1) !== ']'
      if (!isRange) {
        parts.push(
          ...(typeof from === 'number'
            ? [[from, from] as [number, number]]
            : from.map(([a, b]): [number, number] => [a, b])),
        )
        continue
      }
      this.#reader.next()
      const to = this.#classAtom()
      if (typeof from !== 'number' || typeof to !== 'number') {
        this.#reader.fail('a range must be between two characters')
      }
      if (to < from) this.#reader.fail('the ends of a range are out of order')
      parts.push([from, to])
    }
    const set = codePoints(parts)
    return oneOf(isNegated ? complement(set) : set)
  }

  #classAtom(): number | CodePoints {
    if (this.#reader.isAtEnd) this.#reader.fail('a "]" is missing')
    const character = this.#reader.next()
    return character === '\\' ? this.#escape(true) : character.codePointAt(0)!
  }
}

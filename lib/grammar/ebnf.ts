// Grammars in GBNF, the notation of llama.cpp, which xgrammar reads too:
//
//   root   ::= item ("," item)*     # a comment
//   item   ::= "a" | [0-9]{1,3} | [^x-z] | .

import { ANY, codePoints, complement } from './code-points.js'
import {
  choice,
  EMPTY,
  type Grammar,
  type GrammarNode,
  literal,
  oneOf,
  repeat,
  rule,
  sequence,
} from './grammar-node.js'
import { TextReader } from './text-reader.js'

const MAX_GRAMMAR = 65_536
const MAX_DEPTH = 64
const MAX_REPEATS = 256

/**
 * Reads a grammar.
 *
 * @throws GrammarError if it is wrong; the message says where.
 * @example parseEbnf('root ::= "yes" | "no"')
 */
export function parseEbnf(text: string): Grammar {
  return new EbnfParser(text).parse()
}

class EbnfParser {
  readonly #reader: TextReader
  readonly #rules = new Map<string, GrammarNode>()
  readonly #used = new Set<string>()
  #depth = 0

  constructor(text: string) {
    this.#reader = new TextReader(text, MAX_GRAMMAR)
  }

  parse(): Grammar {
    this.#space()
    while (!this.#reader.isAtEnd) this.#rule()
    for (const name of this.#used) {
      if (!this.#rules.has(name)) this.#reader.fail(`there is no rule ${JSON.stringify(name)}`)
    }
    if (!this.#rules.has('root')) this.#reader.fail('there is no rule "root"')
    return { root: rule('root'), rules: this.#rules }
  }

  #rule(): void {
    const name = this.#name()
    if (name === '') this.#reader.fail('the name of a rule must follow')
    if (this.#rules.has(name)) this.#reader.fail(`the rule ${JSON.stringify(name)} is there twice`)
    this.#space()
    if (!this.#reader.take('::=')) this.#reader.fail('"::=" must follow')
    this.#space()
    this.#rules.set(name, this.#choice())
  }

  #name(): string {
    return this.#reader.takeWhile(/[\w-]/)
  }

  /** White space and comments. */
  #space(): void {
    for (;;) {
      this.#reader.takeWhile(/\s/)
      if (!this.#reader.take('#')) return
      this.#reader.takeWhile(/[^\n]/)
    }
  }

  #choice(): GrammarNode {
    const options = [this.#sequence()]
    while (this.#reader.take('|')) {
      this.#space()
      options.push(this.#sequence())
    }
    return choice(...options)
  }

  #sequence(): GrammarNode {
    const items: GrammarNode[] = []
    while (!this.#reader.isAtEnd && !'|)'.includes(this.#reader.peek()) && !this.#beginsRule()) {
      items.push(this.#quantified(this.#atom()))
    }
    return items.length > 0 ? sequence(...items) : EMPTY
  }

  /** Rules need no end: the next one's name and `::=` are one. */
  #beginsRule(): boolean {
    let ahead = 0
    while (/[\w-]/.test(this.#reader.peek(ahead))) ahead++
    if (ahead === 0) return false
    while (/\s/.test(this.#reader.peek(ahead))) ahead++
    return [':', ':', '='].every((sign, index) => this.#reader.peek(ahead + index) === sign)
  }

  #atom(): GrammarNode {
    if (this.#reader.take('"')) return this.#literal()
    if (this.#reader.take('[')) return this.#class()
    if (this.#reader.take('.')) return oneOf(ANY)
    if (this.#reader.take('(')) return this.#group()
    const name = this.#name()
    if (name === '') {
      this.#reader.fail('a rule, "text", [characters], "." or (group) must follow')
    }
    this.#used.add(name)
    return rule(name)
  }

  #group(): GrammarNode {
    if (++this.#depth > MAX_DEPTH) this.#reader.fail(`groups may be ${MAX_DEPTH} deep`)
    this.#space()
    const inner = this.#choice()
    if (!this.#reader.take(')')) this.#reader.fail('a ")" is missing')
    this.#depth--
    return inner
  }

  #literal(): GrammarNode {
    let text = ''
    while (!this.#reader.take('"')) text += String.fromCodePoint(this.#character())
    return literal(text)
  }

  #class(): GrammarNode {
    const isNegated = this.#reader.take('^')
    const parts: [number, number][] = []
    while (!this.#reader.take(']')) {
      const from = this.#character()
      const isRange = this.#reader.peek() === '-' && this.#reader.peek(1) !== ']'
      if (isRange) this.#reader.next()
      const to = isRange ? this.#character() : from
      if (to < from) this.#reader.fail('the ends of a range are out of order')
      parts.push([from, to])
    }
    const set = codePoints(parts)
    return oneOf(isNegated ? complement(set) : set)
  }

  #character(): number {
    if (this.#reader.isAtEnd) this.#reader.fail('a closing sign is missing')
    const character = this.#reader.next()
    if (character !== '\\') return character.codePointAt(0)!
    const sign = this.#reader.next()
    const controls: Record<string, number> = { n: 10, r: 13, t: 9 }
    if (Object.hasOwn(controls, sign)) return controls[sign]!
    const digits: Record<string, number> = { x: 2, u: 4, U: 8 }
    if (Object.hasOwn(digits, sign)) return this.#codePoint(digits[sign]!)
    if (!/^["\\[\]^-]$/.test(sign)) this.#reader.fail(`"\\${sign}" is no escape`)
    return sign.codePointAt(0)!
  }

  #codePoint(digits: number): number {
    const code = this.#reader.hex(digits)
    const isOne = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff)
    return isOne ? code : this.#reader.fail('this is no code point')
  }

  #quantified(item: GrammarNode): GrammarNode {
    let node = item
    for (;;) {
      this.#space()
      if (this.#reader.take('*')) node = repeat(node, 0, Infinity)
      else if (this.#reader.take('+')) node = repeat(node, 1, Infinity)
      else if (this.#reader.take('?')) node = repeat(node, 0, 1)
      else if (this.#reader.take('{')) node = this.#counted(node)
      else return node
    }
  }

  #counted(item: GrammarNode): GrammarNode {
    const min = this.#count()
    let max = min
    if (this.#reader.take(',')) {
      this.#space()
      max = this.#reader.peek() === '}' ? Infinity : this.#count()
    }
    if (!this.#reader.take('}')) this.#reader.fail('a "}" is missing')
    if (max < min) this.#reader.fail('the numbers of {} are out of order')
    return repeat(item, min, max)
  }

  #count(): number {
    this.#space()
    const digits = this.#reader.takeWhile(/\d/)
    this.#space()
    if (digits === '') this.#reader.fail('a number must follow')
    if (Number(digits) > MAX_REPEATS) this.#reader.fail(`{} may go up to ${MAX_REPEATS}`)
    return Number(digits)
  }
}

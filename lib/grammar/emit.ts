// A grammar as text for xgrammar.
//
// xgrammar 0.1.27 takes a group that repeats, `("a" | b)*`, for a rule of its own, and can then not prepare the masks of
// what crosses its end: a mask takes 200 ms. So each node is written together with what follows it, and whatever
// repeats becomes a rule that calls itself last, with which a mask takes 0.1 ms. Its classes of characters are right
// for bytes only, so those beyond ASCII are written as the bytes of their UTF-8.

import { type ByteRanges, utf8Sequences } from './code-points.js'
import { type Grammar, GrammarError, type GrammarNode } from './grammar-node.js'
import { specialTokenBytes } from './special-bytes.js'

const MAX_RULES = 1_000
// Each place where most tokens may come takes xgrammar some 20 milliseconds at a vocabulary of 50,000.
const MAX_COPIES = 1_000
/** Characters from which on a class has most of them. */
const MOST = 128
const MAX_CHARACTERS = 2 ** 20
// Repetitions of nothing make no rules, but take time.
const MAX_VISITS = 100_000
const TOO_LARGE =
  'is too large: what repeats up to a number of times, such as the characters of a string with maxLength, ' +
  'takes one rule each time; use smaller numbers, or none'

/**
 * Writes a grammar down, without the parts that nothing finite matches.
 *
 * @throws GrammarError if nothing at all matches, or it would be too large: of more than `maxRules` rules.
 * @example emitGrammar({ root: repeat(literal('a'), 0, Infinity), rules: new Map() })
 */
export function emitGrammar(grammar: Grammar, maxRules = MAX_RULES): string {
  const matched = matchedRules(grammar)
  if (!isMatched(grammar.root, matched))
    throw new GrammarError('can never be met: no text of finite length does')
  return new Emitter(grammar, matched, maxRules).emit()
}

/** The rules that some finite text matches. */
function matchedRules({ rules }: Grammar): ReadonlySet<string> {
  const matched = new Set<string>()
  for (let before = -1; before < matched.size; ) {
    before = matched.size
    for (const [name, node] of rules) {
      if (!matched.has(name) && isMatched(node, matched)) matched.add(name)
    }
  }
  return matched
}

function isMatched(node: GrammarNode, matched: ReadonlySet<string>): boolean {
  switch (node.kind) {
    case 'literal':
    case 'special':
      return true
    case 'class':
      return node.set.length > 0
    case 'sequence':
      return node.items.every((item) => isMatched(item, matched))
    case 'choice':
      return node.options.some((option) => isMatched(option, matched))
    case 'repeat':
      return node.min <= node.max && (node.min === 0 || isMatched(node.item, matched))
    case 'rule':
      return matched.has(node.name)
  }
}

/** Whether a part has places where most tokens may come. */
function isBroad(node: GrammarNode): boolean {
  switch (node.kind) {
    case 'class':
      return node.set.reduce((sum, [from, to]) => sum + to - from + 1, 0) >= MOST
    case 'sequence':
      return node.items.some(isBroad)
    case 'choice':
      return node.options.some(isBroad)
    case 'repeat':
      return isBroad(node.item)
    default:
      return false
  }
}

class Emitter {
  readonly #grammar: Grammar
  readonly #matched: ReadonlySet<string>
  /** Names by what the rules say: what is the same is written once. */
  readonly #names = new Map<string, string>()
  readonly #lines: string[] = []
  readonly #maxRules: number
  #count = 0
  #copies = 0
  #visits = 0
  #characters = 0
  readonly #ruleNames = new Map<string, string>()
  readonly #open: string[] = []

  constructor(grammar: Grammar, matched: ReadonlySet<string>, maxRules: number) {
    this.#grammar = grammar
    this.#matched = matched
    this.#maxRules = maxRules
  }

  emit(): string {
    const root = this.#alternatives(this.#grammar.root, '')
    for (let name = this.#open.pop(); name !== undefined; name = this.#open.pop()) {
      const body = this.#alternatives(this.#grammar.rules.get(name)!, '')
      this.#line(this.#ruleNames.get(name)!, body)
    }
    return `root ::= ${root.join(' | ')}\n${this.#lines.join('\n')}\n`
  }

  /** A node and what follows it: the sequences of which one must match. `next` is empty or the name of a rule. */
  #alternatives(node: GrammarNode, next: string): string[] {
    if (++this.#visits > MAX_VISITS) throw new GrammarError(TOO_LARGE)
    switch (node.kind) {
      case 'literal':
        return [followed(node.text === '' ? '' : quoted(node.text), next)]
      case 'class':
        return this.#class(utf8Sequences(node.set)).map((text) => followed(text, next))
      case 'sequence': {
        let alternatives = [next === '' ? '""' : next]
        for (const [index, item] of [...node.items.entries()].reverse()) {
          const rest = index === node.items.length - 1 ? next : this.#rest(alternatives)
          alternatives = this.#alternatives(item, rest)
        }
        return alternatives
      }
      case 'choice':
        return node.options
          .filter((option) => isMatched(option, this.#matched))
          .flatMap((option) => this.#alternatives(option, next))
      case 'repeat':
        return this.#repeat(node, next)
      case 'rule':
        return [followed(this.#ruleName(node.name), next)]
      case 'special': {
        const bytes = [...specialTokenBytes(node.token)]
        return [followed(bytes.map((byte) => byteClass([[byte, byte]])).join(' '), next)]
      }
    }
  }

  #repeat({ item, min, max }: GrammarNode & { kind: 'repeat' }, next: string): string[] {
    const end = next === '' ? '""' : next
    if (isBroad(item)) this.#copies += max === Infinity ? min : max
    if (this.#copies > MAX_COPIES) throw new GrammarError(TOO_LARGE)
    let alternatives = [end]
    if (isMatched(item, this.#matched)) {
      if (max === Infinity) {
        const name = this.#newName()
        // An item that may be empty would lead back at once.
        const again = this.#alternatives(item, name).filter((text) => text !== name)
        this.#line(name, [...again, end])
        alternatives = [name]
      } else {
        for (let count = min; count < max; count++) {
          alternatives = [...this.#alternatives(item, this.#rest(alternatives)), end]
        }
      }
    }
    for (let count = 0; count < min; count++) {
      alternatives = this.#alternatives(item, this.#rest(alternatives))
    }
    return alternatives
  }

  /** A class: ASCII as one, the rest as a rule. */
  #class(sequences: ByteRanges[]): string[] {
    const short = sequences.filter((bytes) => bytes.length === 1).map((bytes) => bytes[0]!)
    const long = sequences.filter((bytes) => bytes.length > 1)
    const texts = short.length > 0 ? [byteClass(short)] : []
    if (long.length > 0) {
      texts.push(this.#named(long.map((bytes) => bytes.map((one) => byteClass([one])).join(' '))))
    }
    return texts
  }

  /** What follows, as `next` for what goes before it. */
  #rest(alternatives: string[]): string {
    const [only, ...others] = alternatives
    if (others.length === 0 && only === '""') return ''
    const isName = others.length === 0 && /^[a-z]\d+$/.test(only!)
    return isName ? only! : this.#named(alternatives)
  }

  #named(alternatives: string[]): string {
    const body = alternatives.join(' | ')
    const known = this.#names.get(body)
    if (known !== undefined) return known
    const name = this.#newName()
    this.#names.set(body, name)
    this.#line(name, alternatives)
    return name
  }

  #newName(): string {
    if (++this.#count > this.#maxRules) {
      throw new GrammarError(TOO_LARGE)
    }
    return `r${this.#count}`
  }

  /** Rules of the grammar, which may call themselves, are written after what calls them. */
  #ruleName(name: string): string {
    const known = this.#ruleNames.get(name)
    if (known !== undefined) return known
    const own = `n${this.#ruleNames.size}`
    this.#ruleNames.set(name, own)
    this.#open.push(name)
    return own
  }

  #line(name: string, alternatives: string[]): void {
    const line = `${name} ::= ${[...new Set(alternatives)].join(' | ')}`
    this.#characters += line.length
    if (this.#characters > MAX_CHARACTERS) {
      throw new GrammarError(TOO_LARGE)
    }
    this.#lines.push(line)
  }
}

const followed = (text: string, next: string) =>
  text === '' || next === '' ? text || next || '""' : `${text} ${next}`

const escaped = (codePoint: number) => `\\U${codePoint.toString(16).padStart(8, '0')}`

function quoted(text: string): string {
  const characters = Array.from(text, (character) =>
    /[ !#-[\]-~]/.test(character) ? character : escaped(character.codePointAt(0)!),
  )
  return `"${characters.join('')}"`
}

const byteEscape = (byte: number) => `\\x${byte.toString(16).padStart(2, '0')}`

function byteClass(ranges: ByteRanges): string {
  const parts = ranges.map(([from, to]) => {
    if (from !== to) return `${byteEscape(from)}-${byteEscape(to)}`
    // A class of one is taken for a text, of which a byte beyond ASCII would become two.
    return byteEscape(from) + (from > 0x7f ? byteEscape(from) : '')
  })
  return `[${parts.join('')}]`
}

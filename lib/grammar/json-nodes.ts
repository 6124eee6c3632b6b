// JSON as grammars. Between its parts stands what `JSON.stringify` would not write but models do: one space behind
// `:` and `,`. White space that the grammar left open could go on for ever.

import { ANY, type CodePoints, codePoints, difference, intersection } from './code-points.js'
import {
  choice,
  EMPTY,
  type GrammarNode,
  literal,
  oneOf,
  oneOfText,
  optional,
  type Rules,
  range,
  repeat,
  rule,
  sequence,
} from './grammar-node.js'

const CONTROLS: CodePoints = [[0, 0x1f]]
const ESCAPED_ALWAYS: CodePoints = codePoints([...CONTROLS, [0x22, 0x22], [0x5c, 0x5c]])
/** Characters that stand for themselves in a string. */
export const PLAIN = difference(ANY, ESCAPED_ALWAYS)

const digit = range('0', '9')
const hex = oneOfText('0123456789abcdefABCDEF')

/** `\uXXXX` for all but half a surrogate pair, or two that are a pair: one character each. */
const unicodeEscape = choice(
  sequence(literal('u'), oneOfText('0123456789abcefABCEF'), hex, hex, hex),
  sequence(literal('u'), oneOfText('dD'), range('0', '7'), hex, hex),
  sequence(
    ...[literal('u'), oneOfText('dD'), oneOfText('89abAB'), hex, hex],
    ...[literal('\\u'), oneOfText('dD'), oneOfText('cdefCDEF'), hex, hex],
  ),
)

/** How a language writes what JSON writes. Strings in double quotes are the same in all. */
export interface Notation {
  readonly true: string
  readonly false: string
  readonly null: string
  /** Whether strings may stand in single quotes too. */
  readonly hasSingleQuotes: boolean
}

export const JSON_NOTATION: Notation = {
  true: 'true',
  false: 'false',
  null: 'null',
  hasSingleQuotes: false,
}
export const PYTHON_NOTATION: Notation = {
  true: 'True',
  false: 'False',
  null: 'None',
  hasSingleQuotes: true,
}

/** A character of a string, as it is or escaped. Rules that have it need {@link addJsonRules}. */
export const character = choice(oneOf(PLAIN), sequence(literal('\\'), rule('escape')))

/** What is between the quotes, and these. */
export const quotedString = (content: GrammarNode): GrammarNode =>
  sequence(literal('"'), content, literal('"'))

const singleQuoted = sequence(
  literal("'"),
  repeat(
    choice(
      oneOf(difference(PLAIN, [[0x27, 0x27]])),
      literal('"'),
      literal("\\'"),
      sequence(literal('\\'), rule('escape')),
    ),
    0,
    Infinity,
  ),
  literal("'"),
)

/** A string of `min` to `max` characters, as JSON Schema counts them. */
export const stringOfLength = (min: number, max: number): GrammarNode =>
  quotedString(repeat(character, min, max))

// More digits say nothing more about a double, and 400 of them are infinite.
export const MAX_DIGITS = 15
const digits = repeat(digit, 1, MAX_DIGITS)
const wholeNumber = choice(
  literal('0'),
  sequence(range('1', '9'), repeat(digit, 0, MAX_DIGITS - 1)),
)
const exponent = sequence(oneOfText('eE'), optional(oneOfText('+-')), repeat(digit, 1, 2))

export const INTEGER = rule('integer')
export const NUMBER = rule('number')
export const STRING = rule('string')
export const BOOLEAN = rule('boolean')
export const NULL = rule('null')
/** Any value. */
export const VALUE = rule('value')
export const OBJECT = rule('object')
export const ARRAY = rule('array')

/** A list in brackets, `separator`s between its items. */
export function list(item: GrammarNode, min: number, max: number): GrammarNode {
  const more = repeat(sequence(literal(', '), item), Math.max(min - 1, 0), max - 1)
  const items = sequence(item, more)
  return min > 0 ? items : max > 0 ? choice(items, EMPTY) : EMPTY
}

export const inBrackets = (items: GrammarNode): GrammarNode =>
  sequence(literal('['), items, literal(']'))
export const inBraces = (members: GrammarNode): GrammarNode =>
  sequence(literal('{'), members, literal('}'))
/** A property; `name` with its quotes. */
export const member = (name: GrammarNode, value: GrammarNode): GrammarNode =>
  sequence(name, literal(': '), value)

/** The rules that the nodes above refer to. */
export function addJsonRules(rules: Rules, notation = JSON_NOTATION): Rules {
  return rules
    .set('escape', choice(oneOfText('"\\/bfnrt'), unicodeEscape))
    .set(
      'string',
      notation.hasSingleQuotes
        ? choice(stringOfLength(0, Infinity), singleQuoted)
        : stringOfLength(0, Infinity),
    )
    .set('boolean', choice(literal(notation.true), literal(notation.false)))
    .set('null', literal(notation.null))
    .set('integer', sequence(optional(literal('-')), wholeNumber))
    .set(
      'number',
      sequence(
        ...[optional(literal('-')), wholeNumber],
        ...[optional(sequence(literal('.'), digits)), optional(exponent)],
      ),
    )
    .set('object', inBraces(list(member(STRING, VALUE), 0, Infinity)))
    .set('array', inBrackets(list(VALUE, 0, Infinity)))
    .set('value', choice(OBJECT, ARRAY, STRING, NUMBER, BOOLEAN, NULL))
}

/** How a grammar of plain text, without rules, is spelt inside a string. */
export function insideString(node: GrammarNode): GrammarNode {
  switch (node.kind) {
    case 'literal':
      return literal(spelt(node.text))
    case 'class':
      return choice(
        oneOf(intersection(node.set, PLAIN)),
        ...escapedCharacters(node.set).map((text) => literal(text)),
      )
    case 'sequence':
      return { ...node, items: node.items.map(insideString) }
    case 'choice':
      return { ...node, options: node.options.map(insideString) }
    case 'repeat':
      return { ...node, item: insideString(node.item) }
    case 'rule':
    case 'special':
      return node
  }
}

/** Text between the quotes of a string. */
const spelt = (text: string) => JSON.stringify(text).slice(1, -1)

function escapedCharacters(set: CodePoints): string[] {
  return intersection(set, ESCAPED_ALWAYS).flatMap(([from, to]) =>
    Array.from({ length: to - from + 1 }, (_, index) => spelt(String.fromCodePoint(from + index))),
  )
}

/** A value as these grammars space it. */
export function valueText(value: unknown, notation = JSON_NOTATION): string {
  const textOf = (one: unknown) => valueText(one, notation)
  if (Array.isArray(value)) return `[${value.map(textOf).join(', ')}]`
  if (value === null) return notation.null
  if (typeof value === 'boolean') return value ? notation.true : notation.false
  if (typeof value !== 'object') return JSON.stringify(value)
  const members = Object.entries(value).map(
    ([key, one]) => `${JSON.stringify(key)}: ${textOf(one)}`,
  )
  return `{${members.join(', ')}}`
}

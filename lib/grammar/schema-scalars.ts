// Strings, numbers and given values of a schema, as grammars.

import { choice, GrammarError, type GrammarNode, literal, NOTHING } from './grammar-node.js'
import {
  insideString,
  type Notation,
  quotedString,
  stringOfLength,
  valueText,
} from './json-nodes.js'
import {
  type Bound,
  integersBetween,
  LARGEST_BOUND,
  LARGEST_INTEGER,
  numbersBetween,
  SMALLEST_BOUND,
} from './number-range.js'
import { parseRegex, parseSearch } from './regex.js'
import {
  at,
  countOf,
  fail,
  numberOf,
  type TypeName,
  typesOf,
  unsupported,
  wrong,
} from './schema-keywords.js'
import type { JsonObject, JsonValue } from './schema-text.js'
import { STRING_FORMATS } from './string-formats.js'

// Each character takes xgrammar some 20 ms at a vocabulary of 50,000.
const MAX_LENGTH = 128

export function oneOfValues(
  values: readonly JsonValue[],
  schema: JsonObject,
  path: string,
  notation: Notation,
): GrammarNode {
  const types = schema.type === undefined ? undefined : typesOf(schema, path)
  const isOfType = (value: JsonValue) => !types || types.some((type) => hasType(value, type))
  return choice(...values.filter(isOfType).map((value) => literal(valueText(value, notation))))
}

export function hasType(value: JsonValue, type: TypeName): boolean {
  if (type === 'integer') return Number.isInteger(value)
  if (value === null) return type === 'null'
  return Array.isArray(value) ? type === 'array' : typeof value === type
}

/** How strings are written. */
export interface Spelling {
  /** Those of a grammar of plain text. */
  text(node: GrammarNode): GrammarNode
  ofLength(min: number, max: number): GrammarNode
}

const IN_JSON: Spelling = {
  text: (node) => quotedString(insideString(node)),
  ofLength: stringOfLength,
}

export function stringNode(schema: JsonObject, path: string, spelling = IN_JSON): GrammarNode {
  const min = countOf(schema, 'minLength', path)
  const max = countOf(schema, 'maxLength', path)
  const given = (['pattern', 'format'] as const).filter((keyword) => Object.hasOwn(schema, keyword))
  const length = min !== undefined ? 'minLength' : max !== undefined ? 'maxLength' : undefined
  const others = [...given, ...(length ? [length] : [])]
  if (others.length > 1) return unsupported(`"${others[1]}" beside "${others[0]}"`, path)
  if (schema.pattern !== undefined) return patternNode(schema.pattern, path, spelling)
  if (schema.format !== undefined) return formatNode(schema.format, path, spelling)
  if ((min ?? 0) > MAX_LENGTH) return unsupported(`a "minLength" above ${MAX_LENGTH}`, path)
  if ((max ?? 0) > MAX_LENGTH) return unsupported(`a "maxLength" above ${MAX_LENGTH}`, path)
  return spelling.ofLength(min ?? 0, max ?? Infinity)
}

function patternNode(pattern: JsonValue, path: string, spelling: Spelling): GrammarNode {
  if (typeof pattern !== 'string') return wrong('pattern', path, 'a string')
  try {
    return spelling.text(parseSearch(pattern))
  } catch (error) {
    if (!(error instanceof GrammarError)) throw error
    return fail(`has a "pattern" ${at(path)} that ${error.message}`)
  }
}

function formatNode(format: JsonValue, path: string, spelling: Spelling): GrammarNode {
  if (typeof format !== 'string') return wrong('format', path, 'a string')
  if (!Object.hasOwn(STRING_FORMATS, format)) {
    const known = Object.keys(STRING_FORMATS).join(', ')
    return unsupported(
      `the format ${JSON.stringify(format.slice(0, 80))} (those known are ${known})`,
      path,
    )
  }
  return spelling.text(parseRegex(STRING_FORMATS[format]!))
}

export function integerNode(schema: JsonObject, path: string): GrammarNode {
  const above = numberOf(schema, 'exclusiveMinimum', path) ?? -Infinity
  const below = numberOf(schema, 'exclusiveMaximum', path) ?? Infinity
  const min = Math.max(numberOf(schema, 'minimum', path) ?? -Infinity, Math.floor(above) + 1)
  const max = Math.min(numberOf(schema, 'maximum', path) ?? Infinity, Math.ceil(below) - 1)
  if (min > LARGEST_INTEGER || max < -LARGEST_INTEGER) {
    return unsupported('bounds that leave integers of more than 15 digits only', path)
  }
  return integersBetween(min, max)
}

export function numberNode(schema: JsonObject, path: string): GrammarNode {
  const bound = (keyword: string, isExclusive: boolean): Bound | undefined => {
    const value = numberOf(schema, keyword, path)
    if (value === undefined) return undefined
    const size = Math.abs(value)
    if (size > LARGEST_BOUND || (size > 0 && size < SMALLEST_BOUND)) {
      return unsupported(
        `a "${keyword}" of ${value} for numbers (${SMALLEST_BOUND} to ${LARGEST_BOUND} are)`,
        path,
      )
    }
    return { value, isExclusive }
  }
  // The narrower one of two; of equal ones, that which excludes its value.
  const narrower = (a: Bound | undefined, b: Bound | undefined, sign: number) =>
    a && b ? (a.value * sign > b.value * sign ? a : b) : (a ?? b)
  const low = narrower(bound('minimum', false), bound('exclusiveMinimum', true), 1)
  const high = narrower(bound('maximum', false), bound('exclusiveMaximum', true), -1)
  return low && high && low.value > high.value ? NOTHING : numbersBetween(low, high)
}

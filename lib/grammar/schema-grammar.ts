// JSON Schema as a grammar. Whatever a grammar cannot keep to is an error that names it: the result is valid under
// the schema, or the schema is refused. Where JSON Schema allows more than the grammar (any order of properties, other
// spellings of a number), what is left out is in docs/structured-output.md.

import {
  choice,
  EMPTY,
  type Grammar,
  GrammarError,
  type GrammarNode,
  literal,
  NOTHING,
  optional,
  type Rules,
  repeat,
  rule,
  sequence,
} from './grammar-node.js'
import {
  addJsonRules,
  ARRAY,
  BOOLEAN,
  INTEGER,
  inBraces,
  inBrackets,
  insideString,
  list,
  member,
  NULL,
  NUMBER,
  OBJECT,
  quotedString,
  STRING,
  stringOfLength,
  VALUE,
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
import { otherNames } from './other-names.js'
import { parseRegex, parseSearch } from './regex.js'
import { areDisjoint } from './schema-disjoint.js'
import {
  isObject,
  type JsonObject,
  type JsonValue,
  pathOf,
  plainSchema,
  resolvePointer,
} from './schema-text.js'
import { STRING_FORMATS } from './string-formats.js'

/** Without effect on what is valid. */
const ANNOTATIONS = [
  ...['title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly'],
  ...['$comment', '$defs', 'definitions'],
]
/** By the type that they are about. */
const KEYWORDS = {
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems', 'uniqueItems'],
  object: ['properties', 'required', 'additionalProperties', 'minProperties', 'maxProperties'],
} as const
/** These stand alone: what stands beside one would have to hold as well. */
const ALONE = ['$ref', 'const', 'enum', 'anyOf', 'oneOf', 'allOf'] as const
const KNOWN: ReadonlySet<string> = new Set([
  ...ANNOTATIONS,
  ...['$schema', '$id', 'type'],
  ...Object.values(KEYWORDS).flat(),
  ...ALONE,
])
const TYPES = ['string', 'number', 'integer', 'boolean', 'null', 'array', 'object'] as const
type TypeName = (typeof TYPES)[number]

const MAX_NAME = 256
const MAX_BRANCHES = 64

/**
 * A JSON Schema as a grammar of one of the texts that are valid under it.
 *
 * @throws GrammarError if it is no schema, or has a part that a grammar cannot keep to; the message names it.
 * @example schemaGrammar({ type: 'object', properties: { age: { type: 'integer' } } }, true)
 */
export function schemaGrammar(schema: unknown, isStrict: boolean): Grammar {
  return new SchemaConverter(plainSchema(schema), isStrict).grammar()
}

function fail(message: string): never {
  throw new GrammarError(message)
}

function unsupported(what: string, path: string): never {
  const where = path === '' ? 'at its root' : `at ${path}`
  return fail(
    `uses ${what} ${where}, which is not supported: leave it out, or check the result yourself`,
  )
}

function wrong(keyword: string, path: string, expected: string): never {
  return fail(
    `has a wrong ${JSON.stringify(keyword)} ${path === '' ? 'at its root' : `at ${path}`}: it must be ${expected}`,
  )
}

class SchemaConverter {
  readonly #root: JsonValue
  readonly #isStrict: boolean
  readonly #rules: Rules = addJsonRules(new Map())

  constructor(root: JsonValue, isStrict: boolean) {
    this.#root = root
    this.#isStrict = isStrict
  }

  grammar(): Grammar {
    return { root: this.#value(this.#root, '', []), rules: this.#rules }
  }

  /**
   * What is valid under a schema.
   *
   * @param open The references that led here without a character in between: one of them again would lead nowhere.
   */
  #value(schema: JsonValue, path: string, open: readonly string[]): GrammarNode {
    if (schema === true) return VALUE
    if (schema === false) return NOTHING
    if (!isObject(schema)) return fail(`must have an object or a boolean at ${path || 'its root'}`)
    checkKeywords(schema, path)
    const alone = ALONE.filter((keyword) => Object.hasOwn(schema, keyword))
    if (alone.length > 0) return this.#alone(schema, alone[0]!, path, open)
    const types = typesOf(schema, path)
    return types ? choice(...types.map((type) => this.#ofType(type, schema, path))) : VALUE
  }

  /** A part of its own: what is inside the grammar of another node is written again for each that goes on from it. */
  #named(node: GrammarNode, name: string): GrammarNode {
    this.#rules.set(name, node)
    return rule(name)
  }

  #alone(
    schema: JsonObject,
    keyword: (typeof ALONE)[number],
    path: string,
    open: readonly string[],
  ): GrammarNode {
    const beside = Object.keys(schema).find((key) => {
      const isValueType = key === 'type' && (keyword === 'enum' || keyword === 'const')
      return key !== keyword && !isValueType && !isAnnotation(key)
    })
    if (beside) {
      return unsupported(`${JSON.stringify(beside)} beside ${JSON.stringify(keyword)}`, path)
    }
    switch (keyword) {
      case '$ref':
        return this.#reference(schema.$ref!, path, open)
      case 'const':
        return oneOfValues([schema.const!], schema, path)
      case 'enum':
        if (!Array.isArray(schema.enum)) return wrong('enum', path, 'a list of values')
        return oneOfValues(schema.enum, schema, path)
      default:
        return this.#branches(schema[keyword]!, keyword, path, open)
    }
  }

  #branches(
    branches: JsonValue,
    keyword: 'anyOf' | 'oneOf' | 'allOf',
    path: string,
    open: readonly string[],
  ): GrammarNode {
    if (!Array.isArray(branches) || branches.length === 0) {
      return wrong(keyword, path, 'a list of at least one schema')
    }
    if (branches.length > MAX_BRANCHES)
      return wrong(keyword, path, `at most ${MAX_BRANCHES} schemas`)
    if (keyword === 'allOf' && branches.length > 1) {
      return unsupported('"allOf" with more than one schema', path)
    }
    if (keyword === 'oneOf') this.#checkDisjoint(branches, path)
    const nodes = branches.map((branch, index) =>
      this.#value(branch, pathOf(path, keyword, index), open),
    )
    return choice(...nodes)
  }

  #checkDisjoint(branches: readonly JsonValue[], path: string): void {
    for (const [second, other] of branches.entries()) {
      const first = branches
        .slice(0, second)
        .findIndex((one) => !areDisjoint(this.#root, one, other))
      if (first < 0) continue
      unsupported(
        `"oneOf" with schemas that one value might both be valid under (${first} and ${second}; "anyOf" is ` +
          'supported)',
        path,
      )
    }
  }

  #reference(reference: JsonValue, path: string, open: readonly string[]): GrammarNode {
    if (typeof reference !== 'string') return wrong('$ref', path, 'a string')
    if (reference !== '#' && !reference.startsWith('#/')) {
      return unsupported(
        `the "$ref" ${JSON.stringify(reference.slice(0, 80))}, which does not begin with "#/",`,
        path,
      )
    }
    if (open.includes(reference)) {
      return fail(`has a "$ref" at ${path} that leads back to itself`)
    }
    const target = resolvePointer(this.#root, reference)
    if (target === undefined) {
      return fail(
        `has a "$ref" at ${path} to ${JSON.stringify(reference.slice(0, 80))}, where nothing is`,
      )
    }
    const name = `$ref ${reference}`
    if (!this.#rules.has(name)) {
      this.#rules.set(name, NOTHING)
      this.#rules.set(name, this.#value(target, reference.slice(1), [...open, reference]))
    }
    return rule(name)
  }

  #ofType(type: TypeName, schema: JsonObject, path: string): GrammarNode {
    const has = (keywords: readonly string[]) =>
      keywords.some((keyword) => Object.hasOwn(schema, keyword))
    switch (type) {
      case 'null':
        return NULL
      case 'boolean':
        return BOOLEAN
      case 'string':
        return has(KEYWORDS.string)
          ? this.#named(stringNode(schema, path), `string ${path}`)
          : STRING
      case 'integer':
        return has(KEYWORDS.number)
          ? this.#named(integerNode(schema, path), `integer ${path}`)
          : INTEGER
      case 'number':
        return has(KEYWORDS.number)
          ? this.#named(numberNode(schema, path), `number ${path}`)
          : NUMBER
      case 'array':
        return has(KEYWORDS.array) ? this.#named(this.#array(schema, path), `array ${path}`) : ARRAY
      case 'object':
        return has(KEYWORDS.object) || this.#isStrict
          ? this.#named(this.#object(schema, path), `object ${path}`)
          : OBJECT
    }
  }

  #array(schema: JsonObject, path: string): GrammarNode {
    if (schema.uniqueItems !== undefined && schema.uniqueItems !== false)
      return unsupported('"uniqueItems"', path)
    const given = schema.prefixItems ?? []
    if (!Array.isArray(given)) return wrong('prefixItems', path, 'a list of schemas')
    if (Array.isArray(schema.items))
      return wrong('items', path, 'a schema (for a list, use "prefixItems")')
    const prefix = given.map((item, index) =>
      this.#value(item, pathOf(path, 'prefixItems', index), []),
    )
    const closed = this.#isStrict && prefix.length > 0
    const item = this.#value(schema.items ?? !closed, pathOf(path, 'items'), [])
    const min = countOf(schema, 'minItems', path) ?? (closed ? prefix.length : 0)
    const max = countOf(schema, 'maxItems', path) ?? Infinity
    if (min > max) return NOTHING
    if (prefix.length === 0) return inBrackets(list(item, min, max))
    return inBrackets(this.#tuple(prefix, item, Math.min(min, max), max))
  }

  #tuple(prefix: readonly GrammarNode[], item: GrammarNode, min: number, max: number): GrammarNode {
    const known = Math.min(prefix.length, max)
    const more = sequence(literal(', '), item)
    let rest = repeat(more, Math.max(min - known, 0), max - known)
    for (let index = known - 1; index > 0; index--) {
      const next = sequence(literal(', '), prefix[index]!, rest)
      rest = index < min ? next : optional(next)
    }
    if (known === 0) return EMPTY
    const all = sequence(prefix[0]!, rest)
    return min > 0 ? all : optional(all)
  }

  #object(schema: JsonObject, path: string): GrammarNode {
    const properties = this.#properties(schema, path)
    const extra = this.#extra(schema, path, properties)
    const { mustHaveOne, maxExtra } = boundsOf(schema, path, properties, extra)
    const count = properties.length
    const ruleOf = (part: string, index: number) => rule(`${part} ${index} ${path}`)
    const set = (part: string, index: number, node: GrammarNode) =>
      this.#rules.set(`${part} ${index} ${path}`, node)
    // Behind the last property, with and without one before.
    set('rest', count, repeat(sequence(literal(', '), extra), 0, maxExtra))
    set('first', count, list(extra, mustHaveOne ? 1 : 0, maxExtra))
    for (const [index, { name, value, isRequired }] of properties.entries()) {
      const here = sequence(member(literal(JSON.stringify(name)), value), ruleOf('rest', index + 1))
      const next = sequence(literal(', '), here)
      set('rest', index, isRequired ? next : choice(next, ruleOf('rest', index + 1)))
      set('first', index, isRequired ? here : choice(here, ruleOf('first', index + 1)))
    }
    return inBraces(ruleOf('first', 0))
  }

  #properties(schema: JsonObject, path: string): Property[] {
    const { properties = {}, required = [] } = schema
    if (!isObject(properties)) return wrong('properties', path, 'an object of schemas')
    if (!Array.isArray(required) || !required.every((name) => typeof name === 'string')) {
      return wrong('required', path, 'a list of names')
    }
    const names = [...new Set([...Object.keys(properties), ...required])]
    return names.map((name) => {
      if (name.length > MAX_NAME)
        return wrong('properties', path, `of names of at most ${MAX_NAME} characters`)
      const isRequired = required.includes(name)
      if (Object.hasOwn(properties, name)) {
        const value = this.#value(properties[name]!, pathOf(path, 'properties', name), [])
        return { name, value, isRequired }
      }
      // Asked for and not described: what is said of further properties holds, if something is.
      const further = schema.additionalProperties ?? true
      return {
        name,
        value: this.#value(further, pathOf(path, 'additionalProperties'), []),
        isRequired,
      }
    })
  }

  /** A property that is not named. */
  #extra(schema: JsonObject, path: string, properties: readonly Property[]): GrammarNode {
    const isNothingSaid = schema.properties === undefined && schema.required === undefined
    const further = schema.additionalProperties ?? (isNothingSaid || !this.#isStrict)
    const value = this.#value(further, pathOf(path, 'additionalProperties'), [])
    if (value === NOTHING) return NOTHING
    const names = properties.map(({ name }) => name)
    return member(
      names.length > 0 ? this.#named(otherNames(names), `names ${path}`) : STRING,
      value,
    )
  }
}

interface Property {
  name: string
  value: GrammarNode
  isRequired: boolean
}

const isAnnotation = (keyword: string) =>
  ANNOTATIONS.includes(keyword) ||
  keyword === '$schema' ||
  keyword === '$id' ||
  keyword.startsWith('x-')

function checkKeywords(schema: JsonObject, path: string): void {
  for (const keyword of Object.keys(schema)) {
    if (keyword.startsWith('x-')) continue
    // An `$id` further down would change what references mean.
    if (!KNOWN.has(keyword) || (keyword === '$id' && path !== '')) {
      unsupported(JSON.stringify(keyword.slice(0, 80)), path)
    }
  }
}

/** The types that a value may have; undefined: any. Without `type`, those that something is said about. */
function typesOf(schema: JsonObject, path: string): TypeName[] | undefined {
  const { type } = schema
  if (type === undefined) {
    const groups = (['string', 'number', 'array', 'object'] as const).filter((name) =>
      KEYWORDS[name].some((keyword) => Object.hasOwn(schema, keyword)),
    )
    return groups.length > 0 ? groups : undefined
  }
  const names = Array.isArray(type) ? type : [type]
  const isKnown = (name: JsonValue): name is TypeName => TYPES.some((known) => known === name)
  if (!names.every(isKnown) || names.length === 0) {
    return wrong('type', path, `one of ${TYPES.join(', ')}, or a list of these`)
  }
  // An integer is a number too.
  return names.filter((name) => name !== 'integer' || !names.includes('number'))
}

function oneOfValues(values: readonly JsonValue[], schema: JsonObject, path: string): GrammarNode {
  const types = schema.type === undefined ? undefined : typesOf(schema, path)
  const isOfType = (value: JsonValue) => !types || types.some((type) => hasType(value, type))
  return choice(...values.filter(isOfType).map((value) => literal(valueText(value))))
}

function hasType(value: JsonValue, type: TypeName): boolean {
  if (type === 'integer') return Number.isInteger(value)
  if (value === null) return type === 'null'
  return Array.isArray(value) ? type === 'array' : typeof value === type
}

/** A keyword that counts something. */
function countOf(schema: JsonObject, keyword: string, path: string): number | undefined {
  const value = schema[keyword]
  if (value === undefined) return undefined
  const isCount = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
  return isCount ? value : wrong(keyword, path, 'a whole number, at least 0')
}

function stringNode(schema: JsonObject, path: string): GrammarNode {
  const min = countOf(schema, 'minLength', path)
  const max = countOf(schema, 'maxLength', path)
  const given = (['pattern', 'format'] as const).filter((keyword) => Object.hasOwn(schema, keyword))
  const length = min !== undefined ? 'minLength' : max !== undefined ? 'maxLength' : undefined
  const others = [...given, ...(length ? [length] : [])]
  if (others.length > 1) return unsupported(`"${others[1]}" beside "${others[0]}"`, path)
  if (schema.pattern !== undefined) return patternNode(schema.pattern, path)
  if (schema.format !== undefined) return formatNode(schema.format, path)
  return stringOfLength(min ?? 0, max ?? Infinity)
}

function patternNode(pattern: JsonValue, path: string): GrammarNode {
  if (typeof pattern !== 'string') return wrong('pattern', path, 'a string')
  try {
    return quotedString(insideString(parseSearch(pattern)))
  } catch (error) {
    if (!(error instanceof GrammarError)) throw error
    return fail(`has a "pattern" at ${path || 'its root'} that ${error.message}`)
  }
}

function formatNode(format: JsonValue, path: string): GrammarNode {
  if (typeof format !== 'string') return wrong('format', path, 'a string')
  if (!Object.hasOwn(STRING_FORMATS, format)) {
    const known = Object.keys(STRING_FORMATS).join(', ')
    return unsupported(
      `the format ${JSON.stringify(format.slice(0, 80))} (those known are ${known})`,
      path,
    )
  }
  return quotedString(insideString(parseRegex(STRING_FORMATS[format]!)))
}

function numberOf(schema: JsonObject, keyword: string, path: string): number | undefined {
  const value = schema[keyword]
  if (value === undefined || typeof value === 'number') return value
  return wrong(keyword, path, 'a number')
}

function integerNode(schema: JsonObject, path: string): GrammarNode {
  const above = numberOf(schema, 'exclusiveMinimum', path) ?? -Infinity
  const below = numberOf(schema, 'exclusiveMaximum', path) ?? Infinity
  const min = Math.max(numberOf(schema, 'minimum', path) ?? -Infinity, Math.floor(above) + 1)
  const max = Math.min(numberOf(schema, 'maximum', path) ?? Infinity, Math.ceil(below) - 1)
  if (min > LARGEST_INTEGER || max < -LARGEST_INTEGER) {
    return unsupported('bounds that leave integers of more than 15 digits only', path)
  }
  return integersBetween(min, max)
}

function numberNode(schema: JsonObject, path: string): GrammarNode {
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

function boundsOf(
  schema: JsonObject,
  path: string,
  properties: readonly Property[],
  extra: GrammarNode,
): { mustHaveOne: boolean; maxExtra: number } {
  const min = countOf(schema, 'minProperties', path) ?? 0
  const max = countOf(schema, 'maxProperties', path) ?? Infinity
  const required = properties.filter(({ isRequired }) => isRequired).length
  // Names of further properties may be the same.
  if (min > Math.max(required, 1)) {
    return unsupported(
      'a "minProperties" above 1 and above the number of required properties',
      path,
    )
  }
  if (max < properties.length) {
    return unsupported('a "maxProperties" below the number of properties', path)
  }
  return { mustHaveOne: min > 0, maxExtra: extra === NOTHING ? 0 : max - properties.length }
}

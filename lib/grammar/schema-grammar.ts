// JSON Schema as a grammar. Whatever a grammar cannot keep to is an error that names it: the result is valid under
// the schema, or the schema is refused. Where JSON Schema allows more than the grammar (any order of properties, other
// spellings of a number), what is left out is in docs/structured-output.md.

import {
  choice,
  EMPTY,
  type Grammar,
  type GrammarNode,
  literal,
  NOTHING,
  optional,
  type Rules,
  repeat,
  rule,
  sequence,
} from './grammar-node.js'
import { inOrder } from './in-order.js'
import {
  addJsonRules,
  ARRAY,
  BOOLEAN,
  INTEGER,
  inBraces,
  inBrackets,
  JSON_NOTATION,
  list,
  member,
  type Notation,
  NULL,
  NUMBER,
  OBJECT,
  STRING,
  VALUE,
} from './json-nodes.js'
import { otherNames } from './other-names.js'
import { areDisjoint } from './schema-disjoint.js'
import {
  ALONE,
  at,
  checkKeywords,
  countOf,
  fail,
  isAnnotation,
  KEYWORDS,
  type TypeName,
  typesOf,
  unsupported,
  wrong,
} from './schema-keywords.js'
import { integerNode, numberNode, oneOfValues, stringNode } from './schema-scalars.js'
import {
  isObject,
  type JsonObject,
  type JsonValue,
  pathOf,
  plainSchema,
  resolvePointer,
} from './schema-text.js'

const MAX_NAME = 256
const MAX_BRANCHES = 64
/** What a schema may say of properties that it does not name. */
const UNNAMED = ['minProperties', 'maxProperties'] as const

/**
 * A JSON Schema as a grammar of one of the texts that are valid under it.
 *
 * @throws GrammarError if it is no schema, or has a part that a grammar cannot keep to; the message names it.
 * @example schemaGrammar({ type: 'object', properties: { age: { type: 'integer' } } }, true)
 */
export function schemaGrammar(schema: unknown, isStrict: boolean): Grammar {
  const rules = addJsonRules(new Map())
  return { root: new SchemaConverter(schema, { rules, isStrict }).value(), rules }
}

/** A property that an object may have. */
export interface Property {
  readonly name: string
  readonly schema: JsonValue
  readonly path: string
  readonly isRequired: boolean
}

export interface SchemaConverterOptions {
  /** Those of JSON, in the same notation; it adds its own. */
  readonly rules: Rules
  /** Tells its rules from those of other schemas. */
  readonly scope?: string
  readonly isStrict: boolean
  readonly notation?: Notation
}

/**
 * One schema of those that a grammar is about.
 *
 * @throws GrammarError as `schemaGrammar`, here and from its methods.
 * @example new SchemaConverter(schema, { rules: addJsonRules(new Map()), isStrict: true }).value()
 */
export class SchemaConverter {
  readonly #root: JsonValue
  readonly #rules: Rules
  readonly #scope: string
  readonly #isStrict: boolean
  readonly #notation: Notation

  constructor(
    schema: unknown,
    { rules, scope = '', isStrict, notation = JSON_NOTATION }: SchemaConverterOptions,
  ) {
    this.#root = plainSchema(schema)
    this.#rules = rules
    this.#scope = scope
    this.#isStrict = isStrict
    this.#notation = notation
  }

  /** What is valid under the schema. */
  value(): GrammarNode {
    return this.#value(this.#root, '', [])
  }

  /** What is valid under a schema in it, of a property. */
  valueOf({ schema, path }: Property): GrammarNode {
    return this.#value(schema, path, [])
  }

  /** The properties that it names, of a schema that says of objects no more than which they have. */
  properties(): Property[] {
    const schema = this.#root
    if (!isObject(schema)) return schema === true ? [] : fail('must be of an object')
    checkKeywords(schema, '')
    const other = [...ALONE, ...UNNAMED].find((keyword) => Object.hasOwn(schema, keyword))
    if (other) return unsupported(JSON.stringify(other), '')
    if (schema.type !== undefined && schema.type !== 'object') return wrong('type', '', '"object"')
    return this.#properties(schema, '')
  }

  /** What a `$ref` leads to, or the schema itself. */
  resolved({ schema, path }: Property): JsonValue {
    const seen: string[] = []
    let found = schema
    while (isObject(found) && typeof found.$ref === 'string') {
      found = this.#target(found.$ref, path, seen)
    }
    return found
  }

  /**
   * What is valid under a schema.
   *
   * @param open The references that led here without a character in between: one of them again would lead nowhere.
   */
  #value(schema: JsonValue, path: string, open: readonly string[]): GrammarNode {
    if (schema === true) return VALUE
    if (schema === false) return NOTHING
    if (!isObject(schema)) return fail(`must have an object or a boolean ${at(path)}`)
    checkKeywords(schema, path)
    const alone = ALONE.filter((keyword) => Object.hasOwn(schema, keyword))
    if (alone.length > 0) return this.#alone(schema, alone[0]!, path, open)
    const types = typesOf(schema, path)
    return types ? choice(...types.map((type) => this.#ofType(type, schema, path))) : VALUE
  }

  /** A part of its own: what is inside the grammar of another node is written again for each that goes on from it. */
  #named(node: GrammarNode, name: string): GrammarNode {
    this.#rules.set(this.#scope + name, node)
    return rule(this.#scope + name)
  }

  /** One for all schemas that say the same. */
  #scalar(
    type: 'string' | 'integer' | 'number',
    schema: JsonObject,
    make: () => GrammarNode,
  ): GrammarNode {
    const keywords = KEYWORDS[type === 'integer' ? 'number' : type]
    const said = keywords.filter((keyword) => Object.hasOwn(schema, keyword))
    const name = `${type} ${JSON.stringify(said.map((keyword) => [keyword, schema[keyword]]))}`
    if (!this.#rules.has(name)) this.#rules.set(name, make())
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
        return oneOfValues([schema.const!], schema, path, this.#notation)
      case 'enum':
        if (!Array.isArray(schema.enum)) return wrong('enum', path, 'a list of values')
        return oneOfValues(schema.enum, schema, path, this.#notation)
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
    const seen = [...open]
    const target = this.#target(reference, path, seen)
    const name = `${this.#scope}$ref ${reference}`
    if (!this.#rules.has(name)) {
      this.#rules.set(name, NOTHING)
      this.#rules.set(name, this.#value(target, reference.slice(1), seen))
    }
    return rule(name)
  }

  /** What a reference leads to, which is none of `seen` and added to these. */
  #target(reference: string, path: string, seen: string[]): JsonValue {
    if (reference !== '#' && !reference.startsWith('#/')) {
      return unsupported(
        `the "$ref" ${JSON.stringify(reference.slice(0, 80))}, which does not begin with "#/",`,
        path,
      )
    }
    if (seen.includes(reference)) {
      return fail(`has a "$ref" ${at(path)} that leads back to itself`)
    }
    const target = resolvePointer(this.#root, reference)
    if (target === undefined) {
      return fail(
        `has a "$ref" ${at(path)} to ${JSON.stringify(reference.slice(0, 80))}, where nothing is`,
      )
    }
    seen.push(reference)
    return target
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
          ? this.#scalar('string', schema, () => stringNode(schema, path))
          : STRING
      case 'integer':
        return has(KEYWORDS.number)
          ? this.#scalar('integer', schema, () => integerNode(schema, path))
          : INTEGER
      case 'number':
        return has(KEYWORDS.number)
          ? this.#scalar('number', schema, () => numberNode(schema, path))
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
    const parts = properties.map((property) => ({
      node: member(literal(JSON.stringify(property.name)), this.valueOf(property)),
      isRequired: property.isRequired,
    }))
    const end = {
      behind: repeat(sequence(literal(', '), extra), 0, maxExtra),
      alone: list(extra, mustHaveOne ? 1 : 0, maxExtra),
    }
    return inBraces(inOrder(parts, { rules: this.#rules, name: this.#scope + path, end }))
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
        return {
          name,
          schema: properties[name]!,
          path: pathOf(path, 'properties', name),
          isRequired,
        }
      }
      // Asked for and not described: what is said of further properties holds, if something is.
      const further = schema.additionalProperties ?? true
      return { name, schema: further, path: pathOf(path, 'additionalProperties'), isRequired }
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

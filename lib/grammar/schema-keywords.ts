// The keywords of JSON Schema that grammars know, their values, and errors about them.

import { GrammarError } from './grammar-node.js'
import type { JsonObject, JsonValue } from './schema-text.js'

/** Without effect on what is valid. */
const ANNOTATIONS = [
  ...['title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly'],
  ...['$comment', '$defs', 'definitions'],
]
/** By the type that they are about. */
export const KEYWORDS = {
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems', 'uniqueItems'],
  object: ['properties', 'required', 'additionalProperties', 'minProperties', 'maxProperties'],
} as const
/** These stand alone: what stands beside one would have to hold as well. */
export const ALONE = ['$ref', 'const', 'enum', 'anyOf', 'oneOf', 'allOf'] as const
const KNOWN: ReadonlySet<string> = new Set([
  ...ANNOTATIONS,
  ...['$schema', '$id', 'type'],
  ...Object.values(KEYWORDS).flat(),
  ...ALONE,
])
const TYPES = ['string', 'number', 'integer', 'boolean', 'null', 'array', 'object'] as const
export type TypeName = (typeof TYPES)[number]

/** @throws GrammarError which says what is the matter. */
export function fail(message: string): never {
  throw new GrammarError(message)
}

/** Where, in a message. */
export const at = (path: string) => (path === '' ? 'at its root' : `at ${path}`)

/** @throws GrammarError that a part of a schema is right, but nothing that a grammar keeps to. */
export function unsupported(what: string, path: string): never {
  return fail(
    `uses ${what} ${at(path)}, which is not supported: leave it out, or check the result yourself`,
  )
}

/** @throws GrammarError that a part of a schema is none. */
export function wrong(keyword: string, path: string, expected: string): never {
  return fail(`has a wrong ${JSON.stringify(keyword)} ${at(path)}: it must be ${expected}`)
}

/** Whether a keyword may stand beside any other. */
export const isAnnotation = (keyword: string) =>
  ANNOTATIONS.includes(keyword) ||
  keyword === '$schema' ||
  keyword === '$id' ||
  keyword.startsWith('x-')

/** @throws GrammarError for a keyword that grammars do not know. */
export function checkKeywords(schema: JsonObject, path: string): void {
  for (const keyword of Object.keys(schema)) {
    if (keyword.startsWith('x-')) continue
    // An `$id` further down would change what references mean.
    if (!KNOWN.has(keyword) || (keyword === '$id' && path !== '')) {
      unsupported(JSON.stringify(keyword.slice(0, 80)), path)
    }
  }
}

/** The types that a value may have; undefined: any. Without `type`, those that something is said about. */
export function typesOf(schema: JsonObject, path: string): TypeName[] | undefined {
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

/** A keyword that counts something. */
export function countOf(schema: JsonObject, keyword: string, path: string): number | undefined {
  const value = schema[keyword]
  if (value === undefined) return undefined
  const isCount = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
  return isCount ? value : wrong(keyword, path, 'a whole number, at least 0')
}

/** A keyword that is a number. */
export function numberOf(schema: JsonObject, keyword: string, path: string): number | undefined {
  const value = schema[keyword]
  if (value === undefined || typeof value === 'number') return value
  return wrong(keyword, path, 'a number')
}

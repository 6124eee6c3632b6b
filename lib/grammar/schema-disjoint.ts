// Whether a value can be valid under two schemas: `oneOf` forbids what a grammar, which can only choose, would not.

import {
  isObject,
  type JsonObject,
  type JsonValue,
  resolvePointer,
  valueKey,
} from './schema-text.js'

const TYPES = ['string', 'number', 'integer', 'boolean', 'null', 'array', 'object'] as const
const MAX_DEPTH = 8

/**
 * Whether no value is valid under both, as far as their types, `const` and `enum`, and those of properties that both
 * require tell.
 *
 * @example areDisjoint(root, { type: 'string' }, { type: 'null' })
 */
export function areDisjoint(root: JsonValue, a: JsonValue, b: JsonValue, depth = 0): boolean {
  if (a === false || b === false) return true
  const [one, other] = [resolved(root, a), resolved(root, b)]
  if (!one || !other || depth > MAX_DEPTH) return false
  const [values, others] = [valuesOf(one), valuesOf(other)]
  if (values && others) return !values.some((value) => others.includes(value))
  const [types, otherTypes] = [typesOf(one), typesOf(other)]
  if (!types.some((type) => otherTypes.includes(type))) return true
  if (types.join() !== 'object' || otherTypes.join() !== 'object') return false
  return requiredOf(one).some((name) => {
    const [mine, theirs] = [propertyOf(one, name), propertyOf(other, name)]
    const isShared = requiredOf(other).includes(name)
    return (
      isShared &&
      mine !== undefined &&
      theirs !== undefined &&
      areDisjoint(root, mine, theirs, depth + 1)
    )
  })
}

/** Behind references; undefined where there are too many, or the schema is no object. */
function resolved(root: JsonValue, schema: JsonValue): JsonObject | undefined {
  let found: JsonValue | undefined = schema
  for (let count = 0; count < MAX_DEPTH; count++) {
    if (!isObject(found)) return undefined
    if (typeof found.$ref !== 'string') return found
    found = resolvePointer(root, found.$ref)
  }
  return undefined
}

function valuesOf(schema: JsonObject): string[] | undefined {
  if (schema.const !== undefined) return [valueKey(schema.const)]
  return Array.isArray(schema.enum) ? schema.enum.map(valueKey) : undefined
}

/** The types that a value may have; an integer is a number. */
function typesOf(schema: JsonObject): string[] {
  const { type, const: only, enum: several } = schema
  const values = only !== undefined ? [only] : Array.isArray(several) ? several : undefined
  const given: readonly string[] = values
    ? values.map(typeOf)
    : typeof type === 'string'
      ? [type]
      : Array.isArray(type)
        ? type.map(String)
        : TYPES
  return [...new Set(given.map((name) => (name === 'integer' ? 'number' : name)))]
}

function typeOf(value: JsonValue): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

function requiredOf({ required }: JsonObject): string[] {
  return Array.isArray(required) ? required.filter((name) => typeof name === 'string') : []
}

function propertyOf({ properties }: JsonObject, name: string): JsonValue | undefined {
  return isObject(properties) && Object.hasOwn(properties, name) ? properties[name] : undefined
}

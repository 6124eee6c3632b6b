// Values between the tags of a parameter as grammars, such as `valueOfText` reads back.

import { ANY, difference } from '../../grammar/code-points.js'
import {
  choice,
  type GrammarNode,
  literal,
  NOTHING,
  oneOf,
  repeat,
  type Rules,
  sequence,
} from '../../grammar/grammar-node.js'
import type { Property, SchemaConverter } from '../../grammar/schema-grammar.js'
import { isAnnotation, KEYWORDS, typesOf, unsupported } from '../../grammar/schema-keywords.js'
import { type Spelling, stringNode } from '../../grammar/schema-scalars.js'
import { isObject, type JsonObject, type JsonValue, pathOf } from '../../grammar/schema-text.js'
import { textThrough } from '../../grammar/text-through.js'
import { PARAMETER_END } from './xml-calls.js'
import { textOfValue } from './xml-values.js'

/** One of the kinds of values that a schema allows. */
type Alternative =
  /** Any string. */
  | { readonly kind: 'text' }
  /** Some strings, as they are. */
  | { readonly kind: 'strings'; readonly node: GrammarNode }
  /** Values some of which are strings. */
  | { readonly kind: 'listed'; readonly node: GrammarNode }
  /** All values of a type that has no strings. */
  | { readonly kind: 'plain'; readonly node: GrammarNode }
  /** Others without strings. */
  | { readonly kind: 'other' }

/**
 * A value and the tag behind it: strings as they are, all else as JSON.
 *
 * @throws GrammarError for what a schema cannot say, and where a text would not tell which value it stands for.
 */
export function taggedValue(
  converter: SchemaConverter,
  property: Property,
  rules: Rules,
): GrammarNode {
  const end = literal(`\n${PARAMETER_END}`)
  const json = converter.valueOf(property)
  const kinds = alternatives(converter, property, new Set())
  if (kinds.every(({ kind }) => kind === 'plain' || kind === 'other')) {
    const schema = converter.resolved(property)
    const isBoolean = isObject(schema) && schema.type === 'boolean'
    return sequence(isBoolean ? choice(json, literal('True'), literal('False')) : json, end)
  }
  if (kinds.length > 1 && kinds.some(({ kind }) => kind === 'other' || kind === 'listed')) {
    return unsupported(
      'strings beside other values than all numbers, true, false or null',
      property.path,
    )
  }
  if (kinds.some(({ kind }) => kind === 'text')) return textThrough(PARAMETER_END, rules)
  const nodes = kinds.map((one) => ('node' in one ? one.node : NOTHING))
  return sequence(choice(...nodes), end)
}

/** @param seen References that were followed: again they would add nothing. */
function alternatives(
  converter: SchemaConverter,
  property: Property,
  seen: Set<JsonValue>,
): Alternative[] {
  const reference = isObject(property.schema) ? property.schema.$ref : undefined
  if (reference !== undefined) {
    if (seen.has(reference)) return []
    seen.add(reference)
  }
  const schema = converter.resolved(property)
  if (schema === false) return []
  if (!isObject(schema)) return [{ kind: 'text' }]
  for (const keyword of ['anyOf', 'oneOf', 'allOf'] as const) {
    const branches = schema[keyword]
    if (!Array.isArray(branches)) continue
    return branches.flatMap((branch, index) => {
      const path = pathOf(property.path, keyword, index)
      return alternatives(converter, { ...property, schema: branch, path }, seen)
    })
  }
  if (Array.isArray(schema.enum)) return [listed(schema.enum, property.path)]
  if (schema.const !== undefined) return [listed([schema.const], property.path)]
  const types = typesOf(schema, property.path)
  if (!types) return [{ kind: 'text' }]
  return types.map((type) => {
    if (type === 'string') return ofString(schema, property.path)
    const isPlain = type !== 'object' && type !== 'array' && isOfTypeOnly(schema)
    const node = isPlain ? converter.valueOf({ ...property, schema: { type } }) : undefined
    return node ? { kind: 'plain', node } : { kind: 'other' }
  })
}

function listed(values: readonly JsonValue[], path: string): Alternative {
  const texts = values.map(textOfValue)
  if (texts.some((text) => text.includes(PARAMETER_END))) {
    return unsupported(`a text with ${PARAMETER_END}`, path)
  }
  const strings = values.filter((value) => typeof value === 'string').length
  if (strings === 0) return { kind: 'other' }
  const node = choice(...texts.map(literal))
  return { kind: strings === values.length ? 'strings' : 'listed', node }
}

function ofString(schema: JsonObject, path: string): Alternative {
  const isAny = !KEYWORDS.string.some((keyword) => Object.hasOwn(schema, keyword))
  return isAny ? { kind: 'text' } : { kind: 'strings', node: stringNode(schema, path, AS_IT_IS) }
}

const isOfTypeOnly = (schema: JsonObject) =>
  Object.keys(schema).every((keyword) => keyword === 'type' || isAnnotation(keyword))

// A tag in a text would end it.
const LESS_THAN = [[0x3c, 0x3c]] as const

const AS_IT_IS: Spelling = {
  text: withoutTags,
  ofLength: (min, max) => repeat(oneOf(difference(ANY, LESS_THAN)), min, max),
}

function withoutTags(node: GrammarNode): GrammarNode {
  switch (node.kind) {
    case 'literal':
      return node.text.includes('<') ? NOTHING : node
    case 'class':
      return oneOf(difference(node.set, LESS_THAN))
    case 'sequence':
      return { ...node, items: node.items.map(withoutTags) }
    case 'choice':
      return { ...node, options: node.options.map(withoutTags) }
    case 'repeat':
      return { ...node, item: withoutTags(node.item) }
    default:
      return node
  }
}

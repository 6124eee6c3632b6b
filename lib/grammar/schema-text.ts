// Takes a schema through JSON: what is read afterwards is data, whatever the object was, and no larger than it may be.

import { GrammarError } from './grammar-node.js'

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | JsonValue[]
  | { [key: string]: JsonValue }
export type JsonObject = { [key: string]: JsonValue }

const MAX_CHARACTERS = 65_536
const MAX_NODES = 5_000
const MAX_DEPTH = 64

/**
 * The schema as plain data.
 *
 * @throws GrammarError if it is no JSON, or too large.
 * @example plainSchema({ type: 'string' })
 */
export function plainSchema(schema: unknown): JsonValue {
  let nodes = 0
  const counted = (_: string, value: unknown) => {
    if (++nodes > MAX_NODES) throw new GrammarError(`has more than ${MAX_NODES} parts`)
    return value
  }
  let text: string | undefined
  try {
    text = JSON.stringify(schema, counted)
  } catch (error) {
    if (error instanceof GrammarError) throw error
    throw new GrammarError(`is no JSON: ${String((error as Error)?.message ?? error)}`)
  }
  if (text === undefined) throw new GrammarError('is no JSON')
  if (text.length > MAX_CHARACTERS) {
    throw new GrammarError(
      `has ${text.length} characters, but ${MAX_CHARACTERS} is as large as it may be`,
    )
  }
  const plain = JSON.parse(text) as JsonValue
  checkDepth(plain, 0)
  return plain
}

function checkDepth(value: JsonValue, depth: number): void {
  if (typeof value !== 'object' || value === null) return
  if (depth === MAX_DEPTH) throw new GrammarError(`is more than ${MAX_DEPTH} levels deep`)
  for (const inner of Object.values(value)) checkDepth(inner, depth + 1)
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What a local reference points to: undefined where nothing is. */
export function resolvePointer(root: JsonValue, reference: string): JsonValue | undefined {
  let value: JsonValue | undefined = root
  for (const part of pointerParts(reference)) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    value = (value as JsonObject)[part]
  }
  return value
}

function pointerParts(reference: string): string[] {
  const decoded = safelyDecoded(reference.slice(1))
  return decoded
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function safelyDecoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** A path one level further down. */
export const pathOf = (path: string, ...parts: (string | number)[]): string =>
  [path, ...parts.map((part) => String(part).replaceAll('~', '~0').replaceAll('/', '~1'))].join('/')

/** Equal for equal values, whatever the order of their properties. */
export function valueKey(value: JsonValue): string {
  return JSON.stringify(value, (_, inner: JsonValue) =>
    isObject(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}

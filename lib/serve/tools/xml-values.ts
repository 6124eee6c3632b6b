// Values between the tags of a parameter: texts as they are, all others as JSON. Which it is, the schema says.

/** What a schema allows, as far as its values can be told apart. */
export interface ValueKinds {
  /** Names of JSON Schema; undefined where it says nothing. */
  readonly types: ReadonlySet<string> | undefined
  /** All values, where they are listed. */
  readonly values: readonly unknown[] | undefined
}

type Json = Readonly<Record<string, unknown>>

/** As Python prints them: templates do that with values of earlier calls. */
const PYTHON_WORDS: Readonly<Record<string, unknown>> = { True: true, False: false, None: null }

/**
 * The value that a text stands for.
 *
 * @example valueOfText('3', { types: new Set(['integer']), values: undefined }) // 3
 */
export function valueOfText(text: string, { types, values }: ValueKinds): unknown {
  const listed = values?.find((value) => textOfValue(value) === text)
  if (listed !== undefined) return listed
  if (!types?.size || (types.size === 1 && types.has('string'))) return text
  const value = jsonOf(text)
  if (value === undefined) return text
  const isAllowed = !types.has('string') || (typeof value !== 'string' && types.has(typeOf(value)))
  return isAllowed ? value : text
}

/** Whether a text is one of a value that is no text. */
export const isJsonText = (text: string) => jsonOf(text) !== undefined

/** How a value is written. */
export const textOfValue = (value: unknown) =>
  typeof value === 'string' ? value : JSON.stringify(value)

/** What `schema`, a part of `root`, allows. Nothing is thrown for what is no schema. */
export function valueKinds(schema: unknown, root: unknown): ValueKinds {
  return kindsOf(schema, { root, seen: new Set() }) ?? { types: undefined, values: undefined }
}

interface Known {
  readonly root: unknown
  /** References that were followed: again they would add nothing. */
  readonly seen: Set<string>
}

/** Undefined where it says nothing. */
function kindsOf(schema: unknown, known: Known): ValueKinds | undefined {
  const { $ref, anyOf, oneOf, allOf, type, enum: listed } = (schema ?? {}) as Json
  if (typeof $ref === 'string') {
    if (known.seen.has($ref)) return { types: new Set(), values: [] }
    known.seen.add($ref)
    return kindsOf(pointed(known.root, $ref), known)
  }
  const branches = [anyOf, oneOf, allOf].find(Array.isArray)
  if (branches) {
    const kinds = branches.map((branch) => kindsOf(branch, known))
    if (!kinds.every((one) => one !== undefined)) return undefined
    const types = new Set(kinds.flatMap((one) => [...one.types!]))
    return { types, values: kinds.flatMap((one) => one.values ?? []) }
  }
  const hasConst = Object.hasOwn((schema ?? {}) as Json, 'const')
  const values = Array.isArray(listed) ? listed : hasConst ? [(schema as Json).const] : undefined
  if (values) return { types: new Set(values.map(typeOf)), values }
  const names = (Array.isArray(type) ? type : [type]).filter((name) => typeof name === 'string')
  return names.length === 0 ? undefined : { types: new Set(names.map(common)), values: undefined }
}

/** An integer is a number. */
const common = (type: string) => (type === 'integer' ? 'number' : type)

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

function pointed(root: unknown, reference: string): unknown {
  let found = root
  for (const part of reference
    .replace(/^#\/?/, '')
    .split('/')
    .filter((name) => name !== '')) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, name)) return undefined
    found = (found as Json)[name]
  }
  return found
}

function jsonOf(text: string): unknown {
  if (Object.hasOwn(PYTHON_WORDS, text)) return PYTHON_WORDS[text]
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

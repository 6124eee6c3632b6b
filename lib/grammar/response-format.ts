// The formats that outputs can be asked for, as grammars.

import { describe } from '../support/option-checks.js'
import { parseEbnf } from './ebnf.js'
import { emitGrammar } from './emit.js'
import { type Grammar, GrammarError } from './grammar-node.js'
import { addJsonRules, OBJECT } from './json-nodes.js'
import { parseRegex } from './regex.js'
import { schemaGrammar } from './schema-grammar.js'

/** What an output must look like, other than any text. */
export type ConstrainedFormat =
  /** A JSON object. */
  | { type: 'json' }
  /** A JSON value that is valid under a JSON Schema. */
  | {
      type: 'json_schema'
      schema: object | boolean
      /**
       * Whether objects have the properties only that their schema names, where it does not say
       * `additionalProperties`. Defaults to `true`, against JSON Schema's own default.
       */
      strict?: boolean | undefined
    }
  /** The whole text matches a regular expression, as JavaScript writes it (with the flags `su`). */
  | { type: 'regex'; pattern: string }
  /** The whole text matches the rule `root` of a grammar in GBNF. */
  | { type: 'grammar'; grammar: string }

/** What an output must look like. */
export type ResponseFormat = { type: 'text' } | ConstrainedFormat

const KEYS: Record<ResponseFormat['type'], readonly string[]> = {
  text: [],
  json: [],
  json_schema: ['schema', 'strict'],
  regex: ['pattern'],
  grammar: ['grammar'],
}

/**
 * Checks the shape of a `responseFormat`, not what is in it.
 *
 * @throws TypeError if it is none.
 * @example checkResponseFormat('generate', { type: 'json' })
 */
export function checkResponseFormat(operation: string, value: unknown): ResponseFormat {
  const format = value as Record<string, unknown> | null
  const type = typeof format === 'object' && format !== null ? format.type : undefined
  const keys =
    typeof type === 'string' && Object.hasOwn(KEYS, type)
      ? KEYS[type as keyof typeof KEYS]
      : undefined
  if (!format || !keys) {
    const types = Object.keys(KEYS).join(', ')
    throw new TypeError(
      `[${operation}] responseFormat must be an object whose type is one of ${types} but is ` +
        (type === undefined ? describe(value) : `of type ${describe(type)}`),
    )
  }
  for (const key of Object.keys(format)) {
    if (key === 'type' || keys.includes(key)) continue
    throw new TypeError(
      `[${operation}] responseFormat of type ${type} has no ${JSON.stringify(key)}` +
        (keys.length > 0 ? `; it has ${keys.join(', ')}` : ''),
    )
  }
  checkParts(operation, format)
  return format as unknown as ResponseFormat
}

function checkParts(
  operation: string,
  { type, schema, strict, ...texts }: Record<string, unknown>,
): void {
  const wrong = (part: string, expected: string, got: unknown) =>
    new TypeError(
      `[${operation}] responseFormat.${part} must be ${expected} but is ${describe(got)}`,
    )
  if (type === 'json_schema') {
    const isSchema =
      typeof schema === 'boolean' ||
      (typeof schema === 'object' && schema && !Array.isArray(schema))
    if (!isSchema) throw wrong('schema', 'a JSON Schema', schema)
    if (strict !== undefined && typeof strict !== 'boolean')
      throw wrong('strict', 'true or false', strict)
  }
  const part = type === 'regex' ? 'pattern' : type === 'grammar' ? 'grammar' : undefined
  if (part && typeof texts[part] !== 'string') throw wrong(part, 'a string', texts[part])
}

/**
 * A format as xgrammar takes it.
 *
 * @throws TypeError or RangeError if it is none, or cannot be kept to; the message says where.
 * @example grammarOf('generate', { type: 'regex', pattern: 'yes|no' })
 */
export function grammarOf(operation: string, format: ConstrainedFormat): string {
  checkResponseFormat(operation, format)
  const [part, read] = reading(format)
  try {
    return emitGrammar(read())
  } catch (error) {
    if (!(error instanceof GrammarError)) throw error
    throw new RangeError(`[${operation}] responseFormat${part} ${error.message}`, { cause: error })
  }
}

/** Where a format has its grammar, and how that is read. */
function reading(format: ConstrainedFormat): [string, () => Grammar] {
  switch (format.type) {
    case 'json':
      return ['', () => ({ root: OBJECT, rules: addJsonRules(new Map()) })]
    case 'json_schema':
      return ['.schema', () => schemaGrammar(format.schema, format.strict ?? true)]
    case 'regex':
      return ['.pattern', () => ({ root: parseRegex(format.pattern), rules: new Map() })]
    case 'grammar':
      return ['.grammar', () => parseEbnf(format.grammar)]
  }
}

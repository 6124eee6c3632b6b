// Calls of tools that a model has written, in the forms that published templates ask for.

import { parsePythonCalls } from './python-calls.js'
import { parseXmlCalls } from './xml-calls.js'

/** A call as the model wrote it. */
export interface WrittenCall {
  readonly name: string
  readonly arguments: Readonly<Record<string, unknown>>
}

/** A tool that a request offers. */
export interface OfferedTool {
  readonly name: string
  readonly description?: string | undefined
  /** JSON schema of the arguments; without it there are none. */
  readonly parameters?: Readonly<Record<string, unknown>> | undefined
}

/** How a model writes calls: between two tags, one block a call or one for all. */
export interface CallFormat {
  readonly open: string
  readonly close: string
  /** What a forced call has between the tag and its JSON. */
  readonly lead?: string
  /** The calls of a block; undefined for what is none. */
  parse(block: string, tools: readonly OfferedTool[]): WrittenCall[] | undefined
  /** The schema of a block whose text is JSON: such a one can be forced. */
  schemaOf?(tools: readonly OfferedTool[]): object
}

/** `{"name": ..., "arguments": {...}}`: Granite, Qwen 2.5 and 3, Hermes. */
const JSON_CALLS: CallFormat = {
  open: '<tool_call>',
  close: '</tool_call>',
  lead: '\n',
  parse: (block) => jsonCalls(block),
  schemaOf: (tools) => anyOf(tools.map(callSchema)),
}

/** `[{"name": ..., "arguments": {...}}]`: Nemotron-H and Nemotron Nano 2. */
const JSON_LIST: CallFormat = {
  open: '<TOOLCALL>',
  close: '</TOOLCALL>',
  parse: (block) => jsonCalls(block),
  schemaOf: (tools) => ({
    type: 'array',
    items: anyOf(tools.map(callSchema)),
    minItems: 1,
    maxItems: 1,
  }),
}

/** `[name(key="value")]`: LFM2. */
const PYTHON_CALLS: CallFormat = {
  open: '<|tool_call_start|>',
  close: '<|tool_call_end|>',
  parse: (block) => parsePythonCalls(block) ?? jsonCalls(block),
}

/** `<function=name><parameter=key>value</parameter></function>`: Qwen 3.5, Qwen3-Coder, Nemotron 3. */
const XML_CALLS: CallFormat = {
  open: '<tool_call>',
  close: '</tool_call>',
  parse: (block, tools) => parseXmlCalls(block, tools) ?? jsonCalls(block),
}

/**
 * The form that a template asks for; undefined where it is not known.
 *
 * @example callFormatOf(model.chatTemplate.text)?.open // '<tool_call>'
 */
export function callFormatOf(template: string): CallFormat | undefined {
  if (template.includes('<TOOLCALL>')) return JSON_LIST
  if (template.includes('<function=')) return XML_CALLS
  if (/<\|tool_(?:call|list)_start\|>/.test(template)) return PYTHON_CALLS
  return template.includes('<tool_call>') ? JSON_CALLS : undefined
}

function jsonCalls(block: string): WrittenCall[] | undefined {
  let value: unknown
  try {
    value = JSON.parse(block)
  } catch {
    return undefined
  }
  const calls = (Array.isArray(value) ? value : [value]).map(callOf)
  return calls.every((call) => call !== undefined) ? calls : undefined
}

function callOf(value: unknown): WrittenCall | undefined {
  const { name, arguments: given = {} } = (value ?? {}) as Record<string, unknown>
  const isObject = typeof given === 'object' && given !== null && !Array.isArray(given)
  if (typeof name !== 'string' || !isObject) return undefined
  return { name, arguments: given as Record<string, unknown> }
}

function callSchema({ name, parameters }: OfferedTool): object {
  return {
    type: 'object',
    properties: { name: { const: name }, arguments: parameters ?? { type: 'object' } },
    required: ['name', 'arguments'],
    additionalProperties: false,
  }
}

const anyOf = (schemas: readonly object[]) =>
  schemas.length === 1 ? schemas[0]! : { anyOf: schemas }

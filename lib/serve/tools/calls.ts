// The forms that published templates ask for calls in.

import { valueText } from '../../grammar/json-nodes.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import { type BlockEnd, JSON_QUOTING, QuotedBlockEnd, TaggedBlockEnd } from './block-end.js'
import type { OfferedTool, WrittenCall } from './call.js'
import { type CallGrammar, JSON_GRAMMAR, PYTHON_GRAMMAR, XML_GRAMMAR } from './call-grammar.js'
import { parseJsonCalls } from './json-calls.js'
import { parsePythonCalls, PYTHON_QUOTING, pythonCall } from './python-calls.js'
import { PARAMETER_END, parseXmlCalls, xmlCall } from './xml-calls.js'

export type { OfferedTool, WrittenCall } from './call.js'

/** How a model writes calls: between two tags, one block a call or one for all. */
export interface CallFormat {
  readonly open: string
  readonly close: string
  /** What stands between a tag and a call, before and behind it. */
  readonly around: readonly [before: string, behind: string]
  /** What stands between two calls of a block; undefined where each has a block of its own. */
  readonly between?: string
  /** A call within a block. */
  readonly grammar: CallGrammar
  /** Looks for the end of a block. */
  blockEnd(): BlockEnd
  /** The calls of a block; undefined for what is none. */
  parse(block: string, tools: readonly OfferedTool[]): WrittenCall[] | undefined
  write(call: WrittenCall): string
}

const TOOL_CALL = { open: '<tool_call>', close: '</tool_call>', around: ['\n', '\n'] } as const

/** `{"name": ..., "arguments": {...}}`: Granite, Qwen 2.5 and 3, Hermes. */
const JSON_CALLS: CallFormat = {
  ...TOOL_CALL,
  grammar: JSON_GRAMMAR,
  blockEnd: () => new QuotedBlockEnd(TOOL_CALL.close, JSON_QUOTING),
  parse: parseJsonCalls,
  write: ({ name, arguments: given }) => valueText({ name, arguments: given }),
}

/** `[{"name": ..., "arguments": {...}}]`: Nemotron-H and Nemotron Nano 2. */
const JSON_LIST: CallFormat = {
  ...JSON_CALLS,
  open: '<TOOLCALL>',
  close: '</TOOLCALL>',
  around: ['[', ']'],
  between: ', ',
  blockEnd: () => new QuotedBlockEnd('</TOOLCALL>', JSON_QUOTING),
}

/** `[name(key="value")]`: LFM2. */
const PYTHON_CALLS: CallFormat = {
  open: '<|tool_call_start|>',
  close: '<|tool_call_end|>',
  around: ['[', ']'],
  between: ', ',
  grammar: PYTHON_GRAMMAR,
  blockEnd: () => new QuotedBlockEnd('<|tool_call_end|>', PYTHON_QUOTING),
  parse: (block) => parsePythonCalls(block) ?? parseJsonCalls(block),
  write: pythonCall,
}

/** `<function=name><parameter=key>value</parameter></function>`: Qwen 3.5, Qwen3-Coder, Nemotron 3. */
const XML_CALLS: CallFormat = {
  ...TOOL_CALL,
  grammar: XML_GRAMMAR,
  blockEnd: () => new TaggedBlockEnd(TOOL_CALL.close, ['<parameter=', PARAMETER_END]),
  parse: (block, tools) => parseXmlCalls(block, tools) ?? parseJsonCalls(block),
  write: xmlCall,
}

/**
 * The form that a template asks for, or the tokens of its model; undefined where it is not known.
 *
 * @example callFormatOf(model.chatTemplate.text, model.tokenizer)?.open // '<tool_call>'
 */
export function callFormatOf(
  template: string,
  tokenizer?: Pick<Tokenizer, 'specialTokenId'>,
): CallFormat | undefined {
  if (template.includes('<TOOLCALL>')) return JSON_LIST
  if (template.includes('<function=')) return XML_CALLS
  if (/<\|tool_(?:call|list)_start\|>/.test(template)) return PYTHON_CALLS
  if (template.includes('<tool_call>')) return JSON_CALLS
  // Some of LFM2.5's templates list the tools, and say nothing of calls.
  const isListed = /\btools\b/.test(template)
  const hasTag = tokenizer?.specialTokenId(PYTHON_CALLS.open) !== undefined
  return isListed && hasTag ? PYTHON_CALLS : undefined
}

/** Calls as the model would have written them, tags included. */
export function writtenCalls(format: CallFormat, calls: readonly WrittenCall[]): string {
  const { open, close, around, between } = format
  const block = (text: string) => open + around[0] + text + around[1] + close
  const texts = calls.map((call) => format.write(call))
  return between === undefined ? texts.map(block).join('\n') : block(texts.join(between))
}

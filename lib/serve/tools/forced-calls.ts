// What an answer has to match where a tool has to be called.

import { ANY } from '../../grammar/code-points.js'
import { emitGrammar } from '../../grammar/emit.js'
import {
  choice,
  EMPTY,
  GrammarError,
  type GrammarNode,
  literal,
  oneOf,
  optional,
  repeat,
  type Rules,
  rule,
  sequence,
  special,
} from '../../grammar/grammar-node.js'
import { addJsonRules } from '../../grammar/json-nodes.js'
import { textThrough } from '../../grammar/text-through.js'
import type { ReasoningTags } from '../../generation/reasoning.js'
import { badField } from '../api-error.js'
import type { OfferedTool } from './call.js'
import type { CallFormat } from './calls.js'

// Some hundred tools of a dozen parameters.
const MAX_RULES = 10_000

export interface ForcedCalls {
  readonly format: CallFormat
  /** One of these has to be called. */
  readonly tools: readonly OfferedTool[]
  /** Whether several calls may be made. */
  readonly isParallel: boolean
  /** The id of a text that is a special token. */
  specialTokenId(text: string): number | undefined
}

/** Where the thoughts of a model are when its answer begins. */
export interface BeforeCalls {
  readonly tags: ReasoningTags
  /** The prompt has opened them. */
  readonly isOpened: boolean
  /** The prompt has closed them again. */
  readonly isClosed: boolean
}

/**
 * The grammar of an answer that consists of calls, and of thoughts before them.
 *
 * @throws ApiError 400 for parameters whose schema cannot be kept to.
 * @example forcedCalls({ format, tools, isParallel: false, specialTokenId: () => undefined }, undefined)
 */
export function forcedCalls(forced: ForcedCalls, before: BeforeCalls | undefined): string {
  const { format, tools } = forced
  const rules = addJsonRules(new Map(), format.grammar.notation)
  const calls = tools.map((tool, index) => callOf(format, tool, rules, `tool ${index} `))
  rules.set('call', choice(...calls))
  const root = sequence(thoughts(before, rules), blocks(forced, rules))
  try {
    return emitGrammar({ root, rules }, MAX_RULES)
  } catch (error) {
    if (!(error instanceof GrammarError)) throw error
    throw badField('tools', `tool_choice: the grammar of the calls ${error.message}`)
  }
}

function callOf(
  { grammar }: CallFormat,
  tool: OfferedTool,
  rules: Rules,
  scope: string,
): GrammarNode {
  try {
    return grammar.call(tool, rules, scope)
  } catch (error) {
    if (!(error instanceof GrammarError)) throw error
    const name = JSON.stringify(tool.name)
    throw badField('tools', `tool_choice: the schema of the parameters of ${name} ${error.message}`)
  }
}

function blocks({ format, isParallel, specialTokenId }: ForcedCalls, rules: Rules): GrammarNode {
  const { open, close, around, between } = format
  const tag = (text: string) => tagNode(text, specialTokenId(text))
  const call = rule('call')
  const calls =
    isParallel && between !== undefined
      ? sequence(call, repeat(sequence(literal(between), call), 0, Infinity))
      : call
  rules.set('block', sequence(tag(open), literal(around[0]), calls, literal(around[1]), tag(close)))
  const block = rule('block')
  if (!isParallel || between !== undefined) return block
  return sequence(block, repeat(sequence(literal('\n'), block), 0, Infinity))
}

// Thoughts that the prompt has opened are free: the grammar begins behind them.
function thoughts(before: BeforeCalls | undefined, rules: Rules): GrammarNode {
  if (!before || before.isClosed) return EMPTY
  const newlines = repeat(literal('\n'), 0, 2)
  if (before.isOpened) return newlines
  const { open, close, openId, closeId } = before.tags
  const through =
    closeId === undefined
      ? textThrough(close, rules)
      : sequence(repeat(oneOf(ANY), 0, Infinity), special(closeId))
  rules.set('thoughts', sequence(tagNode(open, openId), through, newlines))
  return optional(rule('thoughts'))
}

const tagNode = (text: string, id: number | undefined) =>
  id === undefined ? literal(text) : special(id)

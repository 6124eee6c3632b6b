// Calls of a tool as grammars, by the schema of its parameters.

import {
  EMPTY,
  GrammarError,
  type GrammarNode,
  literal,
  optional,
  type Rules,
  rule,
  sequence,
} from '../../grammar/grammar-node.js'
import { inOrder } from '../../grammar/in-order.js'
import { JSON_NOTATION, type Notation, PYTHON_NOTATION } from '../../grammar/json-nodes.js'
import { type Property, SchemaConverter } from '../../grammar/schema-grammar.js'
import type { OfferedTool } from './call.js'
import { taggedValue } from './tagged-value.js'

export interface CallGrammar {
  readonly notation: Notation
  /** `rules`: those of JSON in that notation; `scope`: of what it adds. */
  call(tool: OfferedTool, rules: Rules, scope: string): GrammarNode
}

const NO_PARAMETERS = { type: 'object', properties: {} }

function converterOf(
  { parameters = NO_PARAMETERS }: OfferedTool,
  rules: Rules,
  scope: string,
  notation: Notation,
): SchemaConverter {
  return new SchemaConverter(parameters, { rules, scope, isStrict: true, notation })
}

/** `{"name": "add", "arguments": {"a": 1}}` */
export const JSON_GRAMMAR: CallGrammar = {
  notation: JSON_NOTATION,
  call(tool, rules, scope) {
    const given = converterOf(tool, rules, scope, JSON_NOTATION).value()
    return sequence(
      literal(`{"name": ${JSON.stringify(tool.name)}, "arguments": `),
      given,
      literal('}'),
    )
  },
}

/** `add(a=1)` */
export const PYTHON_GRAMMAR: CallGrammar = {
  notation: PYTHON_NOTATION,
  call(tool, rules, scope) {
    const converter = converterOf(tool, rules, scope, PYTHON_NOTATION)
    const parts = converter.properties().map((property) => {
      checkName(property, /^\w+$/)
      const node = sequence(literal(`${property.name}=`), converter.valueOf(property))
      return { node, isRequired: property.isRequired }
    })
    const end = { behind: EMPTY, alone: EMPTY }
    const given = inOrder(parts, { rules, name: `${scope}call`, end })
    return sequence(literal(`${tool.name}(`), given, literal(')'))
  },
}

/** `<function=add>\n<parameter=a>\n1\n</parameter>\n</function>` */
export const XML_GRAMMAR: CallGrammar = {
  notation: JSON_NOTATION,
  call(tool, rules, scope) {
    const converter = converterOf(tool, rules, scope, JSON_NOTATION)
    const parts = converter.properties().map((property) => {
      checkName(property, /^[^>\s]+$/)
      const value = taggedValue(converter, property, rules)
      const begin = literal(`<parameter=${property.name}>\n`)
      const name = `${scope}parameter ${property.name}`
      rules.set(name, sequence(begin, value, literal('\n')))
      return property.isRequired ? rule(name) : optional(rule(name))
    })
    return sequence(literal(`<function=${tool.name}>\n`), ...parts, literal('</function>'))
  },
}

function checkName({ name }: Property, pattern: RegExp): void {
  if (pattern.test(name)) return
  throw new GrammarError(
    `has the property ${JSON.stringify(name.slice(0, 80))}, whose name this model's calls cannot write`,
  )
}

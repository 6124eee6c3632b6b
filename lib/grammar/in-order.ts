// Parts that come in their order, of which some may be left out.

import { choice, type GrammarNode, literal, type Rules, rule, sequence } from './grammar-node.js'

export interface Part {
  readonly node: GrammarNode
  readonly isRequired: boolean
}

export interface InOrderOptions {
  readonly rules: Rules
  /** Of the rules that it adds. */
  readonly name: string
  /** What may come behind the last part, and in place of all. */
  readonly end: { readonly behind: GrammarNode; readonly alone: GrammarNode }
}

/**
 * The parts that are required, and any of the others, with commas between them.
 *
 * @example inOrder(parts, { rules, name: 'arguments', end: { behind: EMPTY, alone: EMPTY } })
 */
export function inOrder(parts: readonly Part[], { rules, name, end }: InOrderOptions): GrammarNode {
  const ruleOf = (kind: string, index: number) => rule(`${kind} ${index} ${name}`)
  const set = (kind: string, index: number, node: GrammarNode) =>
    rules.set(`${kind} ${index} ${name}`, node)
  // From a part on, with and without one before.
  set('rest', parts.length, end.behind)
  set('first', parts.length, end.alone)
  for (const [index, { node, isRequired }] of parts.entries()) {
    const here = sequence(node, ruleOf('rest', index + 1))
    const next = sequence(literal(', '), here)
    set('rest', index, isRequired ? next : choice(next, ruleOf('rest', index + 1)))
    set('first', index, isRequired ? here : choice(here, ruleOf('first', index + 1)))
  }
  return ruleOf('first', 0)
}

// What every format becomes: a grammar as a tree. emit.ts writes it down for xgrammar.

import { type CodePoints, codePoints } from './code-points.js'

/** A part of a grammar. `rule` refers to one of {@link Rules} by name. */
export type GrammarNode =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'class'; readonly set: CodePoints }
  | { readonly kind: 'sequence'; readonly items: readonly GrammarNode[] }
  | { readonly kind: 'choice'; readonly options: readonly GrammarNode[] }
  | {
      readonly kind: 'repeat'
      readonly item: GrammarNode
      readonly min: number
      readonly max: number
    }
  | { readonly kind: 'rule'; readonly name: string }
  | { readonly kind: 'special'; readonly token: number }

/** Parts that others refer to, and themselves. */
export type Rules = Map<string, GrammarNode>

/** A format is not one, or cannot be kept to. The message goes on after where the format is. */
export class GrammarError extends Error {
  override readonly name = 'GrammarError'
}

/** A grammar. */
export interface Grammar {
  readonly root: GrammarNode
  readonly rules: Rules
}

export const literal = (text: string): GrammarNode => ({ kind: 'literal', text })

/** One character of a set; a node that nothing matches where it is empty. */
export const oneOf = (set: CodePoints): GrammarNode => ({ kind: 'class', set: codePoints(set) })

/** One of the characters of a text. */
export const oneOfText = (characters: string): GrammarNode =>
  oneOf([...characters].map((character) => [character.codePointAt(0)!, character.codePointAt(0)!]))

/** One character from `from` to `to`. */
export const range = (from: string, to: string): GrammarNode =>
  oneOf([[from.codePointAt(0)!, to.codePointAt(0)!]])

export const sequence = (...items: GrammarNode[]): GrammarNode =>
  items.length === 1 ? items[0]! : { kind: 'sequence', items }

/** What nothing matches, where there are no options. */
export const choice = (...options: GrammarNode[]): GrammarNode =>
  options.length === 1 ? options[0]! : { kind: 'choice', options }

export const repeat = (item: GrammarNode, min: number, max: number): GrammarNode => ({
  kind: 'repeat',
  item,
  min,
  max,
})

export const optional = (item: GrammarNode): GrammarNode => repeat(item, 0, 1)

export const rule = (name: string): GrammarNode => ({ kind: 'rule', name })

/** A special token, which has no text. */
export const special = (token: number): GrammarNode => ({ kind: 'special', token })

export const EMPTY = literal('')
export const NOTHING = choice()

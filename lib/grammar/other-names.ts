// Names of properties other than some: JSON takes the last of two with one name, which might have another schema.

import { type CodePoints, codePoints, difference } from './code-points.js'
import {
  choice,
  EMPTY,
  type GrammarNode,
  literal,
  oneOf,
  repeat,
  sequence,
} from './grammar-node.js'
import { PLAIN, quotedString } from './json-nodes.js'

interface Branch {
  readonly next: Map<string, Branch>
  isName: boolean
}

/**
 * A string, without escapes, that is none of `names`.
 *
 * @example otherNames(['id', 'index'])
 */
export function otherNames(names: readonly string[]): GrammarNode {
  const root: Branch = { next: new Map(), isName: false }
  for (const name of names) {
    let branch = root
    for (const character of name) {
      const next = branch.next.get(character) ?? { next: new Map(), isName: false }
      branch.next.set(character, next)
      branch = next
    }
    branch.isName = true
  }
  return quotedString(unlike(root))
}

function unlike({ next, isName }: Branch): GrammarNode {
  const begun = codePoints(
    [...next.keys()].map((text): CodePoints[number] => [
      text.codePointAt(0)!,
      text.codePointAt(0)!,
    ]),
  )
  const different = sequence(oneOf(difference(PLAIN, begun)), repeat(oneOf(PLAIN), 0, Infinity))
  const same = [...next].map(([text, branch]) => sequence(literal(text), unlike(branch)))
  return choice(...(isName ? [] : [EMPTY]), different, ...same)
}

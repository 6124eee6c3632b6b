// Any text up to a mark.

import { ANY, type CodePoints, codePoints, difference } from './code-points.js'
import { choice, type GrammarNode, oneOf, type Rules, rule, sequence } from './grammar-node.js'

/**
 * Text up to where `mark` first stands in it, and that.
 *
 * @example textThrough('</think>', rules)
 */
export function textThrough(mark: string, rules: Rules): GrammarNode {
  const characters = [...mark]
  const known = codePoints(
    characters.map(pointOf).map((point): CodePoints[number] => [point, point]),
  )
  const stateOf = (length: number) => `through ${length} ${mark}`
  if (rules.has(stateOf(0))) return rule(stateOf(0))
  // A state is how much of the mark the text ends with.
  for (const length of characters.keys()) {
    const options = [sequence(oneOf(difference(ANY, known)), rule(stateOf(0)))]
    for (const character of new Set(characters)) {
      const point = pointOf(character)
      const next = endingWith([...characters.slice(0, length), character], characters)
      const node = oneOf([[point, point]])
      options.push(next === characters.length ? node : sequence(node, rule(stateOf(next))))
    }
    rules.set(stateOf(length), choice(...options))
  }
  return rule(stateOf(0))
}

const pointOf = (character: string) => character.codePointAt(0)!

/** How much of the beginning of `mark` a text ends with. */
function endingWith(text: readonly string[], mark: readonly string[]): number {
  let length = Math.min(text.length, mark.length)
  while (
    length > 0 &&
    !mark.slice(0, length).every((one, i) => one === text[text.length - length + i])
  ) {
    length -= 1
  }
  return length
}

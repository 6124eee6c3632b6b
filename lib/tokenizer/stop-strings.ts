// Finds the first stop string in text that arrives in parts, holding back only what may be the
// beginning of one. An Aho-Corasick automaton: constant time a character, whatever the stop strings.

interface Node {
  readonly next: Map<string, Node>
  /** Length of the string that leads here. */
  readonly depth: number
  /** The longest proper suffix of that string that is a beginning of some stop string too. */
  suffix: Node | undefined
  /** Length of the longest stop string that ends here; 0 if none does. */
  matchLength: number
}

function newNode(depth: number): Node {
  return { next: new Map(), depth, suffix: undefined, matchLength: 0 }
}

function step(from: Node, character: string): Node {
  let node: Node = from
  for (;;) {
    const next = node.next.get(character)
    if (next !== undefined) return next
    if (node.suffix === undefined) return node
    node = node.suffix
  }
}

function buildAutomaton(stop: readonly string[]): Node {
  const root = newNode(0)
  for (const string of stop) {
    let node = root
    for (let index = 0; index < string.length; index++) {
      const character = string[index]!
      let next = node.next.get(character)
      if (next === undefined) {
        next = newNode(node.depth + 1)
        node.next.set(character, next)
      }
      node = next
    }
    node.matchLength = string.length
  }
  // Breadth first, so that the shorter strings that suffixes point to are finished already.
  const queue = [root]
  for (const node of queue) {
    for (const [character, next] of node.next) {
      next.suffix = node.suffix === undefined ? root : step(node.suffix, character)
      next.matchLength ||= next.suffix.matchLength
      queue.push(next)
    }
  }
  return root
}

/**
 * Watches a text for stop strings. The text ends where the first stop string to be complete begins;
 * of several complete at the same character, the longest counts. So the result never depends on how
 * the text is cut into parts. Holds back less than the longest stop string.
 *
 * @example
 * const stop = new StopStrings(['\n\n', 'END'])
 * stop.push('done\n') // { text: 'done', stopped: false }
 * stop.push('\nmore') // { text: '', stopped: true }
 */
export class StopStrings {
  readonly #root: Node
  #state: Node
  /** Whether there are none: no text is ever held back, and none stops. */
  readonly isEmpty: boolean
  #held = ''
  #stopped = false

  /**
   * @throws TypeError if `stop` is not a list of strings.
   * @throws RangeError if one of them is empty.
   */
  constructor(stop: readonly string[]) {
    if (!Array.isArray(stop)) {
      throw new TypeError(`[stop] must be a list of strings but is ${typeof stop}`)
    }
    stop.forEach((string: unknown, index) => {
      if (typeof string !== 'string') {
        throw new TypeError(`[stop] string ${index} must be a string but is ${typeof string}`)
      }
      if (string === '') throw new RangeError(`[stop] string ${index} must not be empty`)
    })
    this.isEmpty = stop.length === 0
    this.#root = buildAutomaton(stop)
    this.#state = this.#root
  }

  /** Whether a stop string was found. */
  get stopped(): boolean {
    return this.#stopped
  }

  /**
   * Adds text; returns what can be no part of a stop string. Once `stopped` is true all later text
   * is ignored.
   *
   * @example new StopStrings(['ab']).push('xa') // { text: 'x', stopped: false }
   */
  push(text: string): { text: string; stopped: boolean } {
    if (this.#stopped) return { text: '', stopped: true }
    const held = this.#held
    for (let index = 0; index < text.length; index++) {
      this.#state = step(this.#state, text[index]!)
      const { matchLength } = this.#state
      if (matchLength === 0) continue
      this.#stopped = true
      this.#held = ''
      const end = held.length + index + 1 - matchLength
      return { text: (held + text.slice(0, index + 1)).slice(0, end), stopped: true }
    }
    const all = held + text
    const end = all.length - this.#state.depth
    this.#held = all.slice(end)
    return { text: all.slice(0, end), stopped: false }
  }

  /**
   * Ends the text and returns what was held back.
   *
   * @example stop.flush()
   */
  flush(): string {
    const text = this.#held
    this.#held = ''
    this.#state = this.#root
    return text
  }
}

// Values for tests of the prompt cache, and what must hold of its tree.

import { expect } from 'vitest'
import type { PrefixNode } from '../../lib/engine/prefix-tree.js'
import type { Cached, PromptCache } from '../../lib/engine/prompt-cache.js'

export class Fake implements Cached {
  readonly name: string
  readonly hasLogits: boolean
  readonly #bytes: number
  disposals = 0

  constructor(name: string, { bytes = 1000, hasLogits = false } = {}) {
    this.name = name
    this.#bytes = bytes
    this.hasLogits = hasLogits
  }

  /** As memory that is gone: none. */
  get bytes(): number {
    return this.disposals > 0 ? 0 : this.#bytes
  }

  dispose(): void {
    this.disposals++
  }
}

export const exact = { isExact: true }
export const withLogits = { hasLogits: true }

/** What an entry of a `Fake` counts as, written down once more. */
export function entryBytes(tokens: number, { bytes = 1000, text = '' } = {}): number {
  return bytes + 4 * tokens + 2 * text.length + 1024
}

export function nodesOf(cache: PromptCache<Fake>): PrefixNode<{ count: number }>[] {
  const nodes: PrefixNode<{ count: number }>[] = [cache.tree.root]
  for (const node of nodes) nodes.push(...node.children.values())
  return nodes
}

/** Whether the tree is one, as small as can be, and holds no memory but its own. */
export function checkTree(cache: PromptCache<Fake>): void {
  const [root, ...others] = nodesOf(cache)
  expect([root!.parent, root!.value, root!.depth]).toEqual([undefined, undefined, 0])
  // Compared by hand: nodes refer to each other, and what compares deeply would walk the tree for each.
  const wrong = others.filter(({ parent, edge, depth, children, value }, index) => {
    const isNeeded = value === undefined ? children.size > 1 : value.count === depth
    const isOwn = edge.length > 0 && edge.buffer.byteLength === 4 * edge.length
    const isLinked = parent?.children.get(edge[0]!) === others[index]
    return !isNeeded || !isOwn || !isLinked || depth !== parent!.depth + edge.length
  })
  expect(wrong.map(({ depth }) => depth)).toEqual([])
  expect(others.filter(({ value }) => value).length).toBe(cache.entries)
}

export function range(length: number, first = 0): Uint32Array {
  return Uint32Array.from({ length }, (_, index) => first + index)
}

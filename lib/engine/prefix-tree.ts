// A radix tree of token sequences: what begins alike is stored once.

/** A place in the tree. It keeps its identity however the edges above it are cut and joined. */
export class PrefixNode<V> {
  /** Undefined for the root, and for a node that was taken out. */
  parent: PrefixNode<V> | undefined
  /** The tokens between the parent and this node, in memory of their own: a view would keep its whole array alive. */
  edge: Uint32Array
  /** How many tokens lie between the root and this node. */
  readonly depth: number
  readonly children = new Map<number, PrefixNode<V>>()
  value: V | undefined

  constructor(parent: PrefixNode<V> | undefined, edge: Uint32Array) {
    this.parent = parent
    this.edge = edge
    this.depth = (parent?.depth ?? 0) + edge.length
  }

  /** The whole sequence, as an array of the caller's own. */
  tokens(): Uint32Array {
    const tokens = new Uint32Array(this.depth)
    for (const { edge, depth } of this.upwards()) tokens.set(edge, depth - edge.length)
    return tokens
  }

  /** This node, its parent, and so on up to the root. */
  *upwards(): Generator<PrefixNode<V>> {
    for (let node: PrefixNode<V> | undefined = this; node; node = node.parent) yield node
  }
}

/**
 * Values by token sequence. Every node but the root has a value or at least two children, so a tree of n values
 * has at most 2n nodes besides the root. Nothing recurs: a sequence may be millions of tokens long.
 *
 * @example
 * const tree = new PrefixTree<string>()
 * tree.insert(Uint32Array.of(1, 2, 3)).value = 'a'
 * tree.walk(Uint32Array.of(1, 2, 4)).length // 2
 */
export class PrefixTree<V> {
  readonly root = new PrefixNode<V>(undefined, new Uint32Array(0))

  /** The deepest node that the tokens begin with, and how many tokens they share with the tree. */
  walk(tokens: Uint32Array): { node: PrefixNode<V>; length: number } {
    let node = this.root
    for (;;) {
      const child = nextOf(node, tokens)
      if (!child) return { node, length: node.depth }
      const shared = sharedLength(child.edge, tokens, node.depth)
      if (shared < child.edge.length) return { node, length: node.depth + shared }
      node = child
    }
  }

  /** The node of these tokens, a new one where there was none. The caller gives it a value at once. */
  insert(tokens: Uint32Array): PrefixNode<V> {
    const { node, length } = this.walk(tokens)
    const child = nextOf(node, tokens)
    const above = child ? split(child, length - node.depth) : node
    if (above.depth === tokens.length) return above
    return attach(above, new PrefixNode(above, tokens.slice(above.depth)))
  }

  /** Takes the value of a node out, and the node where nothing needs it any more. */
  remove(node: PrefixNode<V>): void {
    node.value = undefined
    const { parent } = node
    if (!parent) return
    if (node.children.size > 0) {
      joinIfIdle(node)
      return
    }
    parent.children.delete(node.edge[0]!)
    node.parent = undefined
    joinIfIdle(parent)
  }
}

function nextOf<V>(node: PrefixNode<V>, tokens: Uint32Array): PrefixNode<V> | undefined {
  return node.depth < tokens.length ? node.children.get(tokens[node.depth]!) : undefined
}

/** How many tokens of an edge are those at `first` and after. */
function sharedLength(edge: Uint32Array, tokens: Uint32Array, first: number): number {
  const most = Math.min(edge.length, tokens.length - first)
  let length = 0
  while (length < most && edge[length] === tokens[first + length]) length++
  return length
}

function attach<V>(parent: PrefixNode<V>, child: PrefixNode<V>): PrefixNode<V> {
  child.parent = parent
  parent.children.set(child.edge[0]!, child)
  return child
}

/** Puts a node into the edge above one, behind `length` of its tokens. */
function split<V>(below: PrefixNode<V>, length: number): PrefixNode<V> {
  const { parent, edge } = below
  const middle = attach(parent!, new PrefixNode(parent, edge.slice(0, length)))
  below.edge = edge.slice(length)
  attach(middle, below)
  return middle
}

/** Joins a node's edge with that of its only child, unless the node has a value. */
function joinIfIdle<V>(node: PrefixNode<V>): void {
  const { parent, edge, children, value } = node
  if (!parent || value !== undefined || children.size !== 1) return
  const [child] = [...children.values()] as [PrefixNode<V>]
  const joined = new Uint32Array(edge.length + child.edge.length)
  joined.set(edge)
  joined.set(child.edge, edge.length)
  child.edge = joined
  attach(parent, child)
  node.parent = undefined
}

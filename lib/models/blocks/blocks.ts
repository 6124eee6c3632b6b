// The kinds of blocks that there are.

import { attention } from './attention.js'
import type { BlockKind } from './block.js'
import { mamba2 } from './mamba2.js'
import { mlp } from './mlp.js'

// The table.
const BLOCK_KINDS = [mamba2, mlp, attention] as const

type Kind = (typeof BLOCK_KINDS)[number]
type NameOfKind = Kind['kind']
type KindNamed<Name extends NameOfKind> = Extract<Kind, { kind: Name }>

/** A layer of a model. */
export type LayerConfig = Parameters<Kind['load']>[0]

/** What a family calls the tensors of each kind of layer that it has. */
export type LayerNames = {
  readonly [Name in NameOfKind]?: Parameters<KindNamed<Name>['load']>[1]['names']
}

/** The kind of a layer, which knows all about it. Its `names` are those that `layerNames` gives. */
export function blockKind(kind: NameOfKind): BlockKind<LayerConfig, object> {
  return BLOCK_KINDS.find((candidate) => candidate.kind === kind)!
}

/** What a family calls the tensors of a layer of this kind. */
export function layerNames(names: LayerNames, kind: NameOfKind): object {
  const found = names[kind]
  if (!found) throw new Error(`[models] the family has no names for layers of kind ${kind}`)
  return found
}

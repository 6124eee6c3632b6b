// The kinds of blocks that there are.

import { attention } from './attention.js'
import type { BlockKind } from './block.js'
import { experts } from './experts.js'
import { fullAttention } from './full-attention.js'
import { gatedDeltaNet } from './gated-delta-net.js'
import { mamba2 } from './mamba2.js'
import { mlp } from './mlp.js'
import { sharedTransformer } from './shared-transformer.js'
import { shortConv } from './short-conv.js'

// The table.
const BLOCK_KINDS = [
  mamba2,
  mlp,
  attention,
  fullAttention,
  sharedTransformer,
  gatedDeltaNet,
  shortConv,
  experts,
] as const

type Kind = (typeof BLOCK_KINDS)[number]
type NameOfKind = Kind['kind']
type KindNamed<Name extends NameOfKind> = Extract<Kind, { kind: Name }>
type ConfigOf<Name extends NameOfKind> = Parameters<KindNamed<Name>['load']>[0]
type NamesOf<Name extends NameOfKind> = Parameters<KindNamed<Name>['load']>[1]['names']

/** A block of a model. */
export type LayerConfig = ConfigOf<NameOfKind>

/** A block, and where a checkpoint has its tensors. A layer of a checkpoint may be several blocks. */
interface DescribedLayer<Name extends NameOfKind> {
  config: ConfigOf<Name>
  /** What the names of its tensors begin with: `backbone.layers.3.mixer`. */
  path: string
  /** What the family calls its tensors, after the path. */
  names: NamesOf<Name>
  /**
   * The whole name of the weight of the norm before it. Absent where it reads what the block before it has read, and
   * null where it has norms of its own.
   */
  norm?: string | null
  /** The layer that errors name, where the path does not say it: `layers.3`. */
  layer?: string
  /** What it adds, the next block alone reads. */
  aside?: true
}

/** A block of any kind, as a family describes it. */
export type LayerDescription = { [Name in NameOfKind]: DescribedLayer<Name> }[NameOfKind]

/** The kind of a block, which knows all about it. */
export function blockKind(kind: NameOfKind): BlockKind<LayerConfig, object> {
  return BLOCK_KINDS.find((candidate) => candidate.kind === kind)!
}

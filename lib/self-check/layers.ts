// What the layers of a model use of a device, and the cases that check it: a line in the table for each kind of block
// that has operations of its own besides matrix products.

import { PAGE_SIZE } from '../operations/arguments.js'
import type { ActivationType } from '../operations/device.js'
import type { AttentionConfig } from '../models/blocks/attention.js'
import type { LayerConfig } from '../models/blocks/blocks.js'
import type { ExpertsConfig } from '../models/blocks/experts.js'
import type { FullAttentionConfig } from '../models/blocks/full-attention.js'
import type { Mamba2Config } from '../models/blocks/mamba2.js'
import type { PagedAttentionConfig } from '../models/blocks/paged-attention.js'
import type { SharedTransformerConfig } from '../models/blocks/shared-transformer.js'
import { decodeCase, prefillCase } from '../verify/cases/attention.js'
import type { Case } from '../verify/cases/case.js'
import { mixCase, routingCase } from '../verify/cases/experts.js'
import { convolutionCase, scanCase, updateCase } from '../verify/cases/mamba2.js'
import { pagedDecodeCase, pagedPrefillCase, rotaryCase } from '../verify/cases/paged-attention.js'
import type { ShortConvConfig } from '../models/blocks/short-conv.js'
import type { ProductSize } from './product.js'

/** How large the checks are. */
export interface CheckSize {
  product: ProductSize
  /** Tokens of a scan. */
  tokens: number
  /** Heads of a group that are computed, at most. */
  heads: number
  /** Positions of an attention window, at most. */
  window: number
  vocabulary: number
}

/** What decides over the operations of a kind of block, as plain data, and the cases that check them. */
interface LayerCheck<Config, Shape> {
  shapeOf(config: Config): Shape
  casesOf(shape: Shape, activationType: ActivationType, size: CheckSize): Case[]
}

// Bounds dimensions of heads and states, which are smaller in published models: no tensor has confirmed the sizes in a
// configuration when this runs.
const LARGEST_DIMENSION = 256

// Fewer heads and groups than the layer has, in the same proportion where that is possible; all else
// decides over the kernels and is the layer's own.
const mamba2: LayerCheck<
  Mamba2Config,
  Pick<Mamba2Config, 'numHeads' | 'headDim' | 'dState' | 'nGroups' | 'normBeforeGate' | 'discrete'>
> = {
  shapeOf: ({ numHeads, headDim, dState, nGroups, normBeforeGate, discrete }) => ({
    ...{ numHeads, headDim, dState, nGroups, normBeforeGate },
    ...(discrete && { discrete }),
  }),
  casesOf(layer, activationType, size) {
    const groups = Math.min(2, layer.nGroups)
    const shape = {
      batch: 1,
      heads: groups * Math.max(1, Math.min(size.heads, layer.numHeads / layer.nGroups)),
      headDim: Math.min(LARGEST_DIMENSION, layer.headDim),
      dState: Math.min(LARGEST_DIMENSION, layer.dState),
      groups,
    }
    const variant = layer.discrete
      ? ({ discrete: true, activation: 'none', columns: 'xBCzdt' } as const)
      : { normBeforeGate: layer.normBeforeGate }
    return [
      scanCase(shape, activationType, size.tokens, variant),
      updateCase(shape, activationType, variant),
    ]
  },
}

const attention: LayerCheck<
  AttentionConfig,
  Pick<AttentionConfig, 'numHeads' | 'numKvHeads' | 'headDim' | 'window'>
> = {
  shapeOf: ({ numHeads, numKvHeads, headDim, window }) => ({
    ...{ numHeads, numKvHeads, headDim, window },
  }),
  casesOf(layer, activationType, size) {
    const kvHeads = Math.min(2, layer.numKvHeads)
    const window = Math.min(size.window, layer.window)
    const shape = {
      // The ring has been filled once, and is a third full again.
      positions: [window + Math.floor(window / 3)],
      heads: kvHeads * Math.max(1, Math.min(size.heads, layer.numHeads / layer.numKvHeads)),
      kvHeads,
      headDim: Math.min(LARGEST_DIMENSION, layer.headDim),
      window,
    }
    return [
      prefillCase(shape, activationType, Math.min(size.tokens, 70)),
      decodeCase(shape, activationType),
    ]
  },
}

interface PagedAttentionShape {
  numHeads: number
  numKvHeads: number
  headDim: number
  rotaryDim: number
  normed: boolean
  gated: boolean
}

const pagedAttentionShape = (config: PagedAttentionConfig): PagedAttentionShape => ({
  numHeads: config.numHeads,
  numKvHeads: config.numKvHeads,
  headDim: config.headDim,
  rotaryDim: 2 * (config.rotary?.frequencies.length ?? 0),
  normed: config.qkNormEpsilon !== undefined,
  gated: config.outputGate === true,
})

const fullAttention: LayerCheck<FullAttentionConfig, PagedAttentionShape> = {
  shapeOf: pagedAttentionShape,
  casesOf({ numHeads, numKvHeads, ...layer }, activationType, size) {
    const kvHeads = Math.min(2, numKvHeads)
    const headDim = Math.min(LARGEST_DIMENSION, layer.headDim)
    const shape = {
      ...layer,
      // A few keys into the second page.
      positions: [PAGE_SIZE + 9],
      heads: kvHeads * Math.max(1, Math.min(size.heads, numHeads / numKvHeads)),
      kvHeads,
      headDim,
      rotaryDim: Math.min(headDim, layer.rotaryDim),
      stored: activationType,
    }
    const tokens = Math.min(size.tokens, 70)
    const turns = shape.normed || shape.rotaryDim > 0
    return [
      pagedPrefillCase(shape, activationType, tokens),
      pagedDecodeCase(shape, activationType),
      ...(turns ? [rotaryCase(shape, activationType, 3)] : []),
    ]
  },
}

const sharedTransformer: LayerCheck<SharedTransformerConfig, PagedAttentionShape> = {
  ...fullAttention,
  shapeOf: ({ attention }) => pagedAttentionShape(attention),
}

const shortConv: LayerCheck<ShortConvConfig, Pick<ShortConvConfig, 'dInner' | 'dConv'>> = {
  shapeOf: ({ dInner, dConv }) => ({ dInner, dConv }),
  casesOf({ dInner, dConv }, activationType, size) {
    const convolved = {
      batch: 1,
      channels: Math.min(LARGEST_DIMENSION, dInner),
      width: Math.min(LARGEST_DIMENSION, dConv),
      activation: 'none',
      gated: true,
    } as const
    return [
      convolutionCase(convolved, activationType, size.tokens),
      convolutionCase(convolved, activationType, undefined),
    ]
  },
}

// Their products are checked for each format of the model's weights: checks.ts.
const experts: LayerCheck<
  ExpertsConfig,
  Pick<ExpertsConfig, 'numExperts' | 'numChosen' | 'routing'>
> = {
  shapeOf: ({ numExperts, numChosen, routing }) => ({ numExperts, numChosen, routing }),
  casesOf({ numExperts, numChosen, routing }, activationType) {
    const { groups = 1, keptGroups = groups } = routing
    const inGroup = Math.min(LARGEST_DIMENSION, numExperts / groups)
    const chosen = Math.min(numChosen, inGroup * keptGroups)
    return [routingCase({ experts: groups * inGroup, chosen }, routing), mixCase(activationType)]
  },
}

// The table.
const LAYER_CHECKS = {
  mamba2,
  attention,
  full_attention: fullAttention,
  shared_transformer: sharedTransformer,
  short_conv: shortConv,
  experts,
} satisfies Partial<Record<LayerConfig['kind'], unknown>>
type Kind = keyof typeof LAYER_CHECKS

/** The distinct shapes among the layers of each kind. */
export type LayerShapes = {
  readonly [Name in Kind]: readonly ReturnType<(typeof LAYER_CHECKS)[Name]['shapeOf']>[]
}

const ENTRIES = Object.entries<LayerCheck<LayerConfig, object>>(LAYER_CHECKS)

export function layerShapes(layers: readonly LayerConfig[]): LayerShapes {
  const shapes = ENTRIES.map(([kind, check]) => {
    const ofKind = layers.filter((layer) => layer.kind === kind)
    return [kind, unique(ofKind.map(check.shapeOf), (shape) => JSON.stringify(shape))]
  })
  return Object.fromEntries(shapes) as LayerShapes
}

export function layerCases(
  shapes: LayerShapes,
  activationType: ActivationType,
  size: CheckSize,
): Case[] {
  return ENTRIES.flatMap(([kind, check]) =>
    shapes[kind as Kind].flatMap((shape) => check.casesOf(shape, activationType, size)),
  )
}

/** One value for each key. */
export function unique<T>(values: readonly T[], keyOf: (value: T) => string): T[] {
  return [...new Map(values.map((value) => [keyOf(value), value])).values()]
}

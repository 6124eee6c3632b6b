// The blocks of a model, and how they are joined: one after the other, or several side by side between the same two
// points of the stream.

import type { ActivationType } from '../operations/device.js'
import type { Tensor } from '../operations/tensor.js'
import type { WeightLoader } from '../weights/loader.js'
import type { Block, Norm, Stream } from './blocks/block.js'
import { blockKind, type LayerDescription } from './blocks/blocks.js'
import type { ModelConfig } from './config.js'
import { pagedFieldsOf } from './state-fields.js'

/** A block among those that share its norm. */
export interface PlacedBlock {
  block: Block
  /** The layer of the checkpoint, for errors: `layers.3`. */
  layer: string
  isFirst: boolean
  isLast: boolean
}

/** What blocks compute in, and what they keep of each position in. */
export interface BlockTypes {
  activationType: ActivationType
  kvType: ActivationType
}

export async function loadBlocks(
  loader: WeightLoader,
  { dModel, normEpsilon: eps, normOffset }: ModelConfig,
  layers: readonly LayerDescription[],
  { activationType, kvType }: BlockTypes,
): Promise<PlacedBlock[]> {
  const blocks: PlacedBlock[] = []
  let norm: Norm | undefined
  for (const [index, layer] of layers.entries()) {
    const { config, names, path } = layer
    if (layer.norm !== undefined) {
      norm = { weight: await loader.vector(layer.norm, dModel, normOffset), eps }
    }
    const kind = blockKind(config.kind)
    const block = await kind.load(config, {
      loader,
      names,
      path: (name) => `${path}.${name}`,
      dModel,
      norm,
      state: kind.stateFields(config, activationType),
      pagedState: pagedFieldsOf(config, kvType),
    })
    blocks.push({
      block,
      layer: /layers\.\d+/.exec(path)?.[0] ?? path,
      isFirst: layer.norm !== undefined,
      isLast: index === layers.length - 1 || layers[index + 1]!.norm !== undefined,
    })
  }
  return blocks
}

/**
 * What a block reads and writes. Of blocks side by side all read `hidden` as it was before the first; until the last
 * one has, what they add gathers in `branches`.
 */
export function streamOf(
  { isFirst, isLast }: PlacedBlock,
  hidden: Tensor,
  branches: Tensor,
): Stream {
  return {
    input: hidden,
    residual: isFirst ? hidden : branches,
    out: isLast ? hidden : branches,
  }
}

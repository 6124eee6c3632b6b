// The blocks of a model, and how they are joined: one after the other, or several side by side between the same two
// points of the stream.

import type { ActivationType } from '../operations/device.js'
import type { Tensor } from '../operations/tensor.js'
import type { WeightLoader } from '../weights/loader.js'
import type { Block, LayerNorm, Norm, Pass, Stream } from './blocks/block.js'
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
  /** Where the norm is not the block's own. */
  layerNorm: LayerNorm | undefined
}

/** What blocks compute in, and what they keep of each position in. */
export interface BlockTypes {
  activationType: ActivationType
  kvType: ActivationType
}

export async function loadBlocks(
  loader: WeightLoader,
  config: ModelConfig,
  layers: readonly LayerDescription[],
  { activationType, kvType }: BlockTypes,
): Promise<PlacedBlock[]> {
  const blocks: PlacedBlock[] = []
  let norm: Norm | LayerNorm | undefined
  for (const [index, layer] of layers.entries()) {
    const { names, path } = layer
    if (layer.norm !== undefined) norm = await loadNorm(loader, layer.norm, config)
    const layerNorm = norm && isLayerNorm(norm) ? norm : undefined
    const kind = blockKind(layer.config.kind)
    const block = await kind.load(layer.config, {
      loader,
      names,
      path: (name) => `${path}.${name}`,
      dModel: config.dModel,
      norm: layerNorm ? undefined : norm,
      state: kind.stateFields(layer.config, activationType),
      pagedState: pagedFieldsOf(layer.config, kvType),
    })
    blocks.push({
      block,
      layer: /layers\.\d+/.exec(path)?.[0] ?? path,
      isFirst: layer.norm !== undefined,
      isLast: index === layers.length - 1 || layers[index + 1]!.norm !== undefined,
      layerNorm,
    })
  }
  return blocks
}

/** The norm whose weight has this name, of the type that the model has. */
export async function loadNorm(
  loader: WeightLoader,
  name: string,
  { dModel, normEpsilon: eps, normType }: ModelConfig,
): Promise<Norm | LayerNorm> {
  const weight = await loader.vector(name, dModel)
  if (normType !== 'layer') return { weight, eps }
  return { weight, eps, bias: await loader.vector(name.replace(/weight$/, 'bias'), dModel) }
}

export function isLayerNorm(norm: Norm | LayerNorm): norm is LayerNorm {
  return 'bias' in norm
}

/** Records a layer norm: the scratch tensor of what layers compute in. */
export function recordLayerNorm(
  { cl, workspace }: Pick<Pass, 'cl' | 'workspace'>,
  x: Tensor,
  { weight, bias, eps }: LayerNorm,
): Tensor {
  const normed = workspace.take('normed', x.shape.slice(0, -1), x.cols)
  cl.layerNorm(x, weight, normed, { bias, eps })
  return normed
}

/**
 * What a block reads and writes. Of blocks side by side all read `hidden` as it was before the first; until the last
 * one has, what they add gathers in `branches`. `normed`: what their layer norm has made of `hidden`.
 */
export function streamOf(
  { isFirst, isLast }: PlacedBlock,
  hidden: Tensor,
  branches: Tensor,
  normed: Tensor | undefined,
): Stream {
  return {
    input: normed ?? hidden,
    residual: isFirst ? hidden : branches,
    out: isLast ? hidden : branches,
  }
}

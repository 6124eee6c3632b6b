// The blocks of a model, and how they are joined: one after the other, or several side by side between the same two
// points of the stream.

import type { ActivationType } from '../operations/device.js'
import type { Tensor } from '../operations/tensor.js'
import type { WeightLoader } from '../weights/loader.js'
import type { Block, LayerNorm, Norm, Pass, Stream } from './blocks/block.js'
import { blockKind, type LayerDescription } from './blocks/blocks.js'
import type { ModelConfig } from './config.js'
import { pagedFieldsOf } from './state-fields.js'

/** A block, and where it reads and writes. */
export interface PlacedBlock {
  block: Block
  /** The layer of the checkpoint, for errors: `layers.3`. */
  layer: string
  /** Each of them the stream through all layers, or what blocks side by side and aside have made of it. */
  input: Place
  residual: Place
  out: Place
  /** The norm to record before the block: of it alone or of several, which read its result. */
  layerNorm: LayerNorm | undefined
}

type Place = 'hidden' | 'branches' | 'normed'

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
    if (layer.norm === null) norm = undefined
    else if (layer.norm) norm = await loadNorm(loader, layer.norm, config)
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
    const places = placesOf(layers, index)
    blocks.push({
      block,
      layer: layer.layer ?? /layers\.\d+/.exec(path)?.[0] ?? path,
      ...places,
      ...(layerNorm && { input: 'normed' }),
      layerNorm: layer.norm === undefined ? undefined : layerNorm,
    })
  }
  return blocks
}

// Blocks side by side read `hidden` as it was before the first of them; what they add gathers in `branches` until the
// last one has. What a block aside adds is in `branches` for the next one, and nowhere else.
function placesOf(
  layers: readonly LayerDescription[],
  index: number,
): Pick<PlacedBlock, 'input' | 'residual' | 'out'> {
  const [before, layer, after] = [layers[index - 1], layers[index]!, layers[index + 1]]
  const isBeside = layer.norm === undefined
  const isLast = after === undefined || after.norm !== undefined
  return {
    input: before?.aside ? 'branches' : 'hidden',
    residual: isBeside ? 'branches' : 'hidden',
    out: layer.aside || !isLast ? 'branches' : 'hidden',
  }
}

/** The norm whose weight has this name, of the type that the model has. */
export async function loadNorm(
  loader: WeightLoader,
  name: string,
  { dModel, normEpsilon: eps, normType, normOffset }: ModelConfig,
): Promise<Norm | LayerNorm> {
  const weight = await loader.vector(name, dModel, normOffset)
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

/** The stream of a block. */
export function streamOf(
  { input, residual, out }: PlacedBlock,
  tensors: Readonly<Record<Place, Tensor>>,
): Stream {
  return { input: tensors[input], residual: tensors[residual], out: tensors[out] }
}

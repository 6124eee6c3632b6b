// The blocks of a model, and how they are joined: one after the other, or several side by side between the same two
// points of the stream.

import type { ActivationType } from '../operations/device.js'
import type { Tensor } from '../operations/tensor.js'
import type { WeightLoader } from '../weights/loader.js'
import type { Block, Norm, Stream } from './blocks/block.js'
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
}

type Place = 'hidden' | 'branches'

/** What blocks compute in, and what they keep of each position in. */
export interface BlockTypes {
  activationType: ActivationType
  kvType: ActivationType
}

export async function loadBlocks(
  loader: WeightLoader,
  { dModel, normEpsilon: eps }: ModelConfig,
  layers: readonly LayerDescription[],
  { activationType, kvType }: BlockTypes,
): Promise<PlacedBlock[]> {
  const blocks: PlacedBlock[] = []
  let norm: Norm | undefined
  for (const [index, layer] of layers.entries()) {
    const { config, names, path } = layer
    if (layer.norm === null) norm = undefined
    else if (layer.norm) norm = { weight: await loader.vector(layer.norm, dModel), eps }
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
    const label = layer.layer ?? /layers\.\d+/.exec(path)?.[0] ?? path
    blocks.push({ block, layer: label, ...placesOf(layers, index) })
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

/** The stream of a block. */
export function streamOf(
  { input, residual, out }: PlacedBlock,
  tensors: Readonly<Record<Place, Tensor>>,
): Stream {
  return { input: tensors[input], residual: tensors[residual], out: tensors[out] }
}

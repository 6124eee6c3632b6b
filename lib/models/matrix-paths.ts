// Which modules of a model have a matrix, which may be quantised.

import { blockKind } from './blocks/blocks.js'
import type { Checkpoint } from './checkpoint.js'

/** Their paths in the checkpoint. Where each expert has one, the first stands for all. */
export function matrixPaths({
  config,
  names,
  layers,
}: Pick<Checkpoint, 'config' | 'names' | 'layers'>): string[] {
  const ofLayers = layers.flatMap((layer) =>
    blockKind(layer.config.kind)
      .matrices(layer.names, layer.config)
      .map((name) => `${layer.path}.${name}`),
  )
  return [names.embedding, ...ofLayers, ...(config.tieEmbeddings ? [] : [names.head])]
}

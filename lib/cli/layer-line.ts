// The layers of a model in a line: `40: 5 mamba2+mlp, full_attention+mlp, 9 mamba2+mlp, …`.

import type { LayerDescription } from '../models/blocks/blocks.js'

/** Layers as checkpoints number them, each the kinds of its blocks; those that follow one another and are alike are counted. */
export function layerLine(layers: readonly LayerDescription[]): string {
  const blocks = new Map<string, string[]>()
  for (const { path, layer = path, config } of layers) {
    const number = /layers\.(\d+)/.exec(layer)?.[1] ?? layer
    blocks.set(number, [...(blocks.get(number) ?? []), config.kind])
  }
  const runs: { layer: string; count: number }[] = []
  for (const kinds of blocks.values()) {
    const layer = kinds.join('+')
    const last = runs.at(-1)
    if (last?.layer === layer) last.count += 1
    else runs.push({ layer, count: 1 })
  }
  const parts = runs.map(({ layer, count }) => (count === 1 ? layer : `${count} ${layer}`))
  return `${blocks.size}: ${parts.join(', ')}`
}

// How much a sequence keeps between tokens, from the configuration alone.

import type { ActivationType } from '../operations/device.js'
import { bytesPerElement, elementCount } from '../operations/tensor.js'
import type { StateField } from './blocks/block.js'
import { blockKind, type LayerConfig } from './blocks/blocks.js'
import type { ModelConfig } from './config.js'

/** Bytes of a field. */
export function fieldBytes({ dtype, shape }: StateField): number {
  return elementCount(shape) * bytesPerElement(dtype)
}

/** Bytes that one layer keeps of one sequence. */
export function layerStateBytes(layer: LayerConfig, activationType: ActivationType): number {
  const fields = blockKind(layer.kind).stateFields(layer, activationType)
  return fields.reduce((sum, field) => sum + fieldBytes(field), 0)
}

/** Bytes that one sequence keeps between tokens, whatever its length. */
export function stateBytes(
  config: ModelConfig,
  activationType: ActivationType = 'float32',
): number {
  return config.layers.reduce((sum, layer) => sum + layerStateBytes(layer, activationType), 0)
}

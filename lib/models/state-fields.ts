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

/** What one layer keeps of each position of a sequence, in pages. `kvType`: of keys and values. */
export function pagedFieldsOf(layer: LayerConfig, kvType: ActivationType): readonly StateField[] {
  return blockKind(layer.kind).pagedFields?.(layer, kvType) ?? []
}

/** Whether what a model keeps of a sequence grows with it. */
export function hasPages(config: ModelConfig): boolean {
  return config.layers.some((layer) => pagedFieldsOf(layer, 'float32').length > 0)
}

/** Bytes that a model keeps of each position of a sequence; 0 for one whose state has a fixed size. */
export function contextBytesPerToken(
  config: ModelConfig,
  kvType: ActivationType = 'float32',
): number {
  const fields = config.layers.flatMap((layer) => pagedFieldsOf(layer, kvType))
  return fields.reduce((sum, field) => sum + fieldBytes(field), 0)
}

/** Bytes that one sequence keeps between tokens, whatever its length: without what it keeps of each position. */
export function stateBytes(
  config: ModelConfig,
  activationType: ActivationType = 'float32',
): number {
  return config.layers.reduce((sum, layer) => sum + layerStateBytes(layer, activationType), 0)
}

/** Bytes that one sequence keeps of each position, in pages. */
export function bytesPerToken(config: ModelConfig, kvType: ActivationType = 'float32'): number {
  return config.layers
    .flatMap((layer) => pagedFieldsOf(layer, kvType))
    .reduce((sum, field) => sum + fieldBytes(field), 0)
}

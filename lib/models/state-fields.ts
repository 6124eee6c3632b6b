// What a sequence keeps between tokens: named fields of fixed size, from the configuration alone.

import type { ActivationType } from '../operations/device.js'
import { bytesPerElement, type DType, elementCount } from '../operations/tensor.js'
import { convDim, type LayerConfig, type ModelConfig } from './config.js'

/** A field of the state of one sequence. */
export interface StateField {
  name: string
  dtype: DType
  shape: readonly number[]
}

/**
 * The fields of a layer. The SSM state is float32, the rest what layers compute in.
 *
 * @example
 * stateFields(config.layers[0], 'float32') // [{ name: 'conv', ... }, { name: 'ssm', ... }]
 */
export function stateFields(
  layer: LayerConfig,
  activationType: ActivationType,
): readonly StateField[] {
  switch (layer.kind) {
    case 'mamba2': {
      const { dConv, numHeads, headDim, dState } = layer
      return [
        { name: 'conv', dtype: activationType, shape: [dConv, convDim(layer)] },
        { name: 'ssm', dtype: 'float32', shape: [numHeads, headDim, dState] },
      ]
    }
    case 'attention': {
      const shape = [layer.window, layer.numKvHeads * layer.headDim]
      return [
        { name: 'keys', dtype: activationType, shape },
        { name: 'values', dtype: activationType, shape },
      ]
    }
    case 'mlp':
      return []
  }
}

/** Bytes of a field. */
export function fieldBytes({ dtype, shape }: StateField): number {
  return elementCount(shape) * bytesPerElement(dtype)
}

/** Bytes that one layer keeps of one sequence. */
export function layerStateBytes(layer: LayerConfig, activationType: ActivationType): number {
  return stateFields(layer, activationType).reduce((sum, field) => sum + fieldBytes(field), 0)
}

/** Bytes that one sequence keeps between tokens, whatever its length. */
export function stateBytes(
  config: ModelConfig,
  activationType: ActivationType = 'float32',
): number {
  return config.layers.reduce((sum, layer) => sum + layerStateBytes(layer, activationType), 0)
}

// What of a device a model uses: plain data, so that another process can be asked to check it.

import type { ActivationType, Device } from '../operations/device.js'
import type { Checkpoint } from '../models/checkpoint.js'
import type { AttentionConfig, LayerConfig, Mamba2Config } from '../models/config.js'
import { activationTypeOf } from '../models/language-model.js'
import { formatName, type WeightFormat } from '../weights/formats/formats.js'
import { plannedFormat, type WeightWishes } from '../weights/planned-format.js'

export interface Needs {
  /** What its layers compute in. */
  activationType: ActivationType
  /** Of its matrices, each once. */
  formats: readonly WeightFormat[]
  /** Of its Mamba-2 layers, each shape once. */
  mamba2: readonly Mamba2Needs[]
  /** Of its attention layers, each shape once. */
  attention: readonly AttentionNeeds[]
}

export type Mamba2Needs = Pick<
  Mamba2Config,
  'numHeads' | 'headDim' | 'dState' | 'nGroups' | 'normBeforeGate'
>
export type AttentionNeeds = Pick<AttentionConfig, 'numHeads' | 'numKvHeads' | 'headDim' | 'window'>

/** What the model of a checkpoint will use on `device` when it is loaded with these wishes. */
export function needsOf(
  checkpoint: Checkpoint,
  wishes: WeightWishes,
  device: Pick<Device, 'activationTypes'>,
): Needs {
  const { layers } = checkpoint.config
  return {
    activationType: activationTypeOf(device, wishes),
    formats: unique(matrixPaths(checkpoint).flatMap(formatAt(checkpoint, wishes)), formatName),
    mamba2: shapes(layers, 'mamba2', ({ numHeads, headDim, dState, nGroups, normBeforeGate }) => ({
      ...{ numHeads, headDim, dState, nGroups, normBeforeGate },
    })),
    attention: shapes(layers, 'attention', ({ numHeads, numKvHeads, headDim, window }) => ({
      ...{ numHeads, numKvHeads, headDim, window },
    })),
  }
}

// The modules whose weight is a matrix. A convolution with two dimensions is none.
function matrixPaths({ tensors, names }: Checkpoint): string[] {
  const isMatrix = ([name, { shape }]: [string, { shape: readonly number[] }]) =>
    name.endsWith('.weight') && shape.length === 2 && !name.endsWith(names.mamba2.convWeight)
  return [...tensors].filter(isMatrix).map(([name]) => name.slice(0, -'.weight'.length))
}

const formatAt =
  (checkpoint: Checkpoint, wishes: WeightWishes) =>
  (path: string): WeightFormat[] => {
    try {
      return [plannedFormat(checkpoint, path, wishes) ?? []].flat()
    } catch {
      return [] // a quantisation that is not implemented: the loader says so
    }
  }

function shapes<Kind extends LayerConfig['kind'], Shape>(
  layers: readonly LayerConfig[],
  kind: Kind,
  shapeOf: (layer: Extract<LayerConfig, { kind: Kind }>) => Shape,
): Shape[] {
  const ofKind = layers.filter(
    (layer): layer is Extract<LayerConfig, { kind: Kind }> => layer.kind === kind,
  )
  return unique(ofKind.map(shapeOf), (shape) => JSON.stringify(shape))
}

function unique<T>(values: readonly T[], keyOf: (value: T) => string): T[] {
  return [...new Map(values.map((value) => [keyOf(value), value])).values()]
}

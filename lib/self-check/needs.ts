// What of a device a model uses: plain data, so that another process can be asked to check it.

import type { ActivationType, Device } from '../operations/device.js'
import type { Checkpoint } from '../models/checkpoint.js'
import { activationTypeOf } from '../models/language-model.js'
import { matrixPaths } from '../models/matrix-paths.js'
import { formatName, type WeightFormat } from '../weights/formats/formats.js'
import { plannedFormat, type WeightWishes } from '../weights/planned-format.js'
import { type LayerShapes, layerShapes, unique } from './layers.js'

/** What a model uses; with the distinct shapes of its layers, by kind. */
export interface Needs extends LayerShapes {
  /** What its layers compute in. */
  activationType: ActivationType
  /** The distinct formats of its matrices. */
  formats: readonly WeightFormat[]
}

/** What the model of a checkpoint will use on `device` when it is loaded with these wishes. */
export function needsOf(
  checkpoint: Checkpoint,
  wishes: WeightWishes,
  device: Pick<Device, 'activationTypes'>,
): Needs {
  return {
    activationType: activationTypeOf(device, wishes),
    formats: unique(matrixPaths(checkpoint).flatMap(formatAt(checkpoint, wishes)), formatName),
    ...layerShapes(checkpoint.config.layers),
  }
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

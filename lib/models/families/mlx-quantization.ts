// The `quantization` object that mlx-lm writes into config.json:
//   { "group_size": 64, "bits": 4, "mode": "affine", "<module path>": { ... } | false, ... }

import type { Quantization } from '../config.js'
import type { ConfigReader } from '../config-reader.js'

export interface MlxQuantization {
  /** What modules have that are not listed by path. */
  standard: Quantization
  of(path: string): Quantization | undefined
}

/** The quantisation of a checkpoint, or undefined when it has none. Throws for a mode, width or group that is not implemented. */
export function readQuantization(config: ConfigReader): MlxQuantization | undefined {
  if (!config.has('quantization')) {
    if (config.has('quantization_config')) {
      config.unsupported('is quantised (quantization_config) but not in the form of mlx-lm')
    }
    return undefined
  }
  const quantization = config.object('quantization')
  const standard = readBitsAndGroup(quantization)
  return {
    standard,
    of(path) {
      if (!quantization.has(path)) return standard
      if (quantization.isFalse(path)) return undefined
      return readBitsAndGroup(quantization.object(path))
    },
  }
}

/** `bits` and `group_size` of one object. */
export function readBitsAndGroup(object: ConfigReader): Quantization {
  object.only('mode', ['affine'])
  if (!object.has('bits') || !object.has('group_size')) {
    object.invalid('quantisation must state bits and group_size')
  }
  return { bits: object.only('bits', [4, 8]), groupSize: object.only('group_size', [64, 32, 128]) }
}

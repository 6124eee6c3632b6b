// The `quantization` object that mlx-lm writes into config.json:
//   { "group_size": 64, "bits": 4, "mode": "affine", "<module path>": { ... } | true | false, ... }
// and again as `quantization_config`, which some of its conversions have alone.

import {
  QUANTIZATION_MODES,
  type Quantization,
  quantizationDefaults,
  readQuantization,
} from '../../weights/formats/formats.js'
import type { ConfigReader } from '../config-reader.js'

export interface MlxQuantization {
  /** What modules have that are not listed by path. */
  standard: Quantization
  of(path: string): Quantization | undefined
}

/** The quantisation of a checkpoint, or undefined when it has none. Throws for a mode, width or group that is not implemented. */
export function readMlxQuantization(config: ConfigReader): MlxQuantization | undefined {
  const quantization = quantizationObject(config)
  if (!quantization) return undefined
  const standard = readStated(quantization)
  return {
    standard,
    of(path) {
      if (quantization.isFalse(path)) return undefined
      if (!quantization.has(path) || quantization.isTrue(path)) return standard
      return readStated(withDefaults(quantization.object(path)))
    },
  }
}

const modeOf = (object: ConfigReader) => object.only('mode', QUANTIZATION_MODES)

/** With what MLX gives to a module whose entry leaves something out. */
function withDefaults(object: ConfigReader): ConfigReader {
  return object.withDefaults(quantizationDefaults(modeOf(object)))
}

function quantizationObject(config: ConfigReader): ConfigReader | undefined {
  if (config.isTrue('quantization')) return withDefaults(config.picked([]))
  if (config.has('quantization') && !config.isFalse('quantization')) {
    return config.object('quantization')
  }
  if (!config.has('quantization_config')) return undefined
  const other = config.object('quantization_config')
  // Other software names its method; mlx-lm has none, because there is but one.
  if (other.has('quant_method') || !other.has('bits') || !other.has('group_size')) {
    config.unsupported('is quantised (quantization_config) but not in the form of mlx-lm')
  }
  return other
}

/** What one object states. */
export function readStated(object: ConfigReader): Quantization {
  const mode = modeOf(object)
  if (!object.has('bits') || !object.has('group_size')) {
    object.invalid('quantisation must state bits and group_size')
  }
  return readQuantization(mode, object)
}

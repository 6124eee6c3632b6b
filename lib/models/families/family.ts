// What a family of checkpoints says about a model: its configuration and the names of its tensors.

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { Quantization } from '../../weights/formats/formats.js'
import type { LayerNames } from '../blocks/blocks.js'
import type { ModelConfig } from '../config.js'

/** Names inside a checkpoint. Those of a layer follow `${block}.${index}.`. */
export interface TensorNames {
  /** Modules: their tensors are `.weight`, and `.scales` and `.biases` when quantised. */
  embedding: string
  head: string
  finalNorm: string
  block: string
  /** Inside a block: the norm before the layer, and the prefix of the layer's own tensors. */
  norm: string
  layer: string
  /** Of each kind of layer that the family has. */
  layers: LayerNames
}

export interface ModelDescription {
  config: ModelConfig
  names: TensorNames
  /**
   * What counts where a configuration ties the head to the embedding and the file has both with different
   * values: both as they are (transformers 5), or the head's for both (mamba_ssm reads the two, one after
   * the other, into one). Undefined for formats in which they are never tied.
   */
  tying: 'two matrices' | 'the head' | undefined
  /** Quantisation of the module at this path, when it is quantised. Throws for one that is not implemented. */
  quantizationOf(path: string): Quantization | undefined
}

/** The names of mamba_ssm and of everything that follows it. */
const MAMBA_SSM_NAMES: TensorNames = {
  embedding: 'backbone.embedding',
  head: 'lm_head',
  finalNorm: 'backbone.norm_f.weight',
  block: 'backbone.layers',
  norm: 'norm.weight',
  layer: 'mixer',
  layers: {
    mamba2: {
      inProj: 'in_proj',
      outProj: 'out_proj',
      convWeight: 'conv1d.weight',
      convBias: 'conv1d.bias',
      dtBias: 'dt_bias',
      D: 'D',
      gatedNorm: 'norm.weight',
      decay: 'A_log',
    },
  },
}

const LAST_NORM = MAMBA_SSM_NAMES.finalNorm

/**
 * The names of a file whose tensors are named as mamba_ssm names them. A model inside another one has them
 * all under the name that it has there, such as `language_model.`, the head perhaps beside it.
 */
export function mambaSsmNames(tensors: ReadonlyMap<string, TensorEntry>): {
  prefix: string
  names: TensorNames
} {
  const places = tensors.has(LAST_NORM)
    ? [LAST_NORM]
    : [...tensors.keys()].filter((name) => name.endsWith(`.${LAST_NORM}`))
  const prefix = places.length === 1 ? places[0]!.slice(0, -LAST_NORM.length) : ''
  const { embedding, head, finalNorm, block } = MAMBA_SSM_NAMES
  const names = {
    ...MAMBA_SSM_NAMES,
    embedding: prefix + embedding,
    head: tensors.has(`${head}.weight`) ? head : prefix + head,
    finalNorm: prefix + finalNorm,
    block: prefix + block,
  }
  return { prefix, names }
}

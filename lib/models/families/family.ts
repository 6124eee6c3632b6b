// What a family of checkpoints says about a model: its configuration and the names of its tensors.

import type { ModelConfig, Quantization } from '../config.js'

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
  mamba2: {
    inProj: string
    outProj: string
    convWeight: string
    convBias: string
    dtBias: string
    D: string
    gatedNorm: string
    /** A = -exp(A_log), or A as it is. */
    decay: { name: 'A_log' } | { name: 'A' }
  }
  mlp: { inProj: string; gateProj: string; outProj: string; norm: string }
  attention: { qkvProj: string; outProj: string }
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
export const MAMBA_SSM_NAMES: TensorNames = {
  embedding: 'backbone.embedding',
  head: 'lm_head',
  finalNorm: 'backbone.norm_f.weight',
  block: 'backbone.layers',
  norm: 'norm.weight',
  layer: 'mixer',
  mamba2: {
    inProj: 'in_proj',
    outProj: 'out_proj',
    convWeight: 'conv1d.weight',
    convBias: 'conv1d.bias',
    dtBias: 'dt_bias',
    D: 'D',
    gatedNorm: 'norm.weight',
    decay: { name: 'A_log' },
  },
  mlp: { inProj: 'in_proj', gateProj: 'gate_proj', outProj: 'out_proj', norm: 'norm.weight' },
  attention: { qkvProj: 'in_proj', outProj: 'out_proj' },
}

// What mlx-lm has a model as: how it names and lays out what the authors name and lay out in another way, and what its
// classes need to find in config.json. `convert` writes it. (mlx_lm/models: `sanitize`, `quant_predicate` and `ModelArgs`
// of each family)

import type { Factor, Multiplier } from '../../weights/loader.js'
import type { JsonObject } from '../../support/json.js'
import type { LayerDescription } from '../blocks/blocks.js'
import type { FullAttentionConfig } from '../blocks/full-attention.js'
import type { Mamba2Config } from '../blocks/mamba2.js'
import type { TensorNames } from './tensor-names.js'

/** How mlx-lm has the checkpoints of a family. */
export interface MlxForm {
  /** What it calls what is not in a layer, and what the names of all layers begin with. */
  names: TensorNames
  /** Keys of config.json that it needs, or has with another value. They count in `text_config` where there is one. */
  config: JsonObject
  /** They are the whole config.json: the one that is there is of another family. */
  isWholeConfig?: boolean
  /** A model inside another one stays in `text_config`. Otherwise its keys are the whole config.json. */
  keepsTextConfig?: boolean
  /** Modules of a layer that have another name there: `*` stands for the number of an expert, whose matrices become one. */
  renamed?: readonly (readonly [from: string, to: string])[]
  /** Modules of a layer whose rows, of each expert, are equal parts of several modules there. */
  parted?: readonly (readonly [from: string, to: readonly string[]])[]
  /** The last parts of the names of taps, whose axes it turns from (C, 1, K) to (C, K, 1). */
  taps: string
  /** Factors that its weights hold, by the tensor's name in the checkpoint. */
  factors?: ReadonlyMap<string, Factor>
  /** What is added to these vectors, by the last parts of their names. */
  added?: { to: readonly string[]; value: number }
  /** It has a head of its own even where the model's is its embedding. */
  hasOwnHead?: boolean
  /** Modules that it quantises to 8 bits in groups of 64, whatever the others get: the last parts of their names. */
  inEightBits?: readonly string[]
  /** Modules that are no linear layers there, and stay in floats. */
  inFloats?: readonly string[]
}

/** Names of Llama and all that follow it. `inside`: what stands before all of them. */
export function llamaForm(finalNorm: string, inside = ''): TensorNames {
  return {
    embedding: `${inside}model.embed_tokens`,
    head: `${inside}lm_head`,
    finalNorm: `${inside}model.${finalNorm}.weight`,
    block: `${inside}model.layers`,
  }
}

/** Names of mamba_ssm as transformers and mlx-lm have them. */
export const BACKBONE_FORM: TensorNames = {
  embedding: 'backbone.embeddings',
  head: 'lm_head',
  finalNorm: 'backbone.norm_f.weight',
  block: 'backbone.layers',
}

/** The configuration of the first layer of a kind. */
export function firstOf<Kind extends LayerDescription['config']['kind']>(
  layers: readonly LayerDescription[],
  kind: Kind,
): Extract<LayerDescription['config'], { kind: Kind }> | undefined {
  const config = layers.map((layer) => layer.config).find((each) => each.kind === kind)
  return config as Extract<LayerDescription['config'], { kind: Kind }> | undefined
}

/** Mamba-2 layers in the words of Bamba and all that follow it. */
export function mambaKeys(mamba2: Mamba2Config | undefined): JsonObject {
  if (!mamba2) return {}
  return {
    mamba_n_heads: mamba2.numHeads,
    mamba_d_head: mamba2.headDim,
    mamba_n_groups: mamba2.nGroups,
    mamba_d_state: mamba2.dState,
    mamba_d_conv: mamba2.dConv,
    mamba_proj_bias: mamba2.projectionBias,
    mamba_conv_bias: mamba2.convBias,
    time_step_limit: [...mamba2.dtLimit],
  }
}

/** Attention in the words of Llama and all that follow it. */
export function attentionKeys(attention: FullAttentionConfig | undefined): JsonObject {
  if (!attention) return {}
  return {
    num_attention_heads: attention.numHeads,
    num_key_value_heads: attention.numKvHeads,
    head_dim: attention.headDim,
    attention_bias: attention.qkvBias,
  }
}

/** The factors of all layers, by tensors: of weights, and of biases. */
export function layerFactors(layers: readonly LayerDescription[]): Map<string, Factor> {
  const found = new Map<string, Factor>()
  const add = (module: string, multiplier: Multiplier | undefined) => {
    if (!multiplier) return
    found.set(`${module}.weight`, multiplier.weight)
    found.set(`${module}.bias`, multiplier.bias)
  }
  for (const { config, names, path } of layers) {
    if (config.kind === 'full_attention' && 'projections' in names) {
      const each = [config.qMultiplier, config.kMultiplier, config.vMultiplier]
      for (const [i, module] of names.projections.entries()) add(`${path}.${module}`, each[i])
      add(`${path}.${names.outProj}`, config.outMultiplier)
    } else if ((config.kind === 'mamba2' || config.kind === 'mlp') && 'inProj' in names) {
      add(`${path}.${names.inProj}`, config.inMultiplier)
      add(`${path}.${names.outProj}`, config.outMultiplier)
    }
  }
  return found
}

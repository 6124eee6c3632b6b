// IBM's Bamba (transformers' `bamba`). (transformers/models/bamba/modular_bamba.py)

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { LayerDescription } from '../blocks/blocks.js'
import type { ConfigReader } from '../config-reader.js'
import { type Family, hasModelType, type ModelDescription } from './family.js'
import { ATTENTION_NAMES, GATED_MLP_NAMES } from './hybrid-keys.js'
import { readAttentionKeys, readGatedMlp, readMambaKeys } from './hybrid-keys.js'
import { llamaNames } from './llama-names.js'
import { MAMBA2_NAMES } from './mamba-ssm.js'
import { transformersModel } from './transformers-model.js'

// What BambaConfig has for keys that are left out.
const DEFAULTS = {
  vocab_size: 128000,
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  rms_norm_eps: 1e-5,
  mamba_n_heads: 128,
  // BambaConfig sets it, whatever a file says.
  partial_rotary_factor: 0.5,
}

export const bamba: Family = {
  name: 'bamba',
  licence: 'Apache-2.0',
  published: [{ name: 'ibm-ai-platform/Bamba-9B-v2', parameters: '9B' }],
  isConfig: (config) => hasModelType(config, 'bamba'),
  describe,
}

function describe(
  given: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
): ModelDescription {
  const config = given.withDefaults(DEFAULTS)
  const dModel = config.dimension('hidden_size')
  const names = llamaNames(tensors, 'final_layernorm')
  return transformersModel(config, {
    architecture: 'bamba',
    names,
    layers: readLayers(config, dModel, names.block),
    normEpsilon: config.epsilon('rms_norm_eps'),
    tied: false,
    maxContext: config.dimension('max_position_embeddings', 262_144),
  })
}

function readLayers(config: ConfigReader, dModel: number, block: string): LayerDescription[] {
  const layerCount = config.layerCount('num_hidden_layers')
  const attentionLayers = config.layerIndices('attn_layer_indices', layerCount)
  const mamba2 = attentionLayers.size < layerCount ? readMambaKeys(config, dModel) : undefined
  const attention =
    attentionLayers.size > 0 ? readAttentionKeys(config, dModel, { rotary: 'part' }) : undefined
  const bias = config.boolean('mlp_bias', false)
  const mlp = readGatedMlp(config, config.dimension('intermediate_size'), bias)
  return Array.from({ length: layerCount }, (_, i): LayerDescription[] => {
    const layer = `${block}.${i}`
    const norm = `${layer}.input_layernorm.weight`
    return [
      attentionLayers.has(i)
        ? { config: attention!, names: ATTENTION_NAMES, path: `${layer}.self_attn`, norm }
        : { config: mamba2!, names: MAMBA2_NAMES, path: `${layer}.mamba`, norm },
      {
        config: mlp,
        names: GATED_MLP_NAMES,
        path: `${layer}.feed_forward`,
        norm: `${layer}.pre_ff_layernorm.weight`,
      },
    ]
  }).flat()
}

// IBM's Granite 4.0 H (transformers' `granitemoehybrid`), and the same models converted by mlx-lm.
// (transformers/models/granitemoehybrid/modular_granitemoehybrid.py)

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { LayerDescription } from '../blocks/blocks.js'
import type { ExpertMatrices, ExpertsConfig } from '../blocks/experts.js'
import type { MlpNames } from '../blocks/mlp.js'
import type { ConfigReader } from '../config-reader.js'
import { expertMatrices, readExpertCounts, SWITCH_MLP } from './expert-keys.js'
import { type Family, hasModelType, type ModelDescription } from './family.js'
import { ATTENTION_NAMES, GATED_MLP_NAMES } from './hybrid-keys.js'
import { readAttentionKeys, readGatedMlp, readMambaKeys } from './hybrid-keys.js'
import { llamaNames } from './llama-names.js'
import { MAMBA2_NAMES } from './mamba-ssm.js'
import { attentionKeys, firstOf, llamaForm, mambaKeys, type MlxForm } from './mlx-form.js'
import { transformersModel } from './transformers-model.js'

// What GraniteMoeHybridConfig has for keys that are left out.
const DEFAULTS = {
  vocab_size: 32000,
  hidden_size: 4096,
  num_attention_heads: 32,
  rms_norm_eps: 1e-6,
  num_local_experts: 8,
  num_experts_per_tok: 2,
  intermediate_size: 11008,
  shared_intermediate_size: 1024,
  mamba_n_heads: 128,
}

// One matrix for gate and up.
const SHARED_MLP_NAMES: MlpNames = { inProj: 'input_linear', outProj: 'output_linear' }

// The same of each expert; and as mlx-lm parts it.
const EXPERT_MATRICES: [ExpertMatrices, ExpertMatrices] = [
  { inProj: 'input_linear', outProj: 'output_linear' },
  SWITCH_MLP,
]

export const graniteHybrid: Family = {
  name: 'granitemoehybrid',
  licence: 'Apache-2.0',
  published: [
    { name: 'ibm-granite/granite-4.0-h-350m', parameters: '350M' },
    { name: 'ibm-granite/granite-4.0-h-1b', parameters: '1.5B' },
    { name: 'ibm-granite/granite-4.0-h-micro', parameters: '3B' },
    { name: 'ibm-granite/granite-4.0-h-tiny', parameters: '7B' },
    { name: 'ibm-granite/granite-4.0-h-small', parameters: '32B' },
  ],
  isConfig: (config) => hasModelType(config, 'granitemoehybrid'),
  describe,
}

function describe(
  given: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
): ModelDescription {
  const config = given.withDefaults(DEFAULTS)
  const dModel = config.dimension('hidden_size')
  const names = llamaNames(tensors, 'norm')
  const layers = readLayers(config, dModel, names.block, tensors)
  const model = transformersModel(config, {
    architecture: 'granitemoehybrid',
    names,
    layers,
    normEpsilon: config.epsilon('rms_norm_eps'),
    tied: false,
    maxContext: config.dimension('max_position_embeddings', 2048),
    more: {
      embeddingMultiplier: config.factor('embedding_multiplier'),
      logitsMultiplier: 1 / config.factor('logits_scaling'),
    },
  })
  return { ...model, mlx: () => graniteForm(config, layers) }
}

// Where nothing is said, its class takes other values: bounds of the steps, a tied head, rotary embedding.
function graniteForm(config: ConfigReader, layers: readonly LayerDescription[]): MlxForm {
  const attention = firstOf(layers, 'full_attention')
  const numExperts = config.number('num_local_experts')
  const words = { mamba2: 'mamba', attention: 'attention' }
  const { head_dim: _, ...keys } = attentionKeys(attention)
  return {
    names: llamaForm('norm'),
    taps: '.conv1d.weight',
    renamed: [
      ['block_sparse_moe.output_linear', 'block_sparse_moe.switch_mlp.down_proj'],
      ...(numExperts > 0 ? [] : ([['shared_mlp.output_linear', 'mlp.down_proj']] as const)),
    ],
    parted: [
      [
        'block_sparse_moe.input_linear',
        ['block_sparse_moe.switch_mlp.gate_proj', 'block_sparse_moe.switch_mlp.up_proj'],
      ],
      ...(numExperts > 0
        ? []
        : ([['shared_mlp.input_linear', ['mlp.gate_proj', 'mlp.up_proj']]] as const)),
    ],
    inEightBits: ['.router.layer'],
    config: {
      vocab_size: config.dimension('vocab_size'),
      hidden_size: config.dimension('hidden_size'),
      intermediate_size: config.dimension('intermediate_size'),
      shared_intermediate_size: config.dimension('shared_intermediate_size'),
      max_position_embeddings: config.dimension('max_position_embeddings', 2048),
      // It reads them of models without such layers as well.
      num_attention_heads: config.dimension('num_attention_heads'),
      num_key_value_heads: config.dimension(
        config.has('num_key_value_heads') ? 'num_key_value_heads' : 'num_attention_heads',
      ),
      attention_bias: false,
      ...keys,
      ...mambaKeys(firstOf(layers, 'mamba2')),
      embedding_multiplier: config.factor('embedding_multiplier'),
      attention_multiplier: config.positive('attention_multiplier', 1),
      logits_scaling: config.factor('logits_scaling'),
      residual_multiplier: config.factor('residual_multiplier'),
      rms_norm_eps: config.epsilon('rms_norm_eps'),
      num_local_experts: numExperts,
      num_experts_per_tok: config.number('num_experts_per_tok'),
      position_embedding_type: attention?.rotary ? 'rope' : 'nope',
      layer_types: config.layerTypes('layer_types', LAYER_TYPES).map((type) => words[type]),
    },
  }
}

// As published, and as transformers 5 writes them.
const LAYER_TYPES = {
  mamba: 'mamba2',
  linear_attention: 'mamba2',
  attention: 'attention',
  full_attention: 'attention',
} as const

function readLayers(
  config: ConfigReader,
  dModel: number,
  block: string,
  tensors: ReadonlyMap<string, TensorEntry>,
): LayerDescription[] {
  const residual = config.factor('residual_multiplier')
  const outMultiplier = { weight: residual, bias: residual }
  const types = config.layerTypes('layer_types', LAYER_TYPES)
  const hasMamba = types.includes('mamba2')
  const hasAttention = types.includes('attention')
  const mamba2 = hasMamba ? { ...readMambaKeys(config, dModel), outMultiplier } : undefined
  const isRotary = config.only('position_embedding_type', ['nope', 'rope', null]) === 'rope'
  const attention = hasAttention
    ? {
        ...readAttentionKeys(config, dModel, {
          rotary: isRotary ? 'whole' : undefined,
          scale: config.positive('attention_multiplier', 1),
        }),
        outMultiplier,
      }
    : undefined
  const feedForward = readFeedForward(config, tensors)
  return types.flatMap((type, i): LayerDescription[] => {
    const layer = `${block}.${i}`
    const norm = `${layer}.input_layernorm.weight`
    return [
      type === 'mamba2'
        ? { config: mamba2!, names: MAMBA2_NAMES, path: `${layer}.mamba`, norm }
        : { config: attention!, names: ATTENTION_NAMES, path: `${layer}.self_attn`, norm },
      ...feedForward(layer),
    ]
  })
}

// Of each layer, given what its names begin with, an MLP, and where there are some, experts beside it.
function readFeedForward(
  config: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
): (layer: string) => LayerDescription[] {
  const residual = config.factor('residual_multiplier')
  const mlp = {
    ...readGatedMlp(config, config.dimension('shared_intermediate_size')),
    outMultiplier: { weight: residual, bias: residual },
  }
  const experts = config.number('num_local_experts') > 0 ? readExperts(config, residual) : undefined
  return (layer) => {
    const norm = `${layer}.post_attention_layernorm.weight`
    // mlx-lm parts the matrix of gate and up where there are no experts.
    const isParted = tensors.has(`${layer}.mlp.gate_proj.weight`)
    const always = {
      config: mlp,
      names: isParted ? GATED_MLP_NAMES : SHARED_MLP_NAMES,
      path: isParted ? `${layer}.mlp` : `${layer}.shared_mlp`,
    }
    if (!experts) return [{ ...always, norm }]
    const path = `${layer}.block_sparse_moe`
    const names = { router: 'router.layer', ...expertMatrices(tensors, path, EXPERT_MATRICES) }
    return [{ config: experts, names, path, norm }, always]
  }
}

// The softmax of the logits of the chosen is that of all, divided by its sum.
function readExperts(config: ConfigReader, outMultiplier: number): ExpertsConfig {
  const { numExperts, numChosen } = readExpertCounts(config, { experts: 'num_local_experts' })
  return {
    kind: 'experts',
    numExperts,
    numChosen,
    dInner: config.dimension('intermediate_size'),
    activation: 'silu',
    gated: true,
    routing: { scores: 'softmax', normalised: true },
    hasRouterBias: false,
    outMultiplier,
  }
}

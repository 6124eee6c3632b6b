// NVIDIA's Nemotron-H and Nemotron 3 Nano (transformers' `nemotron_h`), and the same models converted by mlx-lm. Every
// layer is one block, or experts and an MLP beside them. (transformers/models/nemotron_h/modular_nemotron_h.py)

import type { JsonObject } from '../../support/json.js'
import type { TensorEntry } from '../../weights/checkpoint.js'
import type { LayerDescription } from '../blocks/blocks.js'
import type { ExpertMatrices, ExpertsConfig } from '../blocks/experts.js'
import type { FullAttentionConfig } from '../blocks/full-attention.js'
import type { Mamba2Config } from '../blocks/mamba2.js'
import type { MlpConfig, MlpNames } from '../blocks/mlp.js'
import type { ConfigReader } from '../config-reader.js'
import { expertMatrices, readExpertCounts } from './expert-keys.js'
import { type Family, hasModelType, type ModelDescription } from './family.js'
import { ATTENTION_NAMES, readAttentionKeys } from './hybrid-keys.js'
import { MAMBA2_NAMES, mambaSsmNames, mixerLayer } from './mamba-ssm.js'
import { attentionKeys, BACKBONE_FORM, firstOf, type MlxForm } from './mlx-form.js'
import { transformersModel } from './transformers-model.js'

// What NemotronHConfig has for keys that are left out.
const DEFAULTS = {
  vocab_size: 131072,
  hidden_size: 4096,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 128,
  intermediate_size: 21504,
  ssm_state_size: 128,
  mamba_num_heads: 128,
  mamba_head_dim: 64,
  n_groups: 8,
  conv_kernel: 4,
  layer_norm_epsilon: 1e-5,
  n_routed_experts: 8,
  num_experts_per_tok: 2,
  moe_intermediate_size: 7688,
  moe_shared_expert_intermediate_size: 7688,
}

const MLP_NAMES: MlpNames = { inProj: 'up_proj', outProj: 'down_proj' }

const SHARED_EXPERT_NAMES: MlpNames = {
  inProj: 'shared_experts.up_proj',
  outProj: 'shared_experts.down_proj',
}
const EXPERTS_NAMES = {
  router: 'gate',
  routerBias: 'gate.e_score_correction_bias',
  latentIn: 'fc1_latent_proj',
  latentOut: 'fc2_latent_proj',
}
// As published; as mlx-lm has them; as transformers 5 has them in memory.
const EXPERT_MATRICES: [ExpertMatrices, ...ExpertMatrices[]] = [
  { inProj: 'experts.*.up_proj', outProj: 'experts.*.down_proj' },
  { inProj: 'switch_mlp.fc1', outProj: 'switch_mlp.fc2' },
  { inProj: 'experts.up_proj', outProj: 'experts.down_proj' },
]

// As published, letters; as transformers 5 writes them, words; and the words it had before.
const PATTERN = { M: 'mamba2', '*': 'attention', '-': 'mlp', E: 'experts' } as const
const BLOCK_TYPES = {
  mamba: 'mamba2',
  linear_attention: 'mamba2',
  attention: 'attention',
  full_attention: 'attention',
  mlp: 'mlp',
  moe: 'experts',
} as const

export const nemotronH: Family = {
  name: 'nemotron_h',
  licence: 'NVIDIA Open Model License',
  published: [
    { name: 'nvidia/NVIDIA-Nemotron-3-Nano-4B-BF16', parameters: '4B' },
    { name: 'nvidia/NVIDIA-Nemotron-Nano-9B-v2', parameters: '9B' },
    { name: 'nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16', parameters: '30B' },
  ],
  isConfig: (config) => hasModelType(config, 'nemotron_h'),
  describe,
}

function describe(
  given: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
): ModelDescription {
  const config = withOlderKeys(given).withDefaults(DEFAULTS)
  const dModel = config.dimension('hidden_size')
  const { prefix, names: found } = mambaSsmNames(tensors)
  const names = { ...found, embedding: `${prefix}backbone.embeddings` }
  const layers = readLayers(config, dModel, names.block, tensors)
  const model = transformersModel(config, {
    architecture: 'nemotron_h',
    names,
    layers,
    normEpsilon: config.epsilon('layer_norm_epsilon'),
    tied: false,
    maxContext: config.dimension('max_position_embeddings', 4096),
  })
  return { ...model, mlx: () => nemotronForm(config, layers) }
}

// Its router is no linear layer there, and its head never the embedding.
function nemotronForm(config: ConfigReader, layers: readonly LayerDescription[]): MlxForm {
  const mamba2 = firstOf(layers, 'mamba2')
  return {
    names: BACKBONE_FORM,
    taps: '.conv1d.weight',
    renamed: [
      ['mixer.experts.*.up_proj', 'mixer.switch_mlp.fc1'],
      ['mixer.experts.*.down_proj', 'mixer.switch_mlp.fc2'],
      ['mixer.experts.up_proj', 'mixer.switch_mlp.fc1'],
      ['mixer.experts.down_proj', 'mixer.switch_mlp.fc2'],
    ],
    inFloats: ['.mixer.gate'],
    hasOwnHead: true,
    config: {
      vocab_size: config.dimension('vocab_size'),
      hidden_size: config.dimension('hidden_size'),
      intermediate_size: config.dimension('intermediate_size'),
      max_position_embeddings: config.dimension('max_position_embeddings', 4096),
      num_attention_heads: config.dimension('num_attention_heads'),
      num_key_value_heads: config.dimension(
        config.has('num_key_value_heads') ? 'num_key_value_heads' : 'num_attention_heads',
      ),
      attention_bias: false,
      ...attentionKeys(firstOf(layers, 'full_attention')),
      mamba_num_heads: config.dimension('mamba_num_heads'),
      mamba_head_dim: config.dimension('mamba_head_dim'),
      ssm_state_size: config.dimension('ssm_state_size'),
      conv_kernel: config.dimension('conv_kernel'),
      n_groups: config.dimension('n_groups'),
      // It reads one of the two, and other software the other.
      mamba_proj_bias: mamba2?.projectionBias ?? false,
      use_bias: mamba2?.projectionBias ?? false,
      use_conv_bias: mamba2?.convBias ?? true,
      time_step_limit: [...(mamba2?.dtLimit ?? [0, Number.POSITIVE_INFINITY])],
      mlp_bias: config.boolean('mlp_bias', false),
      layer_norm_epsilon: config.epsilon('layer_norm_epsilon'),
      ...(firstOf(layers, 'experts') && expertKeys(config)),
    },
  }
}

function expertKeys(config: ConfigReader): JsonObject {
  return {
    n_routed_experts: config.dimension('n_routed_experts'),
    n_shared_experts: config.dimension('n_shared_experts', 1),
    num_experts_per_tok: config.dimension('num_experts_per_tok'),
    moe_intermediate_size: config.dimension('moe_intermediate_size'),
    moe_shared_expert_intermediate_size: config.dimension('moe_shared_expert_intermediate_size'),
    n_group: config.dimension('n_group', 1),
    topk_group: config.dimension('topk_group', 1),
    norm_topk_prob: config.boolean('norm_topk_prob', true),
    routed_scaling_factor: config.factor('routed_scaling_factor'),
  }
}

// What the authors called some keys at first, as Bamba does, and another name of one. Where they are, they count.
// (NemotronHConfig.__post_init__ and its attribute_map)
const OLDER_KEYS = {
  mamba_n_groups: 'n_groups',
  mamba_d_conv: 'conv_kernel',
  mamba_dt_limit: 'time_step_limit',
  mamba_conv_bias: 'use_conv_bias',
  num_local_experts: 'n_routed_experts',
}

function withOlderKeys(config: ConfigReader): ConfigReader {
  let read = config
  for (const [older, key] of Object.entries(OLDER_KEYS)) {
    if (config.has(older)) read = read.renamed(older, key)
  }
  return read
}

function readLayers(
  config: ConfigReader,
  dModel: number,
  block: string,
  tensors: ReadonlyMap<string, TensorEntry>,
): LayerDescription[] {
  const types = config.has('hybrid_override_pattern')
    ? config.layerLetters('hybrid_override_pattern', PATTERN)
    : config.layerTypes(
        config.has('layers_block_type') ? 'layers_block_type' : 'layer_types',
        BLOCK_TYPES,
      )
  const mamba2 = types.includes('mamba2') ? readMamba(config) : undefined
  const mlp = types.includes('mlp') ? readMlp(config, 'intermediate_size') : undefined
  const hasExperts = types.includes('experts')
  const experts = hasExperts ? readExperts(config) : undefined
  const shared = hasExperts ? readMlp(config, 'moe_shared_expert_intermediate_size') : undefined
  const attention = types.includes('attention') ? readAttention(config, dModel, tensors) : undefined
  return types.flatMap((type, i): LayerDescription[] => {
    const place = mixerLayer(block, i)
    if (type === 'mamba2') return [{ config: mamba2!, names: MAMBA2_NAMES, ...place }]
    if (type === 'mlp') return [{ config: mlp!, names: MLP_NAMES, ...place }]
    if (type === 'attention') return [{ config: attention!, names: ATTENTION_NAMES, ...place }]
    const { path } = place
    const names = { ...EXPERTS_NAMES, ...expertMatrices(tensors, path, EXPERT_MATRICES) }
    return [
      { config: experts!, names, ...place },
      { config: shared!, names: SHARED_EXPERT_NAMES, path },
    ]
  })
}

function readMamba(config: ConfigReader): Mamba2Config {
  config.only('mamba_hidden_act', ['silu', 'swish'])
  const numHeads = config.dimension('mamba_num_heads')
  const headDim = config.dimension('mamba_head_dim')
  const nGroups = config.dimension('n_groups')
  if (numHeads % nGroups !== 0) {
    config.invalid(`n_groups ${nGroups} does not divide mamba_num_heads ${numHeads}`)
  }
  return {
    kind: 'mamba2',
    dInner: numHeads * headDim,
    numHeads,
    headDim,
    nGroups,
    dState: config.dimension('ssm_state_size'),
    dConv: config.dimension('conv_kernel'),
    normGroups: nGroups,
    normBeforeGate: false,
    dtLimit: config.limits('time_step_limit'),
    projectionBias: config.boolean('use_bias', false),
    convBias: config.boolean('use_conv_bias', true),
    normEpsilon: config.epsilon('layer_norm_epsilon'),
  }
}

// Without rotary embedding. transformers has no biases here, whatever attention_bias says; the authors and mlx-lm have.
function readAttention(
  config: ConfigReader,
  dModel: number,
  tensors: ReadonlyMap<string, TensorEntry>,
): FullAttentionConfig {
  const attention = readAttentionKeys(config, dModel, {})
  const hasBias = [...tensors.keys()].some((name) => name.endsWith('.q_proj.bias'))
  return hasBias ? attention : { ...attention, qkvBias: false, outBias: false }
}

function readExperts(config: ConfigReader): ExpertsConfig {
  config.only('mlp_hidden_act', ['relu2'])
  config.only('mlp_bias', [false])
  const { numExperts, numChosen, ...groups } = readExpertCounts(config, {
    experts: 'n_routed_experts',
    groups: 'n_group',
    keptGroups: 'topk_group',
  })
  return {
    kind: 'experts',
    numExperts,
    numChosen,
    dInner: config.dimension('moe_intermediate_size'),
    ...(config.has('moe_latent_size') && { dLatent: config.dimension('moe_latent_size') }),
    activation: 'relu2',
    gated: false,
    routing: {
      scores: 'sigmoid',
      normalised: config.boolean('norm_topk_prob', true),
      epsilon: 1e-20,
      scale: config.factor('routed_scaling_factor'),
      ...groups,
    },
    hasRouterBias: true,
  }
}

function readMlp(config: ConfigReader, width: string): MlpConfig {
  config.only('mlp_hidden_act', ['relu2'])
  return {
    kind: 'mlp',
    dInner: config.dimension(width),
    activation: 'relu2',
    gated: false,
    bias: config.boolean('mlp_bias', false),
    norm: false,
    normEpsilon: config.epsilon('layer_norm_epsilon'),
  }
}

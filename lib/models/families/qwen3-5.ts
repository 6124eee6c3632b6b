// Alibaba's Qwen3.5 (transformers' `qwen3_5_text`, and the text model inside `qwen3_5`; `qwen3_5_moe` with experts), and the
// same models converted by mlx-lm. Gated DeltaNet and gated attention, each followed by an MLP, or by experts and a gated MLP
// beside them. (transformers/models/qwen3_5/modular_qwen3_5.py, transformers/models/qwen3_5_moe/modular_qwen3_5_moe.py)

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { LayerDescription } from '../blocks/blocks.js'
import type { ExpertMatrices, ExpertsConfig } from '../blocks/experts.js'
import type { FullAttentionConfig, FullAttentionNames } from '../blocks/full-attention.js'
import type { GatedDeltaNetConfig, GatedDeltaNetNames } from '../blocks/gated-delta-net.js'
import type { MlpNames } from '../blocks/mlp.js'
import type { ConfigReader } from '../config-reader.js'
import { readTheta } from '../blocks/rotary.js'
import { expertMatrices, readExpertCounts, SWITCH_MLP } from './expert-keys.js'
import { type Family, hasModelType, type ModelDescription } from './family.js'
import {
  ATTENTION_NAMES,
  GATED_MLP_NAMES,
  hasTurnedTaps,
  readAttentionKeys,
  readGatedMlp,
} from './hybrid-keys.js'
import { llamaNames } from './llama-names.js'
import { attentionKeys, firstOf, llamaForm, type MlxForm } from './mlx-form.js'
import { transformersModel } from './transformers-model.js'

// What Qwen3_5TextConfig has for keys that are left out.
const DEFAULTS = {
  vocab_size: 248320,
  hidden_size: 4096,
  intermediate_size: 12288,
  num_hidden_layers: 32,
  num_attention_heads: 16,
  num_key_value_heads: 4,
  head_dim: 256,
  rms_norm_eps: 1e-6,
  partial_rotary_factor: 0.25,
}

// What Qwen3_5MoeTextConfig has for them.
const MOE_DEFAULTS = {
  vocab_size: 248320,
  hidden_size: 2048,
  num_hidden_layers: 40,
  num_attention_heads: 16,
  num_key_value_heads: 2,
  head_dim: 256,
  rms_norm_eps: 1e-6,
  partial_rotary_factor: 0.25,
  moe_intermediate_size: 512,
  shared_expert_intermediate_size: 512,
  num_experts: 256,
  num_experts_per_tok: 8,
}

const DELTA_NAMES: GatedDeltaNetNames = {
  inProjQkv: 'in_proj_qkv',
  inProjZ: 'in_proj_z',
  inProjB: 'in_proj_b',
  inProjA: 'in_proj_a',
  outProj: 'out_proj',
  convWeight: 'conv1d.weight',
  dtBias: 'dt_bias',
  aLog: 'A_log',
  gatedNorm: 'norm.weight',
}

const GATED_ATTENTION_NAMES: FullAttentionNames = {
  ...ATTENTION_NAMES,
  qNorm: 'q_norm.weight',
  kNorm: 'k_norm.weight',
}

// As published; as mlx-lm has them; as transformers 5 writes them.
const EXPERT_MATRICES: [ExpertMatrices, ...ExpertMatrices[]] = [
  { inProj: 'experts.gate_up_proj', outProj: 'experts.down_proj' },
  SWITCH_MLP,
  {
    inProj: 'experts.*.gate_proj',
    gateProj: 'experts.*.up_proj',
    outProj: 'experts.*.down_proj',
  },
]

const SHARED_EXPERT_NAMES: MlpNames = {
  inProj: 'shared_expert.gate_proj',
  gateProj: 'shared_expert.up_proj',
  outProj: 'shared_expert.down_proj',
  outputGate: 'shared_expert_gate',
}

export const qwen35: Family = {
  name: 'qwen3_5',
  licence: 'Apache-2.0',
  published: [
    { name: 'Qwen/Qwen3.5-0.8B', parameters: '0.8B' },
    { name: 'Qwen/Qwen3.5-2B', parameters: '2B' },
    { name: 'Qwen/Qwen3.5-4B', parameters: '4B' },
    { name: 'Qwen/Qwen3.5-9B', parameters: '9B' },
  ],
  isConfig: (config) => hasModelType(config, 'qwen3_5') || hasModelType(config, 'qwen3_5_text'),
  describe: (config, tensors) => describe(config.withDefaults(DEFAULTS), tensors, 'qwen3_5'),
}

export const qwen35Moe: Family = {
  name: 'qwen3_5_moe',
  licence: 'Apache-2.0',
  published: [{ name: 'Qwen/Qwen3.5-35B-A3B', parameters: '35B' }],
  isConfig: (config) =>
    hasModelType(config, 'qwen3_5_moe') || hasModelType(config, 'qwen3_5_moe_text'),
  describe: (config, tensors) =>
    describe(config.withDefaults(MOE_DEFAULTS), tensors, 'qwen3_5_moe'),
}

function describe(
  config: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
  architecture: 'qwen3_5' | 'qwen3_5_moe',
): ModelDescription {
  const dModel = config.dimension('hidden_size')
  const names = llamaNames(tensors, 'norm')
  const isMlx = hasTurnedTaps(tensors, '.linear_attn.conv1d.weight')
  // mlx-lm adds the 1 as it turns the taps.
  const normOffset = isMlx ? 0 : 1
  const isMoe = architecture === 'qwen3_5_moe'
  const feedForward = isMoe ? readExpertLayers(config, tensors) : readMlpLayers(config)
  const layers = readLayers(config, dModel, names.block, { normOffset, feedForward })
  const model = transformersModel(config, {
    architecture,
    names,
    layers,
    normEpsilon: config.epsilon('rms_norm_eps'),
    tied: false,
    maxContext: config.dimension('max_position_embeddings', 32_768),
    isConverted: isMlx,
    more: { normOffset },
  })
  return { ...model, mlx: () => qwenForm(config, layers, architecture, normOffset) }
}

// The vision-language model's names, also where there is no vision.
function qwenForm(
  config: ConfigReader,
  layers: readonly LayerDescription[],
  architecture: 'qwen3_5' | 'qwen3_5_moe',
  normOffset: number,
): MlxForm {
  const delta = firstOf(layers, 'gated_delta_net')
  const isMoe = architecture === 'qwen3_5_moe'
  const parts = config.number('partial_rotary_factor')
  const rotary = {
    rope_type: 'default',
    rope_theta: readTheta(config),
    partial_rotary_factor: parts,
  }
  return {
    names: llamaForm('norm', 'language_model.'),
    taps: '.conv1d.weight',
    keepsTextConfig: true,
    ...(normOffset !== 0 && { added: { to: OFFSET_NORMS, value: normOffset } }),
    ...(isMoe && MOE_FORM),
    config: {
      model_type: architecture,
      vocab_size: config.dimension('vocab_size'),
      hidden_size: config.dimension('hidden_size'),
      num_hidden_layers: config.layerCount('num_hidden_layers'),
      max_position_embeddings: config.dimension('max_position_embeddings', 32_768),
      rms_norm_eps: config.epsilon('rms_norm_eps'),
      ...attentionKeys(firstOf(layers, 'full_attention')),
      ...(delta && {
        linear_num_value_heads: delta.numHeads,
        linear_num_key_heads: delta.numKeyHeads,
        linear_key_head_dim: delta.keyDim,
        linear_value_head_dim: delta.valueDim,
        linear_conv_kernel_dim: delta.dConv,
      }),
      ...(!config.has('rope_parameters') && { rope_parameters: rotary }),
      ...(isMoe
        ? {
            num_experts: config.dimension('num_experts'),
            num_experts_per_tok: config.dimension('num_experts_per_tok'),
            moe_intermediate_size: config.dimension('moe_intermediate_size'),
            shared_expert_intermediate_size: config.dimension('shared_expert_intermediate_size'),
          }
        : { intermediate_size: config.dimension('intermediate_size') }),
    },
  }
}

// All but the gated norm of DeltaNet.
const OFFSET_NORMS = [
  ...['.input_layernorm.weight', '.post_attention_layernorm.weight', '.model.norm.weight'],
  ...['.q_norm.weight', '.k_norm.weight'],
]

const MOE_FORM = {
  renamed: [
    ...['gate_proj', 'up_proj', 'down_proj'].map(
      (name) => [`mlp.experts.*.${name}`, `mlp.switch_mlp.${name}`] as const,
    ),
    ['mlp.experts.down_proj', 'mlp.switch_mlp.down_proj'] as const,
  ],
  parted: [
    ['mlp.experts.gate_up_proj', ['mlp.switch_mlp.gate_proj', 'mlp.switch_mlp.up_proj']] as const,
  ],
  inEightBits: ['.mlp.gate', '.shared_expert_gate'],
}

function readLayers(
  config: ConfigReader,
  dModel: number,
  block: string,
  { normOffset, feedForward }: { normOffset: number; feedForward: FeedForward },
): LayerDescription[] {
  const types = readLayerTypes(config)
  const delta = types.includes('delta') ? readDelta(config) : undefined
  const attention = types.includes('attention')
    ? readAttention(config, dModel, normOffset)
    : undefined
  return types.flatMap((type, i): LayerDescription[] => {
    const layer = `${block}.${i}`
    const norm = `${layer}.input_layernorm.weight`
    return [
      type === 'delta'
        ? { config: delta!, names: DELTA_NAMES, path: `${layer}.linear_attn`, norm }
        : { config: attention!, names: GATED_ATTENTION_NAMES, path: `${layer}.self_attn`, norm },
      ...feedForward(`${layer}.mlp`, `${layer}.post_attention_layernorm.weight`),
    ]
  })
}

/** What follows the mixer of a layer, whose tensors are under `path`. */
type FeedForward = (path: string, norm: string) => LayerDescription[]

function readMlpLayers(config: ConfigReader): FeedForward {
  const mlp = readGatedMlp(config, config.dimension('intermediate_size'))
  return (path, norm) => [{ config: mlp, names: GATED_MLP_NAMES, path, norm }]
}

function readExpertLayers(
  config: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
): FeedForward {
  const experts = readExperts(config)
  const width = config.dimension('shared_expert_intermediate_size')
  const shared = { ...readGatedMlp(config, width), outputGate: true }
  return (path, norm) => {
    const names = { router: 'gate', ...expertMatrices(tensors, path, EXPERT_MATRICES) }
    return [
      { config: experts, names, path, norm },
      { config: shared, names: SHARED_EXPERT_NAMES, path },
    ]
  }
}

function readExperts(config: ConfigReader): ExpertsConfig {
  const { numExperts, numChosen } = readExpertCounts(config, { experts: 'num_experts' })
  return {
    kind: 'experts',
    numExperts,
    numChosen,
    dInner: config.dimension('moe_intermediate_size'),
    activation: 'silu',
    gated: true,
    routing: { scores: 'softmax', normalised: true },
    hasRouterBias: false,
  }
}

// Either a list, or how many layers there are to one that attends.
function readLayerTypes(config: ConfigReader): ('delta' | 'attention')[] {
  const count = config.layerCount('num_hidden_layers')
  if (!config.has('layer_types')) {
    const interval = config.dimension('full_attention_interval', 4)
    return Array.from({ length: count }, (_, i) =>
      (i + 1) % interval === 0 ? 'attention' : 'delta',
    )
  }
  const types = config.layerTypes('layer_types', {
    linear_attention: 'delta' as const,
    full_attention: 'attention' as const,
  })
  if (types.length !== count) {
    config.invalid(`layer_types has ${types.length} layers but num_hidden_layers is ${count}`)
  }
  return types
}

function readDelta(config: ConfigReader): GatedDeltaNetConfig {
  const numKeyHeads = config.dimension('linear_num_key_heads', 16)
  const numHeads = config.dimension('linear_num_value_heads', 32)
  if (numHeads % numKeyHeads !== 0) {
    config.invalid(
      `linear_num_key_heads ${numKeyHeads} does not divide linear_num_value_heads ${numHeads}`,
    )
  }
  return {
    kind: 'gated_delta_net',
    numKeyHeads,
    numHeads,
    keyDim: config.dimension('linear_key_head_dim', 128),
    valueDim: config.dimension('linear_value_head_dim', 128),
    dConv: config.dimension('linear_conv_kernel_dim', 4),
    normEpsilon: config.epsilon('rms_norm_eps'),
  }
}

function readAttention(
  config: ConfigReader,
  dModel: number,
  normOffset: number,
): FullAttentionConfig {
  config.only('attn_output_gate', [true])
  return {
    ...readAttentionKeys(config, dModel, { rotary: 'part' }),
    qkNormEpsilon: config.epsilon('rms_norm_eps'),
    qkNormOffset: normOffset,
    outputGate: true,
  }
}

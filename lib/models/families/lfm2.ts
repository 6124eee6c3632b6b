// Liquid AI's LFM2 and LFM2.5 (transformers' `lfm2`, and `lfm2_moe` with experts), and the same models converted by mlx-lm.
// Each layer is a gated short convolution or attention, and a gated MLP or experts. (transformers/models/lfm2/modular_lfm2.py,
// configuration_lfm2.py; transformers/models/lfm2_moe/modular_lfm2_moe.py)

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { LayerDescription } from '../blocks/blocks.js'
import type { ExpertMatrices, ExpertsConfig } from '../blocks/experts.js'
import type { FullAttentionConfig, FullAttentionNames } from '../blocks/full-attention.js'
import type { MlpConfig, MlpNames } from '../blocks/mlp.js'
import type { ShortConvConfig, ShortConvNames } from '../blocks/short-conv.js'
import type { ConfigReader } from '../config-reader.js'
import { readTheta } from '../blocks/rotary.js'
import { expertMatrices, readExpertCounts, SWITCH_MLP } from './expert-keys.js'
import { type Family, hasModelType, type ModelDescription } from './family.js'
import { ATTENTION_NAMES, GATED_MLP_NAMES, readAttentionKeys } from './hybrid-keys.js'
import { llamaNames } from './llama-names.js'
import { attentionKeys, firstOf, llamaForm, type MlxForm } from './mlx-form.js'
import { transformersModel } from './transformers-model.js'

// What Lfm2Config has for keys that are left out.
const DEFAULTS = {
  vocab_size: 65536,
  hidden_size: 2560,
  intermediate_size: 12288,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  norm_eps: 1e-5,
  rope_theta: 1_000_000,
  block_multiple_of: 256,
  block_ffn_dim_multiplier: 1,
}

// What Lfm2MoeConfig has for them.
const MOE_DEFAULTS = {
  vocab_size: 65536,
  hidden_size: 2048,
  intermediate_size: 7168,
  moe_intermediate_size: 1792,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  num_experts: 32,
  num_experts_per_tok: 4,
  norm_eps: 1e-5,
  rope_theta: 1_000_000,
}

const LFM2_ATTENTION_NAMES: FullAttentionNames = {
  ...ATTENTION_NAMES,
  outProj: 'out_proj',
  qNorm: 'q_layernorm.weight',
  kNorm: 'k_layernorm.weight',
}
const SHORT_CONV_NAMES: ShortConvNames = {
  inProj: 'in_proj',
  outProj: 'out_proj',
  convWeight: 'conv.weight',
  convBias: 'conv.bias',
}
const MLP_NAMES: MlpNames = { inProj: 'w1', gateProj: 'w3', outProj: 'w2' }
const ROUTER_NAMES = { router: 'gate', routerBias: 'expert_bias' }
// As published; as mlx-lm has them; as transformers 5 has them in memory.
const EXPERT_MATRICES: [ExpertMatrices, ...ExpertMatrices[]] = [
  { inProj: 'experts.*.w1', gateProj: 'experts.*.w3', outProj: 'experts.*.w2' },
  SWITCH_MLP,
  { inProj: 'experts.gate_up_proj', outProj: 'experts.down_proj' },
]

export const lfm2: Family = {
  name: 'lfm2',
  licence: 'LFM Open License v1.0',
  published: [
    { name: 'LiquidAI/LFM2-350M', parameters: '350M' },
    { name: 'LiquidAI/LFM2-700M', parameters: '700M' },
    { name: 'LiquidAI/LFM2-1.2B', parameters: '1.2B' },
    { name: 'LiquidAI/LFM2-2.6B', parameters: '2.6B' },
  ],
  isConfig: (config) => hasModelType(config, 'lfm2'),
  describe: (config, tensors) => describe(config.withDefaults(DEFAULTS), tensors, 'lfm2'),
}

export const lfm2Moe: Family = {
  name: 'lfm2_moe',
  licence: 'LFM Open License v1.0',
  published: [{ name: 'LiquidAI/LFM2-8B-A1B', parameters: '8B' }],
  isConfig: (config) => hasModelType(config, 'lfm2_moe'),
  describe: (config, tensors) => describe(config.withDefaults(MOE_DEFAULTS), tensors, 'lfm2_moe'),
}

function describe(
  config: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
  architecture: 'lfm2' | 'lfm2_moe',
): ModelDescription {
  const dModel = config.dimension('hidden_size')
  const names = llamaNames(tensors, 'embedding_norm')
  const isMoe = architecture === 'lfm2_moe'
  const feedForward = isMoe ? readFeedForward(config, tensors) : densely(readMlp(config))
  // The older key counts first.
  const tying = config.has('tie_embedding')
    ? config.renamed('tie_embedding', 'tie_word_embeddings')
    : config
  const layers = readLayers(config, dModel, names.block, feedForward)
  const model = transformersModel(tying, {
    architecture,
    names,
    layers,
    normEpsilon: config.epsilon('norm_eps'),
    tied: true,
    maxContext: config.dimension('max_position_embeddings', 128_000),
  })
  return { ...model, mlx: () => (isMoe ? moeForm(config, layers) : denseForm(config, layers)) }
}

function form(config: ConfigReader, layers: readonly LayerDescription[]): MlxForm {
  const {
    head_dim: _,
    attention_bias: __,
    ...attention
  } = attentionKeys(firstOf(layers, 'full_attention'))
  const types = layerTypes(config)
  return {
    names: llamaForm('embedding_norm'),
    taps: '.conv.weight',
    config: {
      vocab_size: config.dimension('vocab_size'),
      hidden_size: config.dimension('hidden_size'),
      num_hidden_layers: types.length,
      max_position_embeddings: config.dimension('max_position_embeddings', 128_000),
      norm_eps: config.epsilon('norm_eps'),
      conv_bias: config.boolean('conv_bias', false),
      conv_L_cache: config.dimension('conv_L_cache', 3),
      rope_theta: readTheta(config),
      ...attention,
      full_attn_idxs: [...types.keys()].filter((i) => types[i] === 'attention'),
    },
  }
}

// The width of the MLP as it is: another reader need not know how it follows from what was stated.
function denseForm(config: ConfigReader, layers: readonly LayerDescription[]): MlxForm {
  const common = form(config, layers)
  const width = firstOf(layers, 'mlp')!.dInner
  return {
    ...common,
    config: {
      ...common.config,
      intermediate_size: width,
      block_dim: config.dimension('hidden_size'),
      block_ff_dim: width,
      block_multiple_of: config.dimension('block_multiple_of'),
      block_ffn_dim_multiplier: config.factor('block_ffn_dim_multiplier'),
      block_auto_adjust_ff_dim: false,
    },
  }
}

const MOE_RENAMED = (['gate_proj', 'down_proj', 'up_proj'] as const).flatMap((name, i) => {
  const [old, now] = [`w${i + 1}`, `feed_forward.switch_mlp.${name}`]
  return [
    [`feed_forward.experts.*.${old}`, now],
    [`feed_forward.${old}`, `feed_forward.${name}`],
  ] as const
})

function moeForm(config: ConfigReader, layers: readonly LayerDescription[]): MlxForm {
  const common = form(config, layers)
  const { numExperts, numChosen } = readExpertCounts(config, { experts: 'num_experts' })
  return {
    ...common,
    renamed: [
      ...MOE_RENAMED,
      ['feed_forward.experts.down_proj', 'feed_forward.switch_mlp.down_proj'],
    ],
    parted: [
      [
        'feed_forward.experts.gate_up_proj',
        ['feed_forward.switch_mlp.gate_proj', 'feed_forward.switch_mlp.up_proj'],
      ],
    ],
    inEightBits: ['.feed_forward.gate'],
    config: {
      ...common.config,
      intermediate_size: config.dimension('intermediate_size'),
      moe_intermediate_size: config.dimension('moe_intermediate_size'),
      num_experts: numExperts,
      num_experts_per_tok: numChosen,
      num_dense_layers: config.someLayers('num_dense_layers', 2),
      norm_topk_prob: config.boolean('norm_topk_prob', true),
      use_expert_bias: config.boolean('use_expert_bias', true),
      routed_scaling_factor: config.factor('routed_scaling_factor'),
    },
  }
}

/** The second block of layer `index`, whose tensors are under `path`. */
type FeedForward = (index: number, path: string, norm: string) => LayerDescription

const densely =
  (config: MlpConfig, names = MLP_NAMES): FeedForward =>
  (_, path, norm) => ({ config, names, path, norm })

// The first layers have an MLP and all others experts.
function readFeedForward(
  config: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
): FeedForward {
  const numDense = config.someLayers('num_dense_layers', 2)
  const mlp = gatedMlp(config, config.dimension('intermediate_size'))
  const experts = readExperts(config)
  return (index, path, norm) => {
    if (index < numDense) {
      // mlx-lm renames them.
      const isRenamed = tensors.has(`${path}.gate_proj.weight`)
      return densely(mlp, isRenamed ? GATED_MLP_NAMES : MLP_NAMES)(index, path, norm)
    }
    const names = { ...ROUTER_NAMES, ...expertMatrices(tensors, path, EXPERT_MATRICES) }
    return { config: experts, names, path, norm }
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
    routing: {
      scores: 'sigmoid',
      normalised: config.boolean('norm_topk_prob', true),
      epsilon: 1e-6,
      scale: config.factor('routed_scaling_factor'),
    },
    hasRouterBias: config.boolean('use_expert_bias', true),
  }
}

function readLayers(
  config: ConfigReader,
  dModel: number,
  block: string,
  feedForward: FeedForward,
): LayerDescription[] {
  const types = layerTypes(config)
  const conv = readShortConv(config, dModel)
  const attention = types.includes('attention') ? readAttention(config, dModel) : undefined
  return types.flatMap((type, i): LayerDescription[] => {
    const layer = `${block}.${i}`
    const norm = `${layer}.operator_norm.weight`
    return [
      type === 'conv'
        ? { config: conv, names: SHORT_CONV_NAMES, path: `${layer}.conv`, norm }
        : { config: attention!, names: LFM2_ATTENTION_NAMES, path: `${layer}.self_attn`, norm },
      feedForward(i, `${layer}.feed_forward`, `${layer}.ffn_norm.weight`),
    ]
  })
}

// As published, the numbers of the layers that attend; as transformers 5 writes it, a word for each.
function layerTypes(config: ConfigReader): ('conv' | 'attention')[] {
  if (config.has('layer_types')) {
    return config.layerTypes('layer_types', { conv: 'conv', full_attention: 'attention' })
  }
  const count = config.layerCount('num_hidden_layers')
  const attends = config.layerIndices('full_attn_idxs', count)
  const isAll = !config.has('full_attn_idxs')
  return Array.from({ length: count }, (_, i) => (isAll || attends.has(i) ? 'attention' : 'conv'))
}

function readShortConv(config: ConfigReader, dModel: number): ShortConvConfig {
  const bias = config.boolean('conv_bias', false)
  return {
    kind: 'short_conv',
    dInner: dModel,
    dConv: config.dimension('conv_L_cache', 3),
    projectionBias: bias,
    convBias: bias,
  }
}

function readAttention(config: ConfigReader, dModel: number): FullAttentionConfig {
  return {
    ...readAttentionKeys(config, dModel, { rotary: 'whole' }),
    qkNormEpsilon: config.epsilon('norm_eps'),
  }
}

const readMlp = (config: ConfigReader): MlpConfig => gatedMlp(config, feedForwardWidth(config))

function gatedMlp(config: ConfigReader, dInner: number): MlpConfig {
  return {
    kind: 'mlp',
    dInner,
    activation: 'silu',
    gated: true,
    bias: false,
    norm: false,
    normEpsilon: config.epsilon('norm_eps'),
  }
}

// Two thirds of what is stated, times a factor, up to the next multiple: what a gated MLP has for the parameters of a
// plain one.
function feedForwardWidth(config: ConfigReader): number {
  const key = config.has('block_ff_dim') ? 'block_ff_dim' : 'intermediate_size'
  const stated = config.dimension(key)
  if (!config.boolean('block_auto_adjust_ff_dim', true)) return stated
  const width = Math.trunc((2 * stated) / 3)
  if (config.isNull('block_ffn_dim_multiplier')) return width
  const factor = config.factor('block_ffn_dim_multiplier')
  const multiple = config.dimension('block_multiple_of')
  const rounded = multiple * Math.ceil(Math.trunc(factor * width) / multiple)
  if (!(rounded >= 1 && rounded <= 2 ** 24)) {
    config.invalid(
      `${key} ${stated} and block_ffn_dim_multiplier ${factor} give ${rounded} columns`,
    )
  }
  return rounded
}

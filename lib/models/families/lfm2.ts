// Liquid AI's LFM2 and LFM2.5 (transformers' `lfm2`), and the same models converted by mlx-lm. Each layer is a gated short
// convolution or attention, and a gated MLP. (transformers/models/lfm2/modular_lfm2.py, configuration_lfm2.py)

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { LayerDescription } from '../blocks/blocks.js'
import type { FullAttentionConfig, FullAttentionNames } from '../blocks/full-attention.js'
import type { MlpConfig, MlpNames } from '../blocks/mlp.js'
import type { ShortConvConfig, ShortConvNames } from '../blocks/short-conv.js'
import type { ConfigReader } from '../config-reader.js'
import { type Family, hasModelType, type ModelDescription } from './family.js'
import { ATTENTION_NAMES, readAttentionKeys } from './hybrid-keys.js'
import { llamaNames } from './llama-names.js'
import { readMlxQuantization } from './mlx-quantization.js'

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
  describe,
}

function describe(
  given: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
): ModelDescription {
  const config = given.withDefaults(DEFAULTS)
  const dModel = config.dimension('hidden_size')
  const vocabSize = config.dimension('vocab_size')
  const names = llamaNames(tensors, 'embedding_norm')
  const quantization = readMlxQuantization(config)
  // The older key counts first.
  const tied = config.has('tie_embedding') ? 'tie_embedding' : 'tie_word_embeddings'
  return {
    config: {
      architecture: 'lfm2',
      format: quantization ? 'mlx-lm' : 'transformers',
      dModel,
      vocabSize,
      paddedVocabSize: vocabSize,
      normEpsilon: config.epsilon('norm_eps'),
      tieEmbeddings: config.boolean(tied, true),
      headBias: false,
      maxContext: config.dimension('max_position_embeddings', 128_000),
      eosTokenIds: config.tokenIds('eos_token_id'),
      quantization: quantization?.standard,
      tokenizerName: undefined,
    },
    names,
    layers: readLayers(config, dModel, names.block),
    tying: 'two matrices',
    quantizationOf: (path) => quantization?.of(path),
  }
}

function readLayers(config: ConfigReader, dModel: number, block: string): LayerDescription[] {
  const types = layerTypes(config)
  const conv = readShortConv(config, dModel)
  const mlp = readMlp(config)
  const attention = types.includes('attention') ? readAttention(config, dModel) : undefined
  return types.flatMap((type, i): LayerDescription[] => {
    const layer = `${block}.${i}`
    const norm = `${layer}.operator_norm.weight`
    return [
      type === 'conv'
        ? { config: conv, names: SHORT_CONV_NAMES, path: `${layer}.conv`, norm }
        : { config: attention!, names: LFM2_ATTENTION_NAMES, path: `${layer}.self_attn`, norm },
      {
        config: mlp,
        names: MLP_NAMES,
        path: `${layer}.feed_forward`,
        norm: `${layer}.ffn_norm.weight`,
      },
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
    ...readAttentionKeys(config, dModel, { rotary: true }),
    qkNormEpsilon: config.epsilon('norm_eps'),
  }
}

function readMlp(config: ConfigReader): MlpConfig {
  return {
    kind: 'mlp',
    dInner: feedForwardWidth(config),
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

// Rene (cartesia-ai/Rene-v0.1-1.3b-pytorch): config.json with model_type "rene" and
// model.safetensors; no tokenizer. (cartesia_pytorch/rene.py)

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { AttentionConfig, AttentionNames } from '../blocks/attention.js'
import type { LayerDescription } from '../blocks/blocks.js'
import type { MlpConfig, MlpNames } from '../blocks/mlp.js'
import type { ConfigReader } from '../config-reader.js'
import { type Family, hasModelType, type ModelDescription } from './family.js'
import {
  MAMBA2_NAMES,
  MAMBA_SSM_EPSILON,
  mambaSsmNames,
  mixerLayer,
  readSsmConfig,
  roundUp,
} from './mamba-ssm.js'
import { readMlxQuantization } from './mlx-quantization.js'

// What ReneConfig has for keys that are left out.
const DEFAULTS = { d_model: 2048, n_layer: 48, vocab_size: 50280 }

const MLP_NAMES: MlpNames = {
  inProj: 'in_proj',
  gateProj: 'gate_proj',
  outProj: 'out_proj',
  norm: 'norm.weight',
}
const ATTENTION_NAMES: AttentionNames = { qkvProj: 'in_proj', outProj: 'out_proj' }

export const rene: Family = {
  name: 'rene',
  licence: 'Apache-2.0',
  published: [{ name: 'cartesia-ai/Rene-v0.1-1.3b-pytorch', parameters: '1.3B' }],
  isConfig: (config) => hasModelType(config, 'rene'),
  describe,
}

// Its weights may be quantised in mlx-lm's form.
function describe(
  given: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
): ModelDescription {
  const config = given.withDefaults(DEFAULTS)
  config.only('rms_norm', [true])
  const dModel = config.dimension('d_model')
  const layerCount = config.layerCount('n_layer')
  const vocabSize = config.dimension('vocab_size')
  const attentionLayers = config.layerIndices('attn_layer_idx', layerCount)
  const mlpLayers = config.layerIndices('mlp_layer_idx', layerCount)
  const ssm = config.object('ssm_cfg')
  ssm.only('layer', ['Mamba2'])
  const mamba2 = readSsmConfig(ssm, dModel)
  const mlp = mlpLayers.size > 0 ? readMlp(config.object('mlp_cfg'), dModel) : undefined
  const attention =
    attentionLayers.size > 0 ? readAttention(config.object('attn_cfg'), dModel) : undefined

  const { names } = mambaSsmNames(tensors)
  const layers = Array.from({ length: layerCount }, (_, i): LayerDescription => {
    if (attentionLayers.has(i) && mlpLayers.has(i)) {
      config.invalid(`layer ${i} stands in both attn_layer_idx and mlp_layer_idx`)
    }
    const place = mixerLayer(names.block, i)
    if (attentionLayers.has(i)) return { config: attention!, names: ATTENTION_NAMES, ...place }
    if (mlpLayers.has(i)) return { config: mlp!, names: MLP_NAMES, ...place }
    return { config: mamba2, names: MAMBA2_NAMES, ...place }
  })
  const quantization = readMlxQuantization(config)
  return {
    config: {
      architecture: 'rene',
      format: 'rene',
      dModel,
      vocabSize,
      paddedVocabSize: roundUp(vocabSize, config.dimension('pad_vocab_size_multiple', 16)),
      normEpsilon: MAMBA_SSM_EPSILON,
      tieEmbeddings: config.boolean('tie_word_embeddings', true),
      headBias: false,
      eosTokenIds: config.tokenIds('eos_token_id'),
      quantization: quantization?.standard,
      tokenizerName: 'allenai/OLMo-1B-hf',
    },
    names,
    layers,
    tying: 'two matrices',
    quantizationOf: (path) => quantization?.of(path),
  }
}

function readMlp(mlp: ConfigReader, dModel: number): MlpConfig {
  mlp.onlyKnown(['expand', 'bias'])
  const expand = mlp.number('expand', 3)
  const dInner = Math.round(expand * dModel)
  if (!(dInner >= 1 && dInner <= 2 ** 24)) mlp.invalid(`mlp_cfg.expand ${expand} is out of range`)
  return {
    kind: 'mlp',
    dInner,
    activation: 'gelu',
    gated: false,
    bias: mlp.boolean('bias', true),
    norm: false,
    normEpsilon: MAMBA_SSM_EPSILON,
  }
}

function readAttention(attention: ConfigReader, dModel: number): AttentionConfig {
  attention.onlyKnown([
    'causal',
    'head_dim',
    'num_heads',
    'num_heads_kv',
    'out_proj_bias',
    'qkv_proj_bias',
    'sliding_window_length',
    'softmax_scale',
  ])
  attention.only('causal', [true])
  const numHeads = attention.dimension('num_heads')
  const numKvHeads = attention.dimension('num_heads_kv', numHeads)
  if (numHeads % numKvHeads !== 0) {
    attention.invalid(`attn_cfg.num_heads_kv ${numKvHeads} does not divide num_heads ${numHeads}`)
  }
  if (!attention.has('head_dim') && dModel % numHeads !== 0) {
    attention.invalid(`attn_cfg.num_heads ${numHeads} does not divide d_model ${dModel}`)
  }
  const headDim = attention.dimension('head_dim', dModel / numHeads)
  if (!attention.has('sliding_window_length')) {
    attention.unsupported('has attention without a sliding_window_length')
  }
  const scale = attention.number('softmax_scale', 1 / Math.sqrt(headDim))
  if (!(scale > 0 && Number.isFinite(scale))) {
    attention.invalid(`attn_cfg.softmax_scale must be a positive number but is ${scale}`)
  }
  return {
    kind: 'attention',
    numHeads,
    numKvHeads,
    headDim,
    window: attention.dimension('sliding_window_length'),
    qkvBias: attention.boolean('qkv_proj_bias', true),
    outBias: attention.boolean('out_proj_bias', true),
    scale,
  }
}

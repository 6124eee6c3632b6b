// state-spaces/mamba2-*: config.json without model_type (the fields of mamba_ssm's MambaConfig) and
// pytorch_model.bin; no tokenizer. (mamba_ssm/models/config_mamba.py)

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { LayerDescription } from '../blocks/blocks.js'
import type { FullAttentionConfig, FullAttentionNames } from '../blocks/full-attention.js'
import { plainRotary } from '../blocks/rotary.js'
import type { ConfigReader } from '../config-reader.js'
import type { Family, ModelDescription } from './family.js'
import { mamba2Form } from './hf-mamba2.js'
import {
  MAMBA2_NAMES,
  MAMBA_SSM_EPSILON,
  mambaSsmNames,
  mixerLayer,
  readSsmConfig,
  roundUp,
} from './mamba-ssm.js'
import { readMlxQuantization } from './mlx-quantization.js'

// What MambaConfig has for keys that are left out.
const DEFAULTS = { d_model: 2560, n_layer: 64, vocab_size: 50277 }

const ATTENTION_NAMES: FullAttentionNames = {
  projections: ['in_proj'],
  outProj: 'out_proj',
  convWeight: 'conv1d.weight',
  convBias: 'conv1d.bias',
}

// <|endoftext|> of EleutherAI/gpt-neox-20b.
const END_OF_TEXT = 0

/** Checkpoints of the original implementation, but for Mamba-1. */
export const stateSpaces: Family = {
  name: 'the state-spaces/mamba2 checkpoints (no model_type)',
  licence: 'Apache-2.0',
  published: [
    { name: 'state-spaces/mamba2-130m', parameters: '130M' },
    { name: 'state-spaces/mamba2-370m', parameters: '370M' },
    { name: 'state-spaces/mamba2-780m', parameters: '780M' },
    { name: 'state-spaces/mamba2-1.3b', parameters: '1.3B' },
    { name: 'state-spaces/mamba2-2.7b', parameters: '2.7B' },
    { name: 'state-spaces/mamba2attn-2.7b', parameters: '2.7B' },
  ],
  isConfig: (config) => !config.has('model_type') && config.has('ssm_cfg'),
  describe,
}

function describe(
  given: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
): ModelDescription {
  const config = given.withDefaults(DEFAULTS)
  config.only('rms_norm', [true])
  const ssm = config.object('ssm_cfg')
  // Without ssm_cfg.layer the model is a Mamba-1.
  ssm.only('layer', ['Mamba1', 'Mamba2'])
  if (ssm.string('layer', 'Mamba1') !== 'Mamba2') {
    config.unsupported('is a Mamba-1 (ssm_cfg.layer is not "Mamba2")')
  }
  const dModel = config.dimension('d_model')
  const layerCount = config.layerCount('n_layer')
  const vocabSize = config.dimension('vocab_size')
  const attentionLayers = config.layerIndices('attn_layer_idx', layerCount)
  const attention =
    attentionLayers.size > 0 ? readAttention(config.object('attn_cfg'), dModel) : undefined
  if (config.number('d_intermediate', 0) !== 0) {
    config.unsupported('has MLPs between its layers (d_intermediate)')
  }
  const mamba2 = readSsmConfig(ssm, dModel)
  const { names } = mambaSsmNames(tensors)
  const tied = config.boolean('tie_embeddings', true)
  const quantization = readMlxQuantization(config)
  const eos = config.tokenIds('eos_token_id')
  const paddedVocabSize = roundUp(vocabSize, config.dimension('pad_vocab_size_multiple', 8))
  const sizes = {
    ...{ dModel, layerCount, vocabSize: paddedVocabSize, tied },
    eos: eos.length > 0 ? eos : [END_OF_TEXT],
  }
  return {
    config: {
      architecture: 'mamba2',
      format: 'state-spaces',
      dModel,
      vocabSize,
      paddedVocabSize,
      normEpsilon: MAMBA_SSM_EPSILON,
      tieEmbeddings: tied,
      headBias: false,
      eosTokenIds: eos,
      quantization: quantization?.standard,
      tokenizerName: 'EleutherAI/gpt-neox-20b',
    },
    names,
    layers: Array.from({ length: layerCount }, (_, i): LayerDescription => {
      const place = mixerLayer(names.block, i)
      return attentionLayers.has(i)
        ? { config: attention!, names: ATTENTION_NAMES, ...place }
        : { config: mamba2, names: MAMBA2_NAMES, ...place }
    }),
    tying: 'the head',
    usualEndOfText: END_OF_TEXT,
    ...(attention ? {} : { mlx: () => ({ ...mamba2Form(mamba2, sizes), isWholeConfig: true }) }),
    quantizationOf: (path) => quantization?.of(path),
  }
}

// Keyword arguments of mamba_ssm's MHA module. (mamba_ssm/modules/mha.py)
function readAttention(attention: ConfigReader, dModel: number): FullAttentionConfig {
  attention.onlyKnown([
    'causal',
    'd_conv',
    'head_dim',
    'num_heads',
    'num_heads_kv',
    'out_proj_bias',
    'qkv_proj_bias',
    'rotary_emb_base',
    'rotary_emb_dim',
    'rotary_emb_interleaved',
    'softmax_scale',
  ])
  attention.only('causal', [true])
  attention.only('rotary_emb_interleaved', [false])
  const numHeads = attention.dimension('num_heads')
  const numKvHeads = attention.has('num_heads_kv') ? attention.dimension('num_heads_kv') : numHeads
  if (numHeads % numKvHeads !== 0) {
    attention.invalid(`attn_cfg.num_heads_kv ${numKvHeads} does not divide num_heads ${numHeads}`)
  }
  if (!attention.has('head_dim') && dModel % numHeads !== 0) {
    attention.invalid(`attn_cfg.num_heads ${numHeads} does not divide d_model ${dModel}`)
  }
  const headDim = attention.has('head_dim') ? attention.dimension('head_dim') : dModel / numHeads
  const rotaryDim = attention.number('rotary_emb_dim', 0)
  if (!(rotaryDim >= 0 && rotaryDim <= headDim && rotaryDim % 2 === 0)) {
    attention.invalid(`attn_cfg.rotary_emb_dim ${rotaryDim} is no even number up to ${headDim}`)
  }
  const dConv = attention.number('d_conv', 0) === 0 ? undefined : attention.dimension('d_conv')
  return {
    kind: 'full_attention',
    numHeads,
    numKvHeads,
    headDim,
    scale: attention.factor('softmax_scale', 1 / Math.sqrt(headDim)),
    rotary:
      rotaryDim === 0
        ? undefined
        : plainRotary(attention.number('rotary_emb_base', 10_000), rotaryDim),
    qkvBias: attention.boolean('qkv_proj_bias', true),
    outBias: attention.boolean('out_proj_bias', true),
    ...(dConv === undefined ? {} : { dConv }),
  }
}

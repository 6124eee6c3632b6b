// Hugging Face transformers' `mamba2` (for example mistralai/Mamba-Codestral-7B-v0.1), and the same
// models quantised by mlx-lm: config.json with model_type "mamba2" and safetensors, perhaps sharded.
// (transformers/models/mamba2/configuration_mamba2.py, modeling_mamba2.py)

import type { Mamba2Config } from '../config.js'
import type { ConfigReader } from '../config-reader.js'
import { MAMBA_SSM_NAMES, type ModelDescription } from './family.js'
import { readQuantization } from './mlx-quantization.js'

/** Describes a `mamba2` checkpoint of transformers or mlx-lm. */
export function describeHfMamba2(
  config: ConfigReader,
  hasTensor: (name: string) => boolean,
): ModelDescription {
  config.only('hidden_act', ['silu', 'swish'])
  const dModel = config.dimension('hidden_size')
  const vocabSize = config.dimension('vocab_size')
  const numHeads = config.dimension('num_heads')
  const headDim = config.dimension('head_dim')
  const nGroups = config.dimension('n_groups')
  const expand = config.number('expand', 2)
  const dInner = numHeads * headDim
  if (Math.trunc(expand * dModel) !== dInner) {
    config.invalid(
      `num_heads * head_dim is ${dInner} but expand * hidden_size is ${expand * dModel}`,
    )
  }
  if (numHeads % nGroups !== 0) {
    config.invalid(`n_groups ${nGroups} does not divide num_heads ${numHeads}`)
  }
  const normEpsilon = config.epsilon('layer_norm_epsilon', 1e-5)
  const mamba2: Mamba2Config = {
    kind: 'mamba2',
    dInner,
    numHeads,
    headDim,
    nGroups,
    dState: config.dimension('state_size'),
    dConv: config.dimension('conv_kernel', 4),
    // As mamba_ssm and transformers norm since 2026. Older ones and mlx-lm norm the whole row, which is
    // another model than the one that was trained.
    normGroups: nGroups,
    normBeforeGate: false,
    dtLimit: config.limits('time_step_limit'),
    projectionBias: config.boolean('use_bias', false),
    convBias: config.boolean('use_conv_bias', true),
    normEpsilon,
  }
  const quantization = readQuantization(config)
  // Files converted from mamba_ssm keep the singular; transformers renames it on load.
  const hasSingular = hasTensor('backbone.embedding.weight')
  const hasBoth =
    hasTensor('lm_head.weight') && (hasSingular || hasTensor('backbone.embeddings.weight'))
  return {
    config: {
      architecture: 'mamba2',
      format: quantization ? 'mlx-lm' : 'hf-mamba2',
      dModel,
      vocabSize,
      paddedVocabSize: vocabSize,
      layers: Array.from({ length: config.layerCount('num_hidden_layers') }, () => mamba2),
      normEpsilon,
      tieEmbeddings: config.boolean('tie_word_embeddings', !hasBoth),
      headBias: false,
      eosTokenIds: config.tokenIds('eos_token_id'),
      quantization: quantization?.standard,
      tokenizerName: undefined,
    },
    names: hasSingular ? MAMBA_SSM_NAMES : { ...MAMBA_SSM_NAMES, embedding: 'backbone.embeddings' },
    tying: 'two matrices',
    quantizationOf: (path) => quantization?.of(path),
  }
}

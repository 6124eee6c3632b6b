// Hugging Face transformers' `mamba2` (for example mistralai/Mamba-Codestral-7B-v0.1), and the same
// models quantised by mlx-lm: config.json with model_type "mamba2" and safetensors, perhaps sharded.
// (transformers/models/mamba2/configuration_mamba2.py, modeling_mamba2.py)

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { Mamba2Config } from '../blocks/mamba2.js'
import type { ConfigReader } from '../config-reader.js'
import { type Family, hasModelType, type ModelDescription } from './family.js'
import { MAMBA2_NAMES, mambaSsmNames, mixerLayer } from './mamba-ssm.js'
import { BACKBONE_FORM, type MlxForm } from './mlx-form.js'
import { readMlxQuantization } from './mlx-quantization.js'

// What Mamba2Config has for keys that are left out.
const DEFAULTS = {
  vocab_size: 32768,
  hidden_size: 4096,
  num_hidden_layers: 64,
  num_heads: 128,
  head_dim: 64,
  state_size: 128,
  n_groups: 8,
  conv_kernel: 4,
  expand: 2,
  use_bias: false,
  use_conv_bias: true,
  layer_norm_epsilon: 1e-5,
}

export const hfMamba2: Family = {
  name: 'mamba2',
  licence: 'Apache-2.0',
  published: [{ name: 'mistralai/Mamba-Codestral-7B-v0.1', parameters: '7B' }],
  isConfig: (config) => hasModelType(config, 'mamba2'),
  describe,
}

function describe(
  given: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
): ModelDescription {
  const config = given.withDefaults(DEFAULTS)
  config.only('hidden_act', ['silu', 'swish'])
  const dModel = config.dimension('hidden_size')
  const vocabSize = config.dimension('vocab_size')
  const numHeads = config.dimension('num_heads')
  const headDim = config.dimension('head_dim')
  const nGroups = config.dimension('n_groups')
  const expand = config.number('expand')
  const dInner = numHeads * headDim
  if (Math.trunc(expand * dModel) !== dInner) {
    config.invalid(
      `num_heads * head_dim is ${dInner} but expand * hidden_size is ${expand * dModel}`,
    )
  }
  if (numHeads % nGroups !== 0) {
    config.invalid(`n_groups ${nGroups} does not divide num_heads ${numHeads}`)
  }
  const normEpsilon = config.epsilon('layer_norm_epsilon')
  const mamba2: Mamba2Config = {
    kind: 'mamba2',
    dInner,
    numHeads,
    headDim,
    nGroups,
    dState: config.dimension('state_size'),
    dConv: config.dimension('conv_kernel'),
    // As mamba_ssm and transformers norm since 2026. Older ones and mlx-lm norm the whole row, which is
    // another model than the one that was trained.
    normGroups: nGroups,
    normBeforeGate: false,
    dtLimit: config.limits('time_step_limit'),
    projectionBias: config.boolean('use_bias'),
    convBias: config.boolean('use_conv_bias'),
    normEpsilon,
  }
  const quantization = readMlxQuantization(config)
  const { prefix, names: found } = mambaSsmNames(tensors)
  // Files converted from mamba_ssm keep the singular; transformers renames it on load.
  const isSingular = tensors.has(`${found.embedding}.weight`)
  const names = isSingular ? found : { ...found, embedding: `${prefix}backbone.embeddings` }
  const hasBoth = [names.embedding, names.head].every((module) => tensors.has(`${module}.weight`))
  const layerCount = config.layerCount('num_hidden_layers')
  const tied = config.boolean('tie_word_embeddings', !hasBoth)
  const stated = config.tokenIds('eos_token_id')
  // As Mamba2Config of transformers; mlx-lm has none.
  const usualEndOfText = quantization ? undefined : 2
  const eos = stated.length > 0 || usualEndOfText === undefined ? stated : [usualEndOfText]
  return {
    config: {
      architecture: 'mamba2',
      format: quantization ? 'mlx-lm' : 'hf-mamba2',
      dModel,
      vocabSize,
      paddedVocabSize: vocabSize,
      normEpsilon,
      tieEmbeddings: tied,
      headBias: false,
      eosTokenIds: stated,
      quantization: quantization?.standard,
      tokenizerName: undefined,
    },
    names,
    layers: Array.from({ length: layerCount }, (_, i) => ({
      config: mamba2,
      names: MAMBA2_NAMES,
      ...mixerLayer(names.block, i),
    })),
    tying: 'two matrices',
    ...(usualEndOfText !== undefined && { usualEndOfText }),
    mlx: () => mamba2Form(mamba2, { dModel, layerCount, vocabSize, tied, eos }),
    quantizationOf: (path) => quantization?.of(path),
  }
}

interface Mamba2Sizes {
  dModel: number
  layerCount: number
  vocabSize: number
  tied: boolean
  eos: readonly number[]
}

/** How mlx-lm has a model of Mamba-2 layers alone: its class has no defaults. (mlx_lm/models/mamba2.py) */
export function mamba2Form(
  mamba2: Mamba2Config,
  { dModel, layerCount, vocabSize, tied, eos }: Mamba2Sizes,
): MlxForm {
  return {
    names: BACKBONE_FORM,
    taps: '.conv1d.weight',
    config: {
      model_type: 'mamba2',
      vocab_size: vocabSize,
      hidden_size: dModel,
      intermediate_size: mamba2.dInner,
      num_hidden_layers: layerCount,
      num_heads: mamba2.numHeads,
      head_dim: mamba2.headDim,
      state_size: mamba2.dState,
      n_groups: mamba2.nGroups,
      conv_kernel: mamba2.dConv,
      expand: mamba2.dInner / dModel,
      use_bias: mamba2.projectionBias,
      use_conv_bias: mamba2.convBias,
      layer_norm_epsilon: mamba2.normEpsilon,
      hidden_act: 'silu',
      time_step_limit: [...mamba2.dtLimit],
      time_step_rank: Math.ceil(dModel / 16),
      tie_word_embeddings: tied,
      ...(eos.length > 0 && { eos_token_id: eos.length === 1 ? eos[0]! : [...eos] }),
    },
  }
}

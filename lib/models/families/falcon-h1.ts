// TII's Falcon-H1 (transformers' `falcon_h1`), and the same models converted by mlx-lm. In each layer attention and
// Mamba-2 stand side by side. (transformers/models/falcon_h1/modular_falcon_h1.py)

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { Factor, Multiplier } from '../../weights/loader.js'
import type { LayerDescription } from '../blocks/blocks.js'
import type { FullAttentionConfig } from '../blocks/full-attention.js'
import type { Mamba2Config } from '../blocks/mamba2.js'
import type { MlpConfig } from '../blocks/mlp.js'
import type { ConfigReader } from '../config-reader.js'
import { readTheta } from '../blocks/rotary.js'
import { type Family, hasModelType, type ModelDescription } from './family.js'
import { ATTENTION_NAMES, GATED_MLP_NAMES, hasTurnedTaps } from './hybrid-keys.js'
import { readAttentionKeys, readGatedMlp, readMambaKeys } from './hybrid-keys.js'
import { llamaNames } from './llama-names.js'
import { MAMBA2_NAMES } from './mamba-ssm.js'
import {
  attentionKeys,
  firstOf,
  layerFactors,
  llamaForm,
  mambaKeys,
  type MlxForm,
} from './mlx-form.js'
import { transformersModel } from './transformers-model.js'
import type { TensorNames } from './tensor-names.js'

// What FalconH1Config has for keys that are left out.
const DEFAULTS = {
  vocab_size: 128000,
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  rms_norm_eps: 1e-5,
  mamba_d_ssm: 1024,
  mamba_n_heads: 128,
}

export const falconH1: Family = {
  name: 'falcon_h1',
  licence: 'Falcon LLM License',
  published: [
    { name: 'tiiuae/Falcon-H1-Tiny-90M-Instruct', parameters: '90M' },
    { name: 'tiiuae/Falcon-H1-0.5B-Instruct', parameters: '0.5B' },
    { name: 'tiiuae/Falcon-H1-1.5B-Instruct', parameters: '1.5B' },
    { name: 'tiiuae/Falcon-H1-3B-Instruct', parameters: '3B' },
  ],
  isConfig: (config) => hasModelType(config, 'falcon_h1'),
  describe,
}

function describe(
  given: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
): ModelDescription {
  const config = given.withDefaults(DEFAULTS)
  const dModel = config.dimension('hidden_size')
  const names = llamaNames(tensors, 'final_layernorm')
  // mlx-lm multiplies the weights as it turns the taps.
  const isFolded = hasTurnedTaps(tensors, '.mamba.conv1d.weight')
  const embeddingMultiplier = config.factor('embedding_multiplier')
  const headMultiplier = config.factor('lm_head_multiplier')
  const tieEmbeddings = config.boolean('tie_word_embeddings', false)
  // A tied head has the embedding's factor in it.
  const foldedHead = tieEmbeddings ? headMultiplier / embeddingMultiplier : 1
  const layers = readLayers(config, dModel, names.block, isFolded)
  const multipliers = {
    embeddingMultiplier: isFolded ? 1 : embeddingMultiplier,
    logitsMultiplier: isFolded ? foldedHead : headMultiplier,
  }
  const model = transformersModel(config, {
    architecture: 'falcon_h1',
    names,
    layers,
    normEpsilon: config.epsilon('rms_norm_eps'),
    tied: false,
    maxContext: config.dimension('max_position_embeddings', 8192),
    isConverted: isFolded,
    more: multipliers,
  })
  return {
    ...model,
    mlx: () => falconForm(config, layers, { names, tieEmbeddings, ...multipliers }),
  }
}

interface Ends {
  names: TensorNames
  tieEmbeddings: boolean
  embeddingMultiplier: number
  logitsMultiplier: number
}

// Every factor is in the weights and 1 in config.json, because mlx-lm leaves out some of them (below). That of a tied head
// stays, over the embedding's.
function falconForm(
  config: ConfigReader,
  layers: readonly LayerDescription[],
  { names, tieEmbeddings, embeddingMultiplier, logitsMultiplier }: Ends,
): MlxForm {
  const mamba2 = firstOf(layers, 'mamba2')!
  const factors = layerFactors(layers)
  factors.set(`${names.embedding}.weight`, embeddingMultiplier)
  if (!tieEmbeddings) factors.set(`${names.head}.weight`, logitsMultiplier)
  return {
    names: llamaForm('final_layernorm'),
    taps: '.conv1d.weight',
    factors,
    config: {
      vocab_size: config.dimension('vocab_size'),
      hidden_size: config.dimension('hidden_size'),
      intermediate_size: config.dimension('intermediate_size'),
      num_hidden_layers: config.layerCount('num_hidden_layers'),
      max_position_embeddings: config.dimension('max_position_embeddings', 8192),
      rms_norm_eps: config.epsilon('rms_norm_eps'),
      ...attentionKeys(firstOf(layers, 'full_attention')),
      ...mambaKeys(mamba2),
      mamba_d_ssm: mamba2.dInner,
      mamba_rms_norm: mamba2.hasGatedNorm !== false,
      mamba_norm_before_gate: mamba2.normBeforeGate,
      projectors_bias: mamba2.outBias ?? false,
      mlp_bias: config.boolean('mlp_bias', false),
      rope_theta: readTheta(config),
      ...ONES,
      lm_head_multiplier: tieEmbeddings ? logitsMultiplier / embeddingMultiplier : 1,
      ssm_multipliers: [1, 1, 1, 1, 1],
      mlp_multipliers: [1, 1],
    },
  }
}

const ONES = {
  attention_in_multiplier: 1,
  attention_out_multiplier: 1,
  embedding_multiplier: 1,
  key_multiplier: 1,
  ssm_in_multiplier: 1,
  ssm_out_multiplier: 1,
}

function readLayers(
  config: ConfigReader,
  dModel: number,
  block: string,
  isFolded: boolean,
): LayerDescription[] {
  const mamba2 = readMamba(config, dModel, isFolded)
  const attention = readAttention(config, dModel, isFolded)
  const mlp = readMlp(config, isFolded)
  return Array.from({ length: config.layerCount('num_hidden_layers') }, (_, i) => {
    const layer = `${block}.${i}`
    const norm = `${layer}.input_layernorm.weight`
    return [
      { config: mamba2, names: MAMBA2_NAMES, path: `${layer}.mamba`, norm },
      { config: attention, names: ATTENTION_NAMES, path: `${layer}.self_attn` },
      {
        config: mlp,
        names: GATED_MLP_NAMES,
        path: `${layer}.feed_forward`,
        norm: `${layer}.pre_ff_layernorm.weight`,
      },
    ] satisfies LayerDescription[]
  }).flat()
}

// output * (weight · (input * x) + bias). mlx-lm folds the factors into weights, and none into biases.
const multiplier = (input: number, output: number, isFolded: boolean): Multiplier => ({
  weight: isFolded ? 1 : input * output,
  bias: output,
})

function readMamba(config: ConfigReader, dModel: number, isFolded: boolean): Mamba2Config {
  const dInner = config.isNull('mamba_d_ssm') ? undefined : config.dimension('mamba_d_ssm')
  const hasNorm = config.boolean('mamba_rms_norm', false)
  const mamba2: Mamba2Config = {
    ...readMambaKeys(config, dModel, dInner),
    outBias: config.boolean('projectors_bias', false),
    hasGatedNorm: hasNorm,
    normBeforeGate: hasNorm && config.boolean('mamba_norm_before_gate', true),
  }
  const factors = config.factors('ssm_multipliers', 5)
  const groupCols = mamba2.nGroups * mamba2.dState
  const sections = [mamba2.dInner, mamba2.dInner, groupCols, groupCols, mamba2.numHeads]
  const each = (input: number): Factor =>
    sections.map((rows, i) => ({ rows, factor: input * factors[i]! }))
  return {
    ...mamba2,
    inMultiplier: {
      weight: isFolded ? 1 : each(config.factor('ssm_in_multiplier')),
      bias: each(1),
    },
    outMultiplier: multiplier(1, config.factor('ssm_out_multiplier'), isFolded),
  }
}

// mlx-lm leaves key_multiplier out, and the input's factor of v.
function readAttention(
  config: ConfigReader,
  dModel: number,
  isFolded: boolean,
): FullAttentionConfig {
  const input = config.factor('attention_in_multiplier')
  const key = config.factor('key_multiplier')
  return {
    ...readAttentionKeys(config, dModel, { rotary: 'whole' }),
    qMultiplier: multiplier(input, 1, isFolded),
    kMultiplier: { weight: isFolded ? key : input * key, bias: key },
    vMultiplier: multiplier(input, 1, false),
    outMultiplier: multiplier(1, config.factor('attention_out_multiplier'), isFolded),
  }
}

function readMlp(config: ConfigReader, isFolded: boolean): MlpConfig {
  const [gate, down] = config.factors('mlp_multipliers', 2) as [number, number]
  const bias = config.boolean('mlp_bias', false)
  return {
    ...readGatedMlp(config, config.dimension('intermediate_size'), bias),
    inMultiplier: multiplier(1, gate, isFolded),
    outMultiplier: multiplier(1, down, isFolded),
  }
}

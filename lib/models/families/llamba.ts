// Cartesia's Llamba (cartesia-ai/Llamba-*), perhaps quantised in mlx-lm's form by `convert`: config.json with model_type "llamba", and safetensors or pytorch_model.bin; no
// tokenizer. Each layer is a discrete Mamba-2 and the gated MLP of Llama. (cartesia_pytorch/Llamba/configuration_llamba.py,
// llamba.py, mixers/discrete_mamba2.py)

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { LayerDescription } from '../blocks/blocks.js'
import type { Mamba2Config, Mamba2Names } from '../blocks/mamba2.js'
import type { MlpConfig } from '../blocks/mlp.js'
import type { ConfigReader } from '../config-reader.js'
import { discreteMamba2 } from './discrete-mamba2.js'
import { type Family, hasModelType, type ModelDescription } from './family.js'
import { GATED_MLP_NAMES } from './hybrid-keys.js'
import { roundUp } from './mamba-ssm.js'
import { readMlxQuantization } from './mlx-quantization.js'

// What LlambaConfig has for keys that are left out.
const DEFAULTS = { norm_epsilon: 1e-5, pad_vocab_size_multiple: 8 }

const DISCRETE_NAMES: Mamba2Names = {
  inProj: 'in_proj',
  outProj: 'out_proj',
  convWeight: 'conv1d.weight',
  convBias: 'conv1d.bias',
  D: 'D',
  zBias: 'z_bias',
}

export const llamba: Family = {
  name: 'llamba',
  licence: 'Apache-2.0',
  published: [
    { name: 'cartesia-ai/Llamba-1B', parameters: '1B' },
    { name: 'cartesia-ai/Llamba-3B', parameters: '3B' },
    { name: 'cartesia-ai/Llamba-8B', parameters: '8B' },
  ],
  isConfig: (config) => hasModelType(config, 'llamba'),
  describe,
}

function describe(
  given: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
): ModelDescription {
  const config = given.withDefaults(DEFAULTS)
  const dModel = config.dimension('d_model')
  const vocabSize = config.dimension('vocab_size')
  const block = 'backbone.layers'
  const quantization = readMlxQuantization(config)
  return {
    config: {
      architecture: 'llamba',
      format: 'llamba',
      dModel,
      vocabSize,
      paddedVocabSize: roundUp(vocabSize, config.dimension('pad_vocab_size_multiple')),
      normEpsilon: config.epsilon('norm_epsilon'),
      tieEmbeddings: config.boolean('tie_embeddings', !tensors.has('lm_head.weight')),
      headBias: config.boolean('lm_head_bias', false),
      eosTokenIds: config.tokenIds('eos_token_id'),
      quantization: quantization?.standard,
      tokenizerName: tokenizerOf(dModel),
    },
    names: {
      embedding: 'backbone.embedding',
      head: 'lm_head',
      finalNorm: 'backbone.final_layernorm.weight',
      block,
    },
    layers: readLayers(config, dModel, block),
    tying: 'two matrices',
    quantizationOf: (path) => quantization?.of(path),
  }
}

// The models that the three were distilled from.
function tokenizerOf(dModel: number): string | undefined {
  const sizes = new Map([
    [2048, 'meta-llama/Llama-3.2-1B-Instruct'],
    [3072, 'meta-llama/Llama-3.2-3B-Instruct'],
    [4096, 'meta-llama/Llama-3.1-8B-Instruct'],
  ])
  return sizes.get(dModel)
}

function readLayers(config: ConfigReader, dModel: number, block: string): LayerDescription[] {
  const mamba2 = readMixer(config.object('ssm_cfg'), dModel)
  const mlp = readMlp(config)
  return Array.from({ length: config.layerCount('n_layer') }, (_, i): LayerDescription[] => {
    const layer = `${block}.${i}`
    return [
      {
        config: mamba2,
        names: DISCRETE_NAMES,
        path: `${layer}.mixer`,
        norm: `${layer}.input_layernorm.weight`,
      },
      {
        config: mlp,
        names: GATED_MLP_NAMES,
        path: `${layer}.mlp`,
        norm: `${layer}.post_attention_layernorm.weight`,
      },
    ]
  }).flat()
}

function readMixer(ssm: ConfigReader, dModel: number): Mamba2Config {
  const dInner = ssm.dimension('expand', 1) * dModel
  const numHeads = ssm.dimension('n_v_heads', 32)
  const nGroups = ssm.dimension('n_qk_heads', 32)
  if (dInner % numHeads !== 0) {
    ssm.invalid(`ssm_cfg.n_v_heads ${numHeads} does not divide expand * d_model, ${dInner}`)
  }
  if (numHeads % nGroups !== 0) {
    ssm.invalid(`ssm_cfg.n_qk_heads ${nGroups} does not divide n_v_heads ${numHeads}`)
  }
  return discreteMamba2({
    dInner,
    numHeads,
    nGroups,
    dState: ssm.dimension('d_state', 64),
    dConv: ssm.dimension('d_conv', 4),
    projectionBias: ssm.boolean('bias', false),
    convBias: ssm.boolean('conv_bias', true),
    convActivation:
      ssm.only('activation', ['identity', 'silu', 'swish']) === 'identity' ? 'none' : 'silu',
  })
}

function readMlp(config: ConfigReader): MlpConfig {
  const mlp = config.object('mlp_cfg')
  mlp.only('act_fn', ['silu', 'swish'])
  return {
    kind: 'mlp',
    dInner: mlp.dimension('intermediate_size'),
    activation: 'silu',
    gated: true,
    bias: mlp.boolean('bias', false),
    norm: false,
    normEpsilon: config.epsilon('norm_epsilon'),
  }
}

// state-spaces/mamba2-*: config.json without model_type (the fields of mamba_ssm's MambaConfig) and
// pytorch_model.bin; no tokenizer. (mamba_ssm/models/config_mamba.py)

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { ConfigReader } from '../config-reader.js'
import type { Family, ModelDescription } from './family.js'
import {
  MAMBA2_NAMES,
  MAMBA_SSM_EPSILON,
  mambaSsmNames,
  mixerLayer,
  readSsmConfig,
  roundUp,
} from './mamba-ssm.js'

// What MambaConfig has for keys that are left out.
const DEFAULTS = { d_model: 2560, n_layer: 64, vocab_size: 50277 }

/** Checkpoints of the original implementation, but for Mamba-1 and attention layers. */
export const stateSpaces: Family = {
  name: 'the state-spaces/mamba2 checkpoints (no model_type)',
  licence: 'Apache-2.0',
  published: [
    { name: 'state-spaces/mamba2-130m', parameters: '130M' },
    { name: 'state-spaces/mamba2-370m', parameters: '370M' },
    { name: 'state-spaces/mamba2-780m', parameters: '780M' },
    { name: 'state-spaces/mamba2-1.3b', parameters: '1.3B' },
    { name: 'state-spaces/mamba2-2.7b', parameters: '2.7B' },
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
  if (config.layerIndices('attn_layer_idx', layerCount).size > 0) {
    config.unsupported('has attention layers with rotary embedding (attn_layer_idx)')
  }
  if (config.number('d_intermediate', 0) !== 0) {
    config.unsupported('has MLPs between its layers (d_intermediate)')
  }
  const mamba2 = readSsmConfig(ssm, dModel)
  const { names } = mambaSsmNames(tensors)
  return {
    config: {
      architecture: 'mamba2',
      format: 'state-spaces',
      dModel,
      vocabSize,
      paddedVocabSize: roundUp(vocabSize, config.dimension('pad_vocab_size_multiple', 8)),
      normEpsilon: MAMBA_SSM_EPSILON,
      tieEmbeddings: config.boolean('tie_embeddings', true),
      headBias: false,
      eosTokenIds: config.tokenIds('eos_token_id'),
      quantization: undefined,
      tokenizerName: 'EleutherAI/gpt-neox-20b',
    },
    names,
    layers: Array.from({ length: layerCount }, (_, i) => ({
      config: mamba2,
      names: MAMBA2_NAMES,
      ...mixerLayer(names.block, i),
    })),
    tying: 'the head',
    usualEndOfText: 0, // <|endoftext|> of EleutherAI/gpt-neox-20b
    quantizationOf: () => undefined,
  }
}

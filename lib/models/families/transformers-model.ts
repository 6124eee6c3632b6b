// What families of transformers say of a model besides its layers, in the same words.

import type { LayerDescription } from '../blocks/blocks.js'
import type { ModelConfig } from '../config.js'
import type { ConfigReader } from '../config-reader.js'
import type { ModelDescription } from './family.js'
import { readMlxQuantization } from './mlx-quantization.js'
import type { TensorNames } from './tensor-names.js'

interface TransformersModel {
  architecture: ModelConfig['architecture']
  names: TensorNames
  layers: readonly LayerDescription[]
  normEpsilon: number
  /** Where the configuration does not say. */
  tied: boolean
  maxContext: number
  /** mlx-lm has converted it, quantised or not. */
  isConverted?: boolean
  /** What few families have. */
  more?: Pick<ModelConfig, 'embeddingMultiplier' | 'logitsMultiplier' | 'normOffset'>
}

/** The description of a model whose keys are `hidden_size`, `vocab_size`, `tie_word_embeddings` and `eos_token_id`. */
export function transformersModel(
  config: ConfigReader,
  {
    architecture,
    names,
    layers,
    normEpsilon,
    tied,
    maxContext,
    isConverted,
    more,
  }: TransformersModel,
): ModelDescription {
  const vocabSize = config.dimension('vocab_size')
  const quantization = readMlxQuantization(config)
  return {
    config: {
      architecture,
      format: quantization || isConverted ? 'mlx-lm' : 'transformers',
      dModel: config.dimension('hidden_size'),
      vocabSize,
      paddedVocabSize: vocabSize,
      normEpsilon,
      ...more,
      tieEmbeddings: config.boolean('tie_word_embeddings', tied),
      headBias: false,
      maxContext,
      eosTokenIds: config.tokenIds('eos_token_id'),
      quantization: quantization?.standard,
      tokenizerName: undefined,
    },
    names,
    layers,
    tying: 'two matrices',
    quantizationOf: (path) => quantization?.of(path),
  }
}

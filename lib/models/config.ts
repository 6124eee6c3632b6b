// What a model is made of, whatever file it came from. Dimensions are named once: here, and those of its layers where
// their block is.

import type { Quantization } from '../weights/formats/formats.js'
import type { LayerConfig } from './blocks/blocks.js'

/** `mamba2`: Mamba-2 layers alone. `rene`: Mamba-2, MLP and sliding-window attention. Others as their `model_type`. */
export type Architecture =
  | 'mamba2'
  | 'rene'
  | 'granitemoehybrid'
  | 'falcon_h1'
  | 'nemotron_h'
  | 'bamba'
  | 'zamba2'
  | 'lfm2'
  | 'lfm2_moe'
  | 'llamba'
  | 'mohawk'
  | 'qwen3_5'
  | 'qwen3_5_moe'

/** The on-disk formats that are understood. */
export type CheckpointFormat =
  | 'rene'
  | 'state-spaces'
  | 'llamba'
  | 'hf-mamba2'
  | 'transformers'
  | 'edge-mlx'
  | 'mlx-lm'

export interface ModelConfig {
  architecture: Architecture
  format: CheckpointFormat
  dModel: number
  /** Token ids of the tokenizer, as the checkpoint states it. */
  vocabSize: number
  /** Rows of the embedding and columns of the logits; `vocabSize` rounded up. */
  paddedVocabSize: number
  layers: readonly LayerConfig[]
  /** Of the norms before each layer and before the head. */
  normEpsilon: number
  /** What they are: RMS norms, or layer norms with mean and bias. Defaults to `rms`. */
  normType?: 'rms' | 'layer'
  /** What the weights of these norms are stored without: 1 for models that multiply by 1 + w. Defaults to 0. */
  normOffset?: number
  /** Positions that the model is made for, where its configuration says so. Matters only to layers that keep pages. */
  maxContext?: number | undefined
  tieEmbeddings: boolean
  /** What the rows of the embedding are multiplied by as they are looked up, and the logits. Default to 1. */
  embeddingMultiplier?: number
  logitsMultiplier?: number
  headBias: boolean
  /** Tokens that end a text by the configuration alone; `model.endOfText` has all. */
  eosTokenIds: readonly number[]
  quantization: Quantization | undefined
  /** The Hub name of the tokenizer that the authors use, for checkpoints that ship none. */
  tokenizerName: string | undefined
}

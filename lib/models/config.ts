// What a model is made of, whatever file it came from. Dimensions are named once, here.

import type { Quantization } from '../weights/formats/formats.js'

export type { Quantization }

/** The Mamba-2 mixer. */
export interface Mamba2Config {
  kind: 'mamba2'
  /** numHeads * headDim. */
  dInner: number
  numHeads: number
  headDim: number
  /** Columns of a head's SSM state. */
  dState: number
  /** Groups of B and C; head h uses group h / (numHeads / nGroups). */
  nGroups: number
  /** Taps of the causal convolution. */
  dConv: number
  /** Groups of the gated norm: `nGroups`, but 1 in files of Cartesia Edge, whose own code norms the whole row. */
  normGroups: number
  normBeforeGate: boolean
  /** Bounds of the step size after softplus. */
  dtLimit: readonly [number, number]
  projectionBias: boolean
  convBias: boolean
  normEpsilon: number
}

/** out_proj(activation(in_proj(x))), or out_proj(norm(activation(in_proj(x)) * gate_proj(x))). */
export interface MlpConfig {
  kind: 'mlp'
  dInner: number
  activation: 'gelu' | 'silu'
  gated: boolean
  bias: boolean
  /** An RMS norm before out_proj; only when gated. */
  norm: boolean
  /** The checkpoint holds a norm that the model does not apply. */
  hasUnusedNorm?: boolean
  normEpsilon: number
}

/** Causal attention over the last `window` positions, without rotary embedding. */
export interface AttentionConfig {
  kind: 'attention'
  numHeads: number
  numKvHeads: number
  headDim: number
  window: number
  qkvBias: boolean
  outBias: boolean
  scale: number
}

export type LayerConfig = Mamba2Config | MlpConfig | AttentionConfig

/** `mamba2`: Mamba-2 layers alone. `rene`: Mamba-2, MLP and sliding-window attention. */
export type Architecture = 'mamba2' | 'rene'

/** The on-disk formats that are understood. */
export type CheckpointFormat = 'rene' | 'state-spaces' | 'hf-mamba2' | 'edge-mlx' | 'mlx-lm'

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
  tieEmbeddings: boolean
  headBias: boolean
  /** Tokens that end a text by the configuration alone; `model.endOfText` has all. */
  eosTokenIds: readonly number[]
  quantization: Quantization | undefined
  /** The Hub name of the tokenizer that the authors use, for checkpoints that ship none. */
  tokenizerName: string | undefined
}

/** Columns of the convolution: x, B and C side by side. */
export function convDim(config: Mamba2Config): number {
  return config.dInner + 2 * config.nGroups * config.dState
}

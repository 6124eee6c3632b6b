// What a GGUF file says of a model, by llama.cpp's architecture.

import type { LayerConfig } from '../../../lib/models/blocks/blocks.js'
import type { ModelConfig } from '../../../lib/models/config.js'
import type { JsonObject, JsonValue } from '../../../lib/support/json.js'
import type { LayerStyle } from './gguf-layers.js'
import type { GgufValue } from './gguf.js'

/** A model as its blocks are in llama.cpp: one list of ours for each of its. */
export interface GgufModel {
  config: ModelConfig
  blocks: readonly (readonly LayerConfig[])[]
  /** config.json. */
  stated: JsonObject
}

export interface Architecture extends LayerStyle {
  /** llama.cpp's name. */
  name: string
  /** The norm before the second part of a block. */
  secondNorm?: string
  /** By default `output_norm`. */
  finalNorm?: string
  /** llama.cpp multiplies embedding and logits by numbers of its own; by default the matrices are multiplied. */
  keepsMultipliers?: boolean
  /** Keys of its own, without the name before them. */
  keys(model: GgufModel): Record<string, GgufValue>
}

const uint32 = (value: number): GgufValue => ({ type: 'uint32', value })
const float32 = (value: number): GgufValue => ({ type: 'float32', value })
const int32s = (value: readonly number[]): GgufValue => ({ type: 'int32s', value })

/** By what `ModelConfig.architecture` says. */
export const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  mamba2: {
    name: 'mamba2',
    // The first two are asked for and not used.
    keys: (model) => ({
      feed_forward_length: uint32(0),
      'attention.head_count': uint32(0),
      ...mamba2Keys(model),
    }),
  },
  granitemoehybrid: {
    name: 'granitehybrid',
    secondNorm: 'ffn_norm.weight',
    keepsMultipliers: true,
    keepsOutMultiplier: true,
    keys(model) {
      const { embeddingMultiplier = 1, logitsMultiplier = 1 } = model.config
      const attention = first(model, 'full_attention')
      const residual = attention.outMultiplier?.weight ?? 1
      if (attention.rotary || typeof residual !== 'number') {
        throw new Error('[writeModelGguf] granite: rotary embedding is not written')
      }
      return {
        ...mamba2Keys(model),
        ...attentionKeys(model),
        feed_forward_length: uint32(first(model, 'mlp').dInner),
        'attention.scale': float32(attention.scale),
        embedding_scale: float32(embeddingMultiplier),
        residual_scale: float32(residual),
        // It divides.
        logit_scale: float32(1 / logitsMultiplier),
        // A switch: no positions.
        'rope.scaling.finetuned': { type: 'bool', value: false },
      }
    },
  },
  falcon_h1: {
    name: 'falcon-h1',
    secondNorm: 'ffn_norm',
    keys: (model) => ({
      ...mamba2Keys(model),
      ...attentionKeys(model),
      ...rotaryKeys(model),
      feed_forward_length: uint32(first(model, 'mlp').dInner),
    }),
  },
  lfm2: {
    name: 'lfm2',
    secondNorm: 'ffn_norm.weight',
    finalNorm: 'token_embd_norm',
    keys: (model) => ({
      ...attentionKeys(model),
      ...rotaryKeys(model),
      feed_forward_length: uint32(first(model, 'mlp').dInner),
      'shortconv.l_cache': uint32(first(model, 'short_conv').dConv),
    }),
  },
  nemotron_h: {
    name: 'nemotron_h',
    keys: (model) => ({
      ...mamba2Keys(model),
      ...attentionKeys(model),
      'attention.layer_norm_epsilon': float32(model.config.normEpsilon),
      feed_forward_length: int32s(
        model.blocks.map(([layer]) => (layer!.kind === 'mlp' ? layer!.dInner : 0)),
      ),
    }),
  },
  qwen3_5: {
    name: 'qwen35',
    secondNorm: 'post_attention_norm.weight',
    keys: (model) => ({
      ...deltaKeys(model),
      feed_forward_length: uint32(first(model, 'mlp').dInner),
    }),
  },
  qwen3_5_moe: {
    name: 'qwen35moe',
    secondNorm: 'post_attention_norm.weight',
    keys(model) {
      const { numExperts, numChosen, dInner } = first(model, 'experts')
      return {
        ...deltaKeys(model),
        feed_forward_length: uint32(dInner),
        expert_count: uint32(numExperts),
        expert_used_count: uint32(numChosen),
        expert_feed_forward_length: uint32(dInner),
        expert_shared_feed_forward_length: uint32(first(model, 'mlp').dInner),
      }
    },
  },
}

type ConfigOf<Kind extends LayerConfig['kind']> = Extract<LayerConfig, { kind: Kind }>

function first<Kind extends LayerConfig['kind']>(
  { blocks }: GgufModel,
  kind: Kind,
): ConfigOf<Kind> {
  const found = blocks.flat().find((layer) => layer.kind === kind)
  if (!found) throw new Error(`[writeModelGguf] the model has no ${kind}`)
  return found as ConfigOf<Kind>
}

function mamba2Keys(model: GgufModel): Record<string, GgufValue> {
  const { dConv, dInner, dState, numHeads, nGroups } = first(model, 'mamba2')
  return ssmKeys({ dConv, dInner, dState, numHeads, nGroups })
}

interface SsmSizes {
  dConv: number
  dInner: number
  dState: number
  numHeads: number
  nGroups: number
}

function ssmKeys(sizes: SsmSizes): Record<string, GgufValue> {
  return {
    'ssm.conv_kernel': uint32(sizes.dConv),
    'ssm.inner_size': uint32(sizes.dInner),
    'ssm.state_size': uint32(sizes.dState),
    // For Mamba-2 and the delta rule this is the number of heads.
    'ssm.time_step_rank': uint32(sizes.numHeads),
    'ssm.group_count': uint32(sizes.nGroups),
  }
}

function deltaKeys(model: GgufModel): Record<string, GgufValue> {
  const { dConv, numHeads, numKeyHeads, keyDim, valueDim } = first(model, 'gated_delta_net')
  const interval = model.blocks.findIndex((block) =>
    block.some(({ kind }) => kind === 'full_attention'),
  )
  return {
    ...ssmKeys({
      ...{ dConv, dInner: numHeads * valueDim, dState: keyDim },
      ...{ numHeads, nGroups: numKeyHeads },
    }),
    ...attentionKeys(model, 'all'),
    ...rotaryKeys(model),
    // Of pairs that turn by one of three positions; a text has the same for all.
    'rope.dimension_sections': int32s([11, 11, 10, 0]),
    full_attention_interval: uint32(interval + 1),
  }
}

/** A block without attention has no heads of keys there, but where another key tells. */
function attentionKeys(
  model: GgufModel,
  headsIn: 'attention' | 'all' = 'attention',
): Record<string, GgufValue> {
  const { numHeads, numKvHeads, headDim } = first(model, 'full_attention')
  const attends = (block: readonly LayerConfig[]) =>
    block.some(({ kind }) => kind === 'full_attention')
  const kvHeads = model.blocks.map((block) => (attends(block) ? numKvHeads : 0))
  return {
    'attention.head_count': uint32(numHeads),
    'attention.head_count_kv': headsIn === 'all' ? uint32(numKvHeads) : int32s(kvHeads),
    'attention.key_length': uint32(headDim),
    'attention.value_length': uint32(headDim),
  }
}

function rotaryKeys(model: GgufModel): Record<string, GgufValue> {
  const { rotary } = first(model, 'full_attention')
  return {
    'rope.dimension_count': uint32(2 * rotary!.frequencies.length),
    'rope.freq_base': float32(statedTheta(model.stated)),
  }
}

function statedTheta({ rope_theta: theta, rope_parameters: inner }: JsonObject): number {
  const parameters = inner as Record<string, JsonValue> | undefined
  return Number(parameters?.rope_theta ?? theta)
}

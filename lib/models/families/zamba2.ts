// Zyphra's Zamba2 (transformers' `zamba2`): Mamba-2 layers, before some of which stands a transformer block whose weights
// several of them share, in turn where there are two blocks. (transformers/models/zamba2/modular_zamba2.py)

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { LayerDescription } from '../blocks/blocks.js'
import type { Mamba2Config } from '../blocks/mamba2.js'
import { readRotary } from '../blocks/rotary.js'
import type {
  SharedTransformerConfig,
  SharedTransformerNames,
} from '../blocks/shared-transformer.js'
import type { ConfigReader } from '../config-reader.js'
import { type Family, hasModelType, type ModelDescription } from './family.js'
import { llamaNames } from './llama-names.js'
import { MAMBA2_NAMES } from './mamba-ssm.js'
import { transformersModel } from './transformers-model.js'

// What Zamba2Config has for keys that are left out.
const DEFAULTS = {
  vocab_size: 32000,
  hidden_size: 2560,
  num_attention_heads: 32,
  n_mamba_heads: 8,
  mamba_d_state: 64,
  adapter_rank: 128,
  num_mem_blocks: 1,
  rms_norm_eps: 1e-5,
}

// The class of the gated norm has it, and no key.
const GATED_NORM_EPSILON = 1e-5

const BLOCK_TYPES = { mamba: 'mamba', linear_attention: 'mamba', hybrid: 'hybrid' } as const

export const zamba2: Family = {
  name: 'zamba2',
  licence: 'Apache-2.0',
  published: [
    { name: 'Zyphra/Zamba2-1.2B', parameters: '1.2B' },
    { name: 'Zyphra/Zamba2-2.7B', parameters: '2.7B' },
    { name: 'Zyphra/Zamba2-7B', parameters: '7B' },
  ],
  isConfig: (config) => hasModelType(config, 'zamba2'),
  describe,
}

function describe(
  given: ConfigReader,
  tensors: ReadonlyMap<string, TensorEntry>,
): ModelDescription {
  const config = given.withDefaults(DEFAULTS)
  const dModel = config.dimension('hidden_size')
  const names = llamaNames(tensors, 'final_layernorm')
  const isLong = config.boolean('use_long_context', false)
  const types = readTypes(config)
  const isShared = sharesBlocks(types, names.block, tensors)
  const model = transformersModel(config, {
    architecture: 'zamba2',
    names,
    layers: readLayers(config, dModel, { types, block: names.block, isShared }),
    normEpsilon: config.epsilon('rms_norm_eps'),
    tied: true,
    maxContext: isLong ? 16_384 : config.dimension('max_position_embeddings', 4096),
  })
  return isShared ? model : { ...model, isUnused: othersAdapter(types, names.block) }
}

type LayerType = (typeof BLOCK_TYPES)[keyof typeof BLOCK_TYPES]

function readTypes(config: ConfigReader): LayerType[] {
  const key = config.has('layers_block_type') ? 'layers_block_type' : 'layer_types'
  return config.layerTypes(key, BLOCK_TYPES)
}

const hybridsOf = (types: readonly LayerType[]) =>
  [...types.keys()].filter((i) => types[i] === 'hybrid')

// transformers ties blocks as it ties the head: by tie_word_embeddings. Otherwise each layer has one of its own in the file.
function sharesBlocks(
  types: readonly LayerType[],
  block: string,
  tensors: ReadonlyMap<string, TensorEntry>,
): boolean {
  const names = hybridsOf(types).map(
    (i) => `${block}.${i}.shared_transformer.input_layernorm.weight`,
  )
  return !names.every((name) => tensors.has(name))
}

// A block has adapters for all layers that would share it.
function othersAdapter(types: readonly LayerType[], block: string): (tensor: string) => boolean {
  const hybrids = hybridsOf(types)
  return (tensor) => {
    if (!tensor.startsWith(`${block}.`)) return false
    const [, layer, index] =
      /^(\d+)\.shared_transformer\..*_adapter_list\.(\d+)\./.exec(tensor.slice(block.length + 1)) ??
      []
    return index !== undefined && hybrids.indexOf(Number(layer)) !== Number(index)
  }
}

function readLayers(
  config: ConfigReader,
  dModel: number,
  { types, block, isShared }: { types: readonly LayerType[]; block: string; isShared: boolean },
): LayerDescription[] {
  const mamba2 = readMamba(config, dModel)
  const hybrids = hybridsOf(types)
  const blocks = config.dimension('num_mem_blocks')
  const hasAdapters = config.boolean('use_shared_attention_adapter', false)
  const shared = hybrids.length > 0 ? readShared(config, dModel, hasAdapters) : undefined
  return types.flatMap((type, i): LayerDescription[] => {
    const layer = `${block}.${i}`
    if (type === 'mamba') return [mambaLayer(mamba2, layer)]
    const index = hybrids.indexOf(i)
    // What is shared is in the file once, in the first layer that has it.
    const owner = isShared ? hybrids[index % blocks]! : i
    return [
      {
        config: shared!,
        names: sharedNames(owner, i, index, hasAdapters),
        path: block,
        norm: null,
        layer: `layers.${i}`,
        aside: true,
      },
      mambaLayer(mamba2, `${layer}.mamba_decoder`),
    ]
  })
}

function mambaLayer(config: Mamba2Config, layer: string): LayerDescription {
  const norm = `${layer}.input_layernorm.weight`
  return { config, names: MAMBA2_NAMES, path: `${layer}.mamba`, norm }
}

function sharedNames(
  owner: number,
  layer: number,
  index: number,
  hasAdapters: boolean,
): SharedTransformerNames {
  const shared = `${owner}.shared_transformer`
  const attention = `${shared}.self_attn`
  const adapterOf = (list: string) => ({ down: `${list}.${index}.0`, up: `${list}.${index}.1` })
  return {
    inputNorm: `${shared}.input_layernorm.weight`,
    attention: {
      projections: [`${attention}.q_proj`, `${attention}.k_proj`, `${attention}.v_proj`],
      ...(hasAdapters && {
        adapters: ['q', 'k', 'v'].map((name) =>
          adapterOf(`${attention}.linear_${name}_adapter_list`),
        ),
      }),
    },
    outProj: `${attention}.o_proj`,
    mlpNorm: `${shared}.pre_ff_layernorm.weight`,
    gateUpProj: `${shared}.feed_forward.gate_up_proj`,
    adapter: adapterOf(`${shared}.feed_forward.gate_up_proj_adapter_list`),
    downProj: `${shared}.feed_forward.down_proj`,
    linear: `${layer}.linear`,
  }
}

function readMamba(config: ConfigReader, dModel: number): Mamba2Config {
  const dInner = Math.trunc(config.number('mamba_expand', 2) * dModel)
  const numHeads = config.dimension('n_mamba_heads')
  const nGroups = config.dimension('mamba_ngroups', 1)
  if (!(dInner >= 1) || dInner % numHeads !== 0 || numHeads % nGroups !== 0) {
    config.invalid(
      `n_mamba_heads ${numHeads} and mamba_ngroups ${nGroups} do not divide ` +
        `mamba_expand * hidden_size, ${dInner}`,
    )
  }
  const bias = config.boolean('add_bias_linear', false)
  return {
    kind: 'mamba2',
    dInner,
    numHeads,
    headDim: dInner / numHeads,
    nGroups,
    dState: config.dimension('mamba_d_state'),
    dConv: config.dimension('mamba_d_conv', 4),
    normGroups: nGroups,
    normBeforeGate: false,
    // Without a limit: transformers clamps dt in prompts, and in nothing else; the authors nowhere.
    dtLimit: config.limits('time_step_limit'),
    projectionBias: bias,
    // Whatever use_conv_bias says.
    convBias: true,
    normEpsilon: GATED_NORM_EPSILON,
  }
}

function readShared(
  config: ConfigReader,
  dModel: number,
  hasAdapters: boolean,
): SharedTransformerConfig {
  const numHeads = config.dimension('num_attention_heads')
  const numKvHeads = config.has('num_key_value_heads')
    ? config.dimension('num_key_value_heads')
    : numHeads
  if ((2 * dModel) % numHeads !== 0 || numHeads % numKvHeads !== 0) {
    config.invalid(
      `num_attention_heads ${numHeads} must divide 2 * hidden_size, ${2 * dModel}, and be a multiple of ` +
        `num_key_value_heads, ${numKvHeads}`,
    )
  }
  if (config.boolean('use_long_context', false)) {
    config.unsupported('has use_long_context, whose rotary embedding is not implemented')
  }
  const headDim = (2 * dModel) / numHeads
  const isRotary = config.boolean('use_mem_rope', false)
  const adapterRank = config.dimension('adapter_rank')
  return {
    kind: 'shared_transformer',
    attention: {
      numHeads,
      numKvHeads,
      headDim,
      // Half of a head is the stream, the other half the embedding.
      scale: 1 / Math.sqrt(headDim / 2),
      rotary: isRotary ? readRotary(config, headDim, 'whole') : undefined,
      qkvBias: false,
      ...(hasAdapters && { adapterRank }),
    },
    dInner: config.has('intermediate_size') ? config.dimension('intermediate_size') : 4 * dModel,
    activation: config.only('hidden_act', ['gelu', 'silu']),
    adapterRank,
    bias: config.boolean('add_bias_linear', false),
    normEpsilon: config.epsilon('rms_norm_eps'),
  }
}

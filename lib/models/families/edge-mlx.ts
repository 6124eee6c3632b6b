// Cartesia Edge's MLX files (cartesia-ai/*-mlx): one safetensors file whose header metadata holds the
// configuration, flattened to dotted keys with JSON values, layers named by their Python class in
// `_class_`; no config.json, no tokenizer. Keys that a file leaves out have the defaults of those
// classes. (cartesia_mlx/models, cartesia_mlx/layers)

import { CorruptFileError } from '../../support/errors.js'
import { type JsonObject, type JsonValue, parseConfigJson } from '../../support/json.js'
import type { Quantization } from '../../weights/formats/formats.js'
import type { AttentionConfig, AttentionNames } from '../blocks/attention.js'
import type { LayerDescription } from '../blocks/blocks.js'
import type { Mamba2Config, Mamba2Names } from '../blocks/mamba2.js'
import type { MlpConfig, MlpNames } from '../blocks/mlp.js'
import type { Architecture } from '../config.js'
import { ConfigReader } from '../config-reader.js'
import { discreteMamba2 } from './discrete-mamba2.js'
import type { Family, ModelDescription } from './family.js'
import { readStated } from './mlx-quantization.js'
import type { TensorNames } from './tensor-names.js'

const EDGE_NAMES: TensorNames = {
  embedding: 'embedding.encoder',
  head: 'head.linear',
  finalNorm: 'model.norm.weight',
  block: 'model.layers',
}

const MAMBA2_NAMES: Mamba2Names = {
  inProj: 'in_proj',
  outProj: 'out_proj',
  convWeight: 'conv_weight',
  convBias: 'conv_bias',
  dtBias: 'dt_bias',
  D: 'D',
  gatedNorm: 'rms_norm.weight',
  decay: 'A',
}
// Of the discrete recurrence.
const DISCRETE_NAMES: Mamba2Names = {
  inProj: 'in_proj',
  outProj: 'out_proj',
  convWeight: 'conv_weight',
  convBias: 'conv_bias',
  D: 'D',
  zBias: 'z_bias',
}
const MLP_NAMES: MlpNames = {
  inProj: 'in_proj',
  gateProj: 'gate_proj',
  outProj: 'out_proj',
  norm: 'norm.weight',
}
const ATTENTION_NAMES: AttentionNames = { qkvProj: 'qkv_proj', outProj: 'out_proj' }

// The default of mlx.nn.RMSNorm and mlx.nn.LayerNorm; no config of Edge chooses another.
const MLX_EPSILON = 1e-5

export const edgeMlx: Family = {
  // Those of mlx-lm are of the other families, quantised.
  name: 'the MLX files of Cartesia Edge and mlx-lm',
  licence: 'Apache-2.0',
  published: [
    { name: 'cartesia-ai/mamba2-130m-8bit-mlx', parameters: '130M' },
    { name: 'cartesia-ai/mamba2-1.3b-4bit-mlx', parameters: '1.3B' },
    { name: 'cartesia-ai/Rene-v0.1-1.3b-4bit-mlx', parameters: '1.3B' },
    { name: 'cartesia-ai/Mohawk-v0.1-1.3B-4bit-mlx', parameters: '1.3B' },
    { name: 'cartesia-ai/Llamba-1B-4bit-mlx', parameters: '1B' },
    { name: 'cartesia-ai/Llamba-3B-4bit-mlx', parameters: '3B' },
    { name: 'cartesia-ai/Llamba-8B-4bit-mlx', parameters: '8B' },
  ],
  configInHeader(file, metadata) {
    const isEdge = Object.hasOwn(metadata, '_class_') && Object.hasOwn(metadata, 'model._class_')
    return isEdge ? new ConfigReader(file, unflatten(file, metadata)) : undefined
  },
  describe,
}

function describe(config: ConfigReader): ModelDescription {
  const sequence = config.object('model')
  sequence.only('pre_norm', [false])
  sequence.only('post_norm', [true])
  sequence.only('final_proj', [false])
  const dModel = config.dimension('d_model')
  const vocabSize = config.has('n_tokens')
    ? config.dimension('n_tokens')
    : config.object('embedding').dimension('n_tokens')
  const head = config.object('head')
  const uniqueBlocks = sequence.numberedObjects('unique_layers')
  const blocks = uniqueBlocks.map((block) => readBlock(block, dModel))
  const repeats = sequence.has('n_layer_repeats') ? sequence.layerCount('n_layer_repeats') : 1
  const count = repeats * blocks.length
  if (count < 1 || count > 4096) config.invalid(`the model has ${count} layers, expected 1 to 4096`)
  const layers = Array.from({ length: count }, (_, i) =>
    placed(blocks[i % blocks.length]!, `${EDGE_NAMES.block}.${i}`),
  ).flat()
  const normType = sequence.only('norm_type', ['rms', 'layer'])
  // One type of norm for all: as in all models that there are.
  if (blocks.some((block) => block.normType !== normType)) {
    config.unsupported(`has norms of different types before its layers and its head (${normType})`)
  }
  const quantization = inheritedQuantization([config])
  const partQuantizations = uniqueBlocks.map((block) =>
    Object.fromEntries(
      PARTS.map((part) => [
        part,
        inheritedQuantization([block.object(part), block, sequence, config]),
      ]),
    ),
  )
  const headQuantization = inheritedQuantization([head, config])
  const tokenizer = config.object('tokenizer')
  return {
    config: {
      architecture: architectureOf(layers),
      format: 'edge-mlx',
      dModel,
      vocabSize,
      paddedVocabSize: vocabSize,
      normEpsilon: MLX_EPSILON,
      ...(normType === 'layer' && { normType }),
      tieEmbeddings: false,
      headBias: head.boolean('bias', true),
      eosTokenIds: config.tokenIds('eos'),
      quantization,
      tokenizerName: tokenizer.has('name') ? tokenizer.string('name') : undefined,
    },
    names: EDGE_NAMES,
    layers,
    tying: undefined,
    quantizationOf(path) {
      if (path === EDGE_NAMES.head) return headQuantization
      const [, layer, part] = /^model\.layers\.(\d+)\.(\w+)\./.exec(path) ?? []
      return partQuantizations[Number(layer) % blocks.length]?.[part!]
    },
  }
}

// Modules of a block that have matrices: the one of a ResidualBlock, the two of a PhiBlock.
const PARTS = ['layer', 'time_mixing', 'channel_mixing'] as const
type Part = (typeof PARTS)[number]

/** A block of the file, but for its place: what follows its norm, side by side. */
interface EdgeBlock {
  normType: 'rms' | 'layer'
  parts: readonly (Pick<LayerDescription, 'config' | 'names'> & { name: Part })[]
}

// The parts of a block in the place of its number.
function placed({ parts }: EdgeBlock, block: string): LayerDescription[] {
  const norm = `${block}.norm.weight`
  return parts.map(
    ({ name, ...part }, i) =>
      ({ ...part, path: `${block}.${name}`, ...(i === 0 && { norm }) }) as LayerDescription,
  )
}

function architectureOf(layers: readonly LayerDescription[]): Architecture {
  const configs = layers.map(({ config }) => config)
  if (configs.some((config) => config.kind === 'mamba2' && config.discrete)) {
    return layers.every(({ norm }) => norm !== undefined) ? 'llamba' : 'mohawk'
  }
  return configs.every(({ kind }) => kind === 'mamba2') ? 'mamba2' : 'rene'
}

// Of the innermost object that says something; null says that nothing is quantised.
function inheritedQuantization(innermostFirst: readonly ConfigReader[]): Quantization | undefined {
  for (const object of innermostFirst) {
    if (object.isNull('quantization_kwargs')) return undefined
    if (object.has('quantization_kwargs')) {
      return readStated(object.object('quantization_kwargs'))
    }
  }
  return undefined
}

function className(object: ConfigReader): string {
  return object.string('_class_').split('.').at(-1)!
}

function readBlock(block: ConfigReader, dModel: number): EdgeBlock {
  switch (className(block)) {
    case 'ResidualBlock':
      block.only('norm_point', ['pre'])
      return {
        normType: 'rms',
        parts: [{ name: 'layer', ...readLayer(block.object('layer'), dModel) }],
      }
    case 'PhiBlock':
      return {
        normType: 'layer',
        parts: (['time_mixing', 'channel_mixing'] as const).map((name) => ({
          name,
          ...readLayer(block.object(name), dModel),
        })),
      }
    default:
      return block.unsupported(`has a ${className(block)}`)
  }
}

function readLayer(
  layer: ConfigReader,
  dModel: number,
): Pick<LayerDescription, 'config' | 'names'> {
  switch (className(layer)) {
    case 'SSD':
      return { config: readSsd(layer, dModel), names: MAMBA2_NAMES }
    case 'LlambaSSD':
      return { config: readDiscrete(layer, dModel, 32), names: DISCRETE_NAMES }
    case 'MohawkSSD':
      return { config: readDiscrete(layer, dModel, undefined), names: DISCRETE_NAMES }
    case 'FFN':
      return {
        config: readFeedForward(layer, dModel, { expand: 4, glu: false, norm: false }),
        names: MLP_NAMES,
      }
    case 'SwiGLU':
      return {
        config: readFeedForward(layer, dModel, { expand: 2, glu: true, norm: true }),
        names: MLP_NAMES,
      }
    case 'SelfAttention':
      return { config: readAttention(layer, dModel), names: ATTENTION_NAMES }
    default:
      return layer.unsupported(`has a layer of class ${className(layer)}`)
  }
}

function readDiscrete(
  layer: ConfigReader,
  dModel: number,
  usualHeads: number | undefined,
): Mamba2Config {
  const [min, max] = layer.limits('dt_limit')
  if (min > 0 || max < Number.POSITIVE_INFINITY) {
    layer.unsupported('bounds the decay of its tokens (dt_limit), which is not implemented')
  }
  const dInner = layer.dimension('expand', 2) * dModel
  const numHeads = layer.dimension('n_heads', usualHeads)
  if (dInner % numHeads !== 0) layer.invalid(`n_heads ${numHeads} does not divide ${dInner}`)
  return discreteMamba2({
    dInner,
    numHeads,
    nGroups: numHeads,
    dState: layer.dimension('d_state', 64),
    dConv: layer.dimension('kernel_size', 4),
    projectionBias: layer.boolean('bias', false),
    // The convolution adds conv_bias whatever its flag says, as in SSD.
    convBias: true,
    convActivation: layer.boolean('conv_swish', false) ? 'silu' : 'none',
  })
}

function readSsd(layer: ConfigReader, dModel: number): Mamba2Config {
  const dInner = layer.dimension('expand', 2) * dModel
  const headDim = layer.dimension('d_head', 64)
  const nGroups = layer.dimension('n_groups', 1)
  if (dInner % headDim !== 0 || (dInner / headDim) % nGroups !== 0) {
    layer.invalid(`d_head ${headDim} and n_groups ${nGroups} do not divide d_inner ${dInner}`)
  }
  return {
    kind: 'mamba2',
    dInner,
    numHeads: dInner / headDim,
    headDim,
    nGroups,
    dState: layer.dimension('d_state', 64),
    dConv: layer.dimension('kernel_size', 4),
    // cartesia_mlx, which these files are made for, norms the whole row.
    normGroups: 1,
    normBeforeGate: layer.boolean('norm_before_gate', false),
    dtLimit: layer.limits('dt_limit'),
    projectionBias: layer.boolean('bias', false),
    // The convolution adds conv_bias whatever this flag says, in Edge as here.
    convBias: true,
    normEpsilon: MLX_EPSILON,
  }
}

function readFeedForward(
  layer: ConfigReader,
  dModel: number,
  defaults: { expand: number; glu: boolean; norm: boolean },
): MlpConfig {
  const expand = layer.number('expand', defaults.expand)
  const dInner = Math.round(expand * dModel)
  if (!(dInner >= 1 && dInner <= 2 ** 24)) layer.invalid(`expand ${expand} is out of range`)
  const gated = layer.boolean('glu', defaults.glu)
  const norm = layer.isNull('norm') ? false : layer.boolean('norm', defaults.norm)
  layer.only('bugged', [false])
  return {
    kind: 'mlp',
    dInner,
    activation: layer.only('activation', ['swish', 'gelu']) === 'gelu' ? 'gelu' : 'silu',
    gated,
    bias: layer.boolean('bias', false),
    norm: gated && norm,
    // Edge makes the norm but applies it to gated layers only.
    hasUnusedNorm: norm && !gated,
    normEpsilon: MLX_EPSILON,
  }
}

function readAttention(layer: ConfigReader, dModel: number): AttentionConfig {
  layer.only('causal', [true])
  if (layer.isNull('max_context_len')) {
    layer.unsupported('has attention without a window (max_context_len null)')
  }
  const dInner = Math.round((layer.has('expand') ? layer.number('expand') : 1) * dModel)
  const headDim = layer.dimension('d_head', 64)
  const numHeads = dInner / headDim
  // kv_heads null means as many as query heads; the key left out means 1.
  const numKvHeads = layer.isNull('kv_heads') ? numHeads : layer.dimension('kv_heads', 1)
  if (!Number.isInteger(numHeads) || numHeads < 1 || numHeads % numKvHeads !== 0) {
    layer.invalid(`d_head ${headDim} and kv_heads ${numKvHeads} do not divide d_inner ${dInner}`)
  }
  const bias = layer.boolean('bias', false)
  return {
    kind: 'attention',
    numHeads,
    numKvHeads,
    headDim,
    window: layer.dimension('max_context_len', 4096),
    qkvBias: bias,
    outBias: bias,
    scale: 1 / Math.sqrt(headDim),
  }
}

/** { "a.b": "1" } as { a: { b: 1 } }. Lists stay objects with the keys "0", "1", ... */
function unflatten(file: string, metadata: Record<string, string>): JsonObject {
  const root: JsonObject = Object.create(null)
  for (const [key, text] of Object.entries(metadata)) {
    const path = key.split('.')
    let object = root
    for (const part of path.slice(0, -1)) {
      object[part] ??= Object.create(null) as JsonObject
      const inner: JsonValue = object[part]!
      if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) {
        throw new CorruptFileError(`${file}: __metadata__ holds both ${part} and ${key}`)
      }
      object = inner
    }
    // A JSON text need not be an object; the parser of configs reads objects.
    object[path.at(-1)!] = parseConfigJson(`{"value":${text}}`, `${file}: ${key}`).value!
  }
  return root
}

// Models of any shape with random weights, written in the format of each family that has them.
// Every parameter matters: biases, norms and D are not the ones and zeros that they begin with.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { AttentionConfig } from '../../lib/models/blocks/attention.js'
import type { Mamba2Config } from '../../lib/models/blocks/mamba2.js'
import type { MlpConfig } from '../../lib/models/blocks/mlp.js'
import type { FileDtype } from '../../lib/weights/checkpoint.js'
import { writeSafetensors } from '../../lib/weights/safetensors.js'
import { modelLogits, type ReferenceLayer, type ReferenceModel } from '../reference/model.js'
import { seededIntegers } from '../unit/random.js'
import { seededNormals } from './arrays.js'
import { numbersOf, quantized, type RawTensor, rawTensor, type RawTensors } from './checkpoints.js'
import {
  makePytorchCheckpoint,
  pickle,
  type PickledTensor,
  pickledStateDict,
} from './pytorch-writer.js'

export interface RandomModel {
  dModel: number
  vocabSize: number
  layers: readonly ReferenceLayer[]
  normEpsilon: number
  tied: boolean
  headBias?: boolean
}

export function mamba2Layer(changes: Partial<Mamba2Config>): Mamba2Config {
  const numHeads = changes.numHeads ?? 8
  const headDim = changes.headDim ?? 16
  return {
    kind: 'mamba2',
    dInner: numHeads * headDim,
    numHeads,
    headDim,
    dState: 16,
    nGroups: 1,
    dConv: 4,
    normGroups: changes.nGroups ?? 1,
    normBeforeGate: false,
    dtLimit: [0, Number.POSITIVE_INFINITY],
    projectionBias: false,
    convBias: true,
    normEpsilon: 1e-5,
    ...changes,
  }
}

export function mlpLayer(changes: Partial<MlpConfig> & { dInner: number }): MlpConfig {
  return {
    kind: 'mlp',
    activation: 'gelu',
    gated: false,
    bias: false,
    norm: false,
    normEpsilon: 1e-5,
    ...changes,
  }
}

export function attentionLayer(changes: Partial<AttentionConfig>): AttentionConfig {
  const headDim = changes.headDim ?? 16
  return {
    kind: 'attention',
    numHeads: 4,
    numKvHeads: 1,
    headDim,
    window: 8,
    qkvBias: false,
    outBias: false,
    scale: 1 / Math.sqrt(headDim),
    ...changes,
  }
}

/** Float32 weights by the names of mamba_ssm. */
export function randomWeights(model: RandomModel, seed: number): RawTensors {
  const normals = seededNormals(seed)
  const integers = seededIntegers(seed)
  const tensors: RawTensors = new Map()
  const add = (name: string, shape: number[], values: number[]) =>
    tensors.set(name, rawTensor('float32', shape, values))
  const matrix = (name: string, rows: number, cols: number, scale = cols ** -0.5) =>
    add(name, [rows, cols], normals(rows * cols, scale))
  const vector = (name: string, length: number, middle: number, scale: number) =>
    add(
      name,
      [length],
      normals(length, scale).map((x) => middle + x),
    )
  const project = (name: string, rows: number, cols: number, bias: boolean) => {
    matrix(`${name}.weight`, rows, cols)
    if (bias) vector(`${name}.bias`, rows, 0, 0.3)
  }
  const { dModel, vocabSize, layers, tied, headBias } = model
  matrix('backbone.embedding.weight', vocabSize, dModel, 1)
  for (const [index, layer] of layers.entries()) {
    const block = `backbone.layers.${index}`
    const mixer = `${block}.mixer`
    vector(`${block}.norm.weight`, dModel, 1, 0.3)
    if (layer.kind === 'mamba2') {
      const { dInner, numHeads, nGroups, dState, dConv, projectionBias, convBias } = layer
      const channels = dInner + 2 * nGroups * dState
      project(`${mixer}.in_proj`, dInner + channels + numHeads, dModel, projectionBias)
      project(`${mixer}.out_proj`, dModel, dInner, projectionBias)
      add(`${mixer}.conv1d.weight`, [channels, 1, dConv], normals(channels * dConv, 0.5))
      if (convBias) vector(`${mixer}.conv1d.bias`, channels, 0, 0.3)
      const logs = Array.from({ length: numHeads }, () => Math.log(1 + integers(1500) / 100))
      add(`${mixer}.A_log`, [numHeads], logs)
      vector(`${mixer}.D`, numHeads, 1, 0.5)
      vector(`${mixer}.dt_bias`, numHeads, -2, 1)
      vector(`${mixer}.norm.weight`, dInner, 1, 0.3)
    } else if (layer.kind === 'mlp') {
      project(`${mixer}.in_proj`, layer.dInner, dModel, layer.bias)
      if (layer.gated) project(`${mixer}.gate_proj`, layer.dInner, dModel, layer.bias)
      project(`${mixer}.out_proj`, dModel, layer.dInner, layer.bias)
      if (layer.norm) vector(`${mixer}.norm.weight`, layer.dInner, 1, 0.3)
    } else {
      const { numHeads, numKvHeads, headDim, qkvBias, outBias } = layer
      project(`${mixer}.in_proj`, (numHeads + 2 * numKvHeads) * headDim, dModel, qkvBias)
      project(`${mixer}.out_proj`, dModel, numHeads * headDim, outBias)
    }
  }
  vector('backbone.norm_f.weight', dModel, 1, 0.3)
  if (!tied) matrix('lm_head.weight', vocabSize, dModel)
  if (headBias) vector('lm_head.bias', vocabSize, 0, 0.3)
  return tensors
}

/** The logits of every token, flat, by the naive reference. */
export function expectedLogits(
  model: Pick<ReferenceModel, 'layers' | 'normEpsilon'>,
  weights: RawTensors,
  tokens: number[],
): number[] {
  const tensors = new Map(
    [...weights].map(([name, raw]) => [name, { shape: raw.shape, values: numbersOf(raw) }]),
  )
  return modelLogits({ ...model, tensors }, tokens).flat()
}

export function randomTokens(vocabSize: number, length: number, seed: number): number[] {
  const integers = seededIntegers(seed)
  return Array.from({ length }, () => integers(vocabSize))
}

// The first layer of a kind stands for all: these formats have one configuration for each kind.
function layerOf<K extends ReferenceLayer['kind']>(model: RandomModel, kind: K) {
  return model.layers.find((layer) => layer.kind === kind) as
    | Extract<ReferenceLayer, { kind: K }>
    | undefined
}

const indicesOf = (model: RandomModel, kind: ReferenceLayer['kind']) =>
  [...model.layers.keys()].filter((i) => model.layers[i]!.kind === kind)

function ssmConfig(layer: Mamba2Config) {
  return {
    d_state: layer.dState,
    d_conv: layer.dConv,
    headdim: layer.headDim,
    ngroups: layer.nGroups,
    norm_before_gate: layer.normBeforeGate,
    bias: layer.projectionBias,
    conv_bias: layer.convBias,
    dt_limit: limits(layer),
  }
}

const limits = ({ dtLimit }: Mamba2Config) =>
  dtLimit.map((x) => (Number.isFinite(x) ? x : { __float__: 'Infinity' }))

async function writeConfig(folder: string, config: object): Promise<void> {
  await writeFile(join(folder, 'config.json'), JSON.stringify(config))
}

/** cartesia_pytorch's format. */
export async function writeRene(folder: string, model: RandomModel, weights: RawTensors) {
  const ssm = layerOf(model, 'mamba2')
  const mlp = layerOf(model, 'mlp')
  const attention = layerOf(model, 'attention')
  await writeConfig(folder, {
    model_type: 'rene',
    d_model: model.dModel,
    n_layer: model.layers.length,
    vocab_size: model.vocabSize,
    pad_vocab_size_multiple: 1,
    attn_layer_idx: indicesOf(model, 'attention'),
    mlp_layer_idx: indicesOf(model, 'mlp'),
    ssm_cfg: ssm && { ...ssmConfig(ssm), expand: ssm.dInner / model.dModel },
    mlp_cfg: mlp && { expand: mlp.dInner / model.dModel, bias: mlp.bias },
    attn_cfg: attention && {
      num_heads: attention.numHeads,
      num_heads_kv: attention.numKvHeads,
      head_dim: attention.headDim,
      sliding_window_length: attention.window,
      qkv_proj_bias: attention.qkvBias,
      out_proj_bias: attention.outBias,
      softmax_scale: attention.scale,
    },
    tie_word_embeddings: model.tied,
    eos_token_id: 0,
  })
  await writeSafetensors(join(folder, 'model.safetensors'), weights)
}

/** mamba_ssm's format. A tied head is saved too, in the storage of the embedding. */
export async function writeStateSpaces(folder: string, model: RandomModel, weights: RawTensors) {
  const ssm = layerOf(model, 'mamba2')!
  await writeConfig(folder, {
    d_model: model.dModel,
    n_layer: model.layers.length,
    vocab_size: model.vocabSize,
    pad_vocab_size_multiple: 1,
    ssm_cfg: { layer: 'Mamba2', ...ssmConfig(ssm), expand: ssm.dInner / model.dModel },
    tie_embeddings: model.tied,
  })
  const names = new Map([...weights.keys()].map((name) => [name, name]))
  if (model.tied) names.set('lm_head.weight', 'backbone.embedding.weight')
  await writePytorch(join(folder, 'pytorch_model.bin'), weights, names)
}

const STORAGE_CLASSES: Partial<Record<FileDtype, string>> = {
  float64: 'DoubleStorage',
  float32: 'FloatStorage',
  float16: 'HalfStorage',
  bfloat16: 'BFloat16Storage',
}

/** As torch.save does; `names` says which tensor each name stands for, by default its own. */
export async function writePytorch(
  file: string,
  tensors: RawTensors,
  names = new Map([...tensors.keys()].map((name) => [name, name])),
): Promise<void> {
  const pickled = [...names].map(([name, source]): [string, PickledTensor] => {
    const { dtype, shape, data } = tensors.get(source)!
    const strides = shape.map((_, axis) => product(shape.slice(axis + 1)))
    const numel = (8 * data.length) / (dtype === 'float64' ? 64 : dtype === 'float32' ? 32 : 16)
    const storageClass = STORAGE_CLASSES[dtype]!
    return [name, { storageClass, key: source, numel, shape: [...shape], strides }]
  })
  const storages = Object.fromEntries([...tensors].map(([name, { data }]) => [name, data]))
  const bytes = makePytorchCheckpoint(
    pickle(pickledStateDict(Object.fromEntries(pickled))),
    storages,
  )
  await writeFile(file, bytes)
}

const product = (shape: readonly number[]) => shape.reduce((total, n) => total * n, 1)

const hfNames = (name: string) => name.replace('backbone.embedding.', 'backbone.embeddings.')

function hfConfig(model: RandomModel) {
  const ssm = layerOf(model, 'mamba2')!
  return {
    model_type: 'mamba2',
    hidden_size: model.dModel,
    num_hidden_layers: model.layers.length,
    vocab_size: model.vocabSize,
    num_heads: ssm.numHeads,
    head_dim: ssm.headDim,
    n_groups: ssm.nGroups,
    state_size: ssm.dState,
    conv_kernel: ssm.dConv,
    expand: ssm.dInner / model.dModel,
    use_bias: ssm.projectionBias,
    use_conv_bias: ssm.convBias,
    time_step_limit: limits(ssm),
    layer_norm_epsilon: model.normEpsilon,
    tie_word_embeddings: model.tied,
    eos_token_id: 0,
  }
}

/** transformers' format. */
export async function writeHf(folder: string, model: RandomModel, weights: RawTensors) {
  await writeConfig(folder, hfConfig(model))
  const renamed = new Map([...weights].map(([name, tensor]) => [hfNames(name), tensor]))
  await writeSafetensors(join(folder, 'model.safetensors'), renamed)
}

export interface QuantizationChoice {
  bits: 4 | 8
  groupSize: number
  scaleType: FileDtype
}

/** Replaces a module's matrix by quantised tensors; returns the tensor that they stand for. */
function quantizeModule(
  tensors: RawTensors,
  path: string,
  name: string,
  choice: QuantizationChoice,
): RawTensor {
  const matrix = tensors.get(`${name}.weight`)!
  const { weight, scales, biases, values } = quantized(matrix, choice)
  tensors.delete(`${name}.weight`)
  for (const [part, tensor] of Object.entries({ weight, scales, biases })) {
    tensors.set(`${path}.${part}`, tensor)
  }
  // Float64, because scale · q + bias is not exact in float32.
  return rawTensor('float64', matrix.shape, values)
}

/**
 * mlx-lm's format: every module quantised by `standard` but those that `overrides` lists by path.
 * Returns the weights that the file stands for.
 */
export async function writeMlxLm(
  folder: string,
  model: RandomModel,
  weights: RawTensors,
  standard: QuantizationChoice,
  overrides: Record<string, QuantizationChoice | false> = {},
): Promise<RawTensors> {
  const stated = ({ bits, groupSize }: QuantizationChoice) => ({ bits, group_size: groupSize })
  await writeConfig(folder, {
    ...hfConfig(model),
    quantization: {
      ...stated(standard),
      mode: 'affine',
      ...Object.fromEntries(
        Object.entries(overrides).map(([path, choice]) => [path, choice && stated(choice)]),
      ),
    },
  })
  const meaning: RawTensors = new Map(weights)
  const file: RawTensors = new Map(weights)
  for (const [name, tensor] of weights) {
    const module = name.slice(0, -'.weight'.length)
    const path = hfNames(`${module}.`).slice(0, -1)
    const isMatrix = tensor.shape.length === 2
    const choice = overrides[path] ?? standard
    if (isMatrix && choice) meaning.set(name, quantizeModule(file, path, module, choice))
    else if (isMatrix) {
      file.delete(name)
      file.set(`${path}.weight`, tensor)
    } else if (tensor.shape.length === 3) {
      const [channels, , width] = tensor.shape as [number, number, number]
      file.set(name, { ...tensor, shape: [channels, width, 1] })
    }
  }
  await writeSafetensors(join(folder, 'model.safetensors'), file, { format: 'mlx' })
  return meaning
}

const EDGE_LAYER_NAMES: Record<ReferenceLayer['kind'], [from: string, to: string][]> = {
  mamba2: [
    ['conv1d.weight', 'conv_weight'],
    ['conv1d.bias', 'conv_bias'],
    ['A_log', 'A'],
    ['norm.weight', 'rms_norm.weight'],
  ],
  mlp: [],
  attention: [['in_proj.', 'qkv_proj.']],
}

function edgeName(model: RandomModel, name: string): string {
  const match = /^backbone\.layers\.(\d+)\.mixer\.(.*)$/.exec(name)
  if (match) {
    let rest = match[2]!
    for (const [from, to] of EDGE_LAYER_NAMES[model.layers[Number(match[1])]!.kind]) {
      if (rest.startsWith(from)) rest = to + rest.slice(from.length)
    }
    return `model.layers.${match[1]}.layer.${rest}`
  }
  return name
    .replace('backbone.embedding.', 'embedding.encoder.')
    .replace('backbone.layers.', 'model.layers.')
    .replace('backbone.norm_f.', 'model.norm.')
    .replace('lm_head.', 'head.linear.')
}

function edgeLayer(model: RandomModel, layer: ReferenceLayer): Record<string, unknown> {
  const expand = (dInner: number) => dInner / model.dModel
  switch (layer.kind) {
    case 'mamba2':
      return {
        _class_: 'layers.ssd.ssd.SSD',
        expand: expand(layer.dInner),
        kernel_size: layer.dConv,
        d_state: layer.dState,
        d_head: layer.headDim,
        n_groups: layer.nGroups,
        'dt_limit.0': layer.dtLimit[0],
        'dt_limit.1': layer.dtLimit[1],
        norm_before_gate: layer.normBeforeGate,
        bias: layer.projectionBias,
        conv_bias: true,
      }
    case 'mlp':
      return {
        _class_: layer.gated ? 'layers.ffn.SwiGLU' : 'layers.ffn.FFN',
        expand: expand(layer.dInner),
        activation: layer.activation === 'gelu' ? 'gelu' : 'swish',
        glu: layer.gated,
        bias: layer.bias,
        norm: layer.norm,
      }
    case 'attention':
      return {
        _class_: 'layers.attention.attention.SelfAttention',
        d_head: layer.headDim,
        expand: expand(layer.numHeads * layer.headDim),
        kv_heads: layer.numKvHeads === layer.numHeads ? null : layer.numKvHeads,
        max_context_len: layer.window,
        bias: layer.qkvBias,
        causal: true,
      }
  }
}

/**
 * Cartesia Edge's format, one file of that name. With `choice` the projections and the head are
 * quantised, as in published files. Returns the weights that the file stands for.
 */
export async function writeEdge(
  file: string,
  model: RandomModel,
  weights: RawTensors,
  choice?: QuantizationChoice,
): Promise<RawTensors> {
  const metadata: Record<string, string> = {}
  const put = (prefix: string, values: Record<string, unknown>) => {
    for (const [key, value] of Object.entries(values)) {
      // JSON.stringify makes null of infinity; Python writes the word.
      const text = value === Number.POSITIVE_INFINITY ? 'Infinity' : JSON.stringify(value)
      metadata[prefix + key] = text
    }
  }
  put('', { _class_: 'models.lm.LM', d_model: model.dModel, n_tokens: model.vocabSize, eos: 0 })
  put('tokenizer.', { _class_: 'utils.tokenizer.Tokenizer', name: 'allenai/OLMo-1B-hf' })
  if (choice) put('quantization_kwargs.', { bits: choice.bits, group_size: choice.groupSize })
  put('model.', { _class_: 'layers.sequence_model.SequenceModel', n_layer_repeats: 1 })
  put('model.', { post_norm: true, final_proj: false })
  for (const [i, layer] of model.layers.entries()) {
    const block = `model.unique_layers.${i}.`
    put(block, { _class_: 'layers.residual_block.ResidualBlock', norm_point: 'pre' })
    put(`${block}layer.`, edgeLayer(model, layer))
  }
  put('head.', { _class_: 'layers.linear.Linear', bias: model.headBias ?? false })

  const meaning: RawTensors = new Map(weights)
  const tensors: RawTensors = new Map(weights)
  for (const [name, tensor] of weights) {
    const isQuantized = choice && /\.(in_proj|out_proj)\.weight$|^lm_head\.weight$/.test(name)
    const module = name.slice(0, -'.weight'.length)
    const path = edgeName(model, `${module}.`).slice(0, -1)
    if (isQuantized) {
      meaning.set(name, quantizeModule(tensors, path, module, choice))
      continue
    }
    tensors.delete(name)
    if (name.endsWith('A_log')) {
      const A = numbersOf(tensor).map((x) => -Math.exp(x))
      tensors.set(edgeName(model, name), rawTensor('float32', tensor.shape, A))
    } else {
      const [channels, one, width] = tensor.shape
      const shape = tensor.shape.length === 3 && one === 1 ? [channels!, width!] : tensor.shape
      tensors.set(edgeName(model, name), { ...tensor, shape })
    }
  }
  await writeSafetensors(file, tensors, metadata)
  return meaning
}

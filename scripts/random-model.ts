// Checkpoints of Mamba-2 and Rene of any size with random weights, for benchmarks and tests: they cost as much to run
// as trained ones.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  DECAY,
  matrix,
  ONES,
  type RandomModelDtype,
  type RandomModelOptions,
  STEP_BIAS,
  taps,
  type TensorPlan,
  writeRandomTensors,
} from './random-tensors.js'

/** S: Mamba-2, M: MLP, A: attention; one letter a layer. A model of S alone is written as `mamba2`. */
export interface RandomModelShape {
  dModel: number
  layers: string
  vocabSize: number
  dState: number
  headDim: number
  nGroups: number
  expand: number
  dConv: number
  /** Width of an MLP over that of the model. */
  mlpExpand: number
  attentionHeadDim: number
  kvHeads: number
  window: number
}

const DEFAULTS = {
  vocabSize: 50288,
  dState: 128,
  headDim: 64,
  nGroups: 1,
  expand: 2,
  dConv: 4,
  mlpExpand: 3,
  attentionHeadDim: 64,
  kvHeads: 1,
  window: 2048,
}

/** A shape from what differs from the defaults of state-spaces/mamba2 and Rene. */
export function randomModelShape(
  changes: Partial<RandomModelShape> & Pick<RandomModelShape, 'dModel' | 'layers'>,
): RandomModelShape {
  return { ...DEFAULTS, ...changes }
}

/** Shapes of published models. Rene's is that of its authors' code where its files do not say. */
export const RANDOM_MODEL_SHAPES: Readonly<Record<string, RandomModelShape>> = {
  'mamba2-130m': randomModelShape({ dModel: 768, layers: 'S'.repeat(24) }),
  'mamba2-370m': randomModelShape({ dModel: 1024, layers: 'S'.repeat(48) }),
  'mamba2-780m': randomModelShape({ dModel: 1536, layers: 'S'.repeat(48) }),
  'mamba2-1.3b': randomModelShape({ dModel: 2048, layers: 'S'.repeat(48) }),
  'rene-1.3b': randomModelShape({ dModel: 2048, layers: 'SSMSSMASMSSM'.repeat(4) }),
}

function planTensors(shape: RandomModelShape): TensorPlan[] {
  const { dModel, layers, vocabSize, expand, headDim, nGroups, dState, dConv } = shape
  const isMamba2 = !/[MA]/.test(layers)
  const dInner = expand * dModel
  const heads = dInner / headDim
  const channels = dInner + 2 * nGroups * dState
  // The sum of all layers stays as large as the embedding, however many there are.
  const outScale = 1 / Math.sqrt(layers.length)
  const mamba2 = (mixer: string): TensorPlan[] => [
    matrix(`${mixer}.in_proj.weight`, dInner + channels + heads, dModel),
    { name: `${mixer}.conv1d.weight`, shape: [channels, 1, dConv], init: taps(dConv) },
    { name: `${mixer}.conv1d.bias`, shape: [channels], init: { deviation: 0.1 } },
    { name: `${mixer}.A_log`, shape: [heads], init: DECAY },
    { name: `${mixer}.dt_bias`, shape: [heads], init: STEP_BIAS },
    { name: `${mixer}.D`, shape: [heads], init: ONES },
    { name: `${mixer}.norm.weight`, shape: [dInner], init: ONES },
    matrix(`${mixer}.out_proj.weight`, dModel, dInner, outScale),
  ]
  const mlp = (mixer: string): TensorPlan[] => [
    matrix(`${mixer}.in_proj.weight`, shape.mlpExpand * dModel, dModel),
    matrix(`${mixer}.out_proj.weight`, dModel, shape.mlpExpand * dModel, outScale),
  ]
  const attention = (mixer: string): TensorPlan[] => [
    matrix(`${mixer}.in_proj.weight`, dModel + 2 * shape.kvHeads * shape.attentionHeadDim, dModel),
    matrix(`${mixer}.out_proj.weight`, dModel, dModel, outScale),
  ]
  const kinds: Record<string, (mixer: string) => TensorPlan[]> = { S: mamba2, M: mlp, A: attention }
  return [
    {
      name: `backbone.${isMamba2 ? 'embeddings' : 'embedding'}.weight`,
      shape: [vocabSize, dModel],
      init: { deviation: 0.02 },
    },
    ...[...layers].flatMap((letter, i) => [
      { name: `backbone.layers.${i}.norm.weight`, shape: [dModel], init: ONES },
      ...kinds[letter]!(`backbone.layers.${i}.mixer`),
    ]),
    { name: 'backbone.norm_f.weight', shape: [dModel], init: ONES },
  ]
}

function checkShape(shape: RandomModelShape): void {
  const fail = (problem: string) => {
    throw new RangeError(`[writeRandomModel] ${problem}`)
  }
  for (const [name, value] of Object.entries(shape)) {
    if (name === 'layers') continue
    if (!Number.isSafeInteger(value) || value < 1) fail(`${name} must be a positive whole number`)
  }
  const { dModel, layers, expand, headDim, nGroups, attentionHeadDim, kvHeads } = shape
  if (!/^[SMA]{1,4096}$/.test(layers)) fail('layers must be of the letters S, M and A')
  if ((expand * dModel) % headDim !== 0) fail('headDim must divide expand * dModel')
  if (((expand * dModel) / headDim) % nGroups !== 0) fail('nGroups must divide the number of heads')
  if (layers.includes('A')) {
    if (dModel % attentionHeadDim !== 0) fail('attentionHeadDim must divide dModel')
    if ((dModel / attentionHeadDim) % kvHeads !== 0) fail('kvHeads must divide the query heads')
  }
}

function configOf(shape: RandomModelShape, dtype: RandomModelDtype): object {
  const { dModel, layers, vocabSize, dState, headDim, nGroups, expand, dConv } = shape
  const indices = (letter: string) =>
    [...layers].flatMap((other, i) => (other === letter ? [i] : []))
  if (!/[MA]/.test(layers)) {
    return {
      architectures: ['Mamba2ForCausalLM'],
      model_type: 'mamba2',
      hidden_size: dModel,
      num_hidden_layers: layers.length,
      vocab_size: vocabSize,
      num_heads: (expand * dModel) / headDim,
      head_dim: headDim,
      n_groups: nGroups,
      state_size: dState,
      conv_kernel: dConv,
      expand,
      use_bias: false,
      use_conv_bias: true,
      layer_norm_epsilon: 1e-5,
      tie_word_embeddings: true,
      eos_token_id: 0,
      torch_dtype: dtype,
    }
  }
  return {
    architectures: ['ReneLMHeadModel'],
    model_type: 'rene',
    d_model: dModel,
    n_layer: layers.length,
    vocab_size: vocabSize,
    pad_vocab_size_multiple: 1,
    attn_layer_idx: indices('A'),
    mlp_layer_idx: indices('M'),
    attn_cfg: {
      causal: true,
      head_dim: shape.attentionHeadDim,
      num_heads: dModel / shape.attentionHeadDim,
      num_heads_kv: shape.kvHeads,
      out_proj_bias: false,
      qkv_proj_bias: false,
      sliding_window_length: shape.window,
    },
    mlp_cfg: { expand: shape.mlpExpand, bias: false },
    ssm_cfg: {
      d_state: dState,
      d_conv: dConv,
      headdim: headDim,
      ngroups: nGroups,
      expand,
      norm_before_gate: true,
    },
    tie_word_embeddings: true,
    eos_token_id: 0,
    torch_dtype: dtype,
  }
}

/**
 * Writes `config.json` and `model.safetensors` into `folder`; returns the bytes of the latter. The
 * same shape, dtype and seed give the same bytes.
 *
 * @example await writeRandomModel('/tmp/model', RANDOM_MODEL_SHAPES['mamba2-130m']!)
 */
export async function writeRandomModel(
  folder: string,
  shape: RandomModelShape,
  options: RandomModelOptions = {},
): Promise<number> {
  checkShape(shape)
  await mkdir(folder, { recursive: true })
  const bytes = await writeRandomTensors(
    join(folder, 'model.safetensors'),
    planTensors(shape),
    options,
  )
  await writeFile(
    join(folder, 'config.json'),
    `${JSON.stringify(configOf(shape, options.dtype ?? 'float32'), null, 2)}\n`,
  )
  return bytes
}

// Checkpoints of any size with random weights, for benchmarks and tests: they cost as much to run as
// trained ones. Tensors are written one after the other, in memory of a few megabytes.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { replaceFile } from '../lib/weights/replace-file.js'

export const RANDOM_MODEL_DTYPES = ['float32', 'float16', 'bfloat16'] as const
export type RandomModelDtype = (typeof RANDOM_MODEL_DTYPES)[number]

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

interface TensorPlan {
  name: string
  shape: number[]
  /** Normal numbers with this standard deviation, or one value for each element. */
  init: { deviation: number } | { value: (random: () => number) => number }
}

const ones = { value: () => 1 }

function planTensors(shape: RandomModelShape): TensorPlan[] {
  const { dModel, layers, vocabSize, expand, headDim, nGroups, dState, dConv } = shape
  const isMamba2 = !/[MA]/.test(layers)
  const dInner = expand * dModel
  const heads = dInner / headDim
  const channels = dInner + 2 * nGroups * dState
  // The sum of all layers stays as large as the embedding, however many there are.
  const outScale = 1 / Math.sqrt(layers.length)
  const matrix = (name: string, rows: number, cols: number, scale = 1): TensorPlan => {
    return { name, shape: [rows, cols], init: { deviation: scale / Math.sqrt(cols) } }
  }
  const mamba2 = (mixer: string): TensorPlan[] => [
    matrix(`${mixer}.in_proj.weight`, dInner + channels + heads, dModel),
    {
      name: `${mixer}.conv1d.weight`,
      shape: [channels, 1, dConv],
      init: { deviation: 1 / Math.sqrt(3 * dConv) },
    },
    { name: `${mixer}.conv1d.bias`, shape: [channels], init: { deviation: 0.1 } },
    {
      name: `${mixer}.A_log`,
      shape: [heads],
      init: { value: (random) => Math.log(1 + 15 * random()) },
    },
    {
      name: `${mixer}.dt_bias`,
      shape: [heads],
      // The inverse of softplus at a step from 0.001 to 0.1, evenly in its logarithm.
      init: { value: (random) => Math.log(Math.expm1(0.001 * 100 ** random())) },
    },
    { name: `${mixer}.D`, shape: [heads], init: ones },
    { name: `${mixer}.norm.weight`, shape: [dInner], init: ones },
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
      { name: `backbone.layers.${i}.norm.weight`, shape: [dModel], init: ones },
      ...kinds[letter]!(`backbone.layers.${i}.mixer`),
    ]),
    { name: 'backbone.norm_f.weight', shape: [dModel], init: ones },
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

// Mulberry32: 32 bits a call, the same on every machine.
function randomWords(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}

// Drawing from a table of 2^16 normal numbers is many times faster than computing each, and as good
// for weights that only have to be of the right size.
const TABLE_SIZE = 2 ** 16

function normalTable(words: () => number): Float64Array {
  const uniform = () => (words() + 0.5) / 2 ** 32
  return Float64Array.from(
    { length: TABLE_SIZE },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  )
}

type Elements = Float32Array | Uint16Array

/** The values as the file stores them. */
function encode(values: Float64Array, dtype: RandomModelDtype): Elements {
  if (dtype === 'float32') return Float32Array.from(values)
  return Uint16Array.from(values, dtype === 'float16' ? toFloat16 : toBfloat16)
}

const scratch = new DataView(new ArrayBuffer(4))

function toBfloat16(value: number): number {
  scratch.setFloat32(0, value)
  const bits = scratch.getUint32(0)
  // To nearest, ties to even; finite values only.
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

/** Bits of IEEE 754 binary16; finite values only. */
export function toFloat16(value: number): number {
  const sign = value < 0 ? 0x8000 : 0
  const magnitude = Math.min(Math.abs(value), 65504)
  const exponent = Math.max(-14, Math.floor(Math.log2(magnitude)))
  const units = Math.round(magnitude / 2 ** (exponent - 10))
  return magnitude < 2 ** -25 ? sign : sign + (exponent + 14) * 1024 + units
}

const DTYPE_NAMES = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' }
const PIECE_ELEMENTS = 2 ** 19

export interface RandomModelOptions {
  /** Defaults to float32. */
  dtype?: RandomModelDtype
  /** Defaults to 0. */
  seed?: number
  /** Writes no numbers: all are 0 then, and the file takes next to no space. For what only asks for shapes. */
  zeros?: boolean
  onProgress?: (written: number, total: number) => void
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
  { dtype = 'float32', seed = 0, zeros = false, onProgress }: RandomModelOptions = {},
): Promise<number> {
  checkShape(shape)
  const words = randomWords(seed)
  const table = normalTable(words)
  const elementBytes = dtype === 'float32' ? 4 : 2
  const plans = planTensors(shape)

  let end = 0
  const header: Record<string, object> = {}
  for (const { name, shape: dims } of plans) {
    const begin = end
    end += dims.reduce((product, d) => product * d, elementBytes)
    header[name] = { dtype: DTYPE_NAMES[dtype], shape: dims, data_offsets: [begin, end] }
  }
  const json = JSON.stringify(header)
  // The data begins at a multiple of 64.
  const text = Buffer.from(json + ' '.repeat((64 - ((8 + json.length) % 64)) % 64))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))

  await mkdir(folder, { recursive: true })
  await replaceFile(join(folder, 'model.safetensors'), async (file) => {
    await file.writeFile(Buffer.concat([length, text]))
    let written = 0
    if (zeros) return file.truncate(8 + text.length + end)
    for (const { shape: dims, init } of plans) {
      const count = dims.reduce((product, d) => product * d, 1)
      const draw = drawer(init, table, words, dtype)
      for (let first = 0; first < count; first += PIECE_ELEMENTS) {
        const piece = draw(Math.min(PIECE_ELEMENTS, count - first))
        await file.writeFile(new Uint8Array(piece.buffer))
        written += piece.byteLength
        onProgress?.(written, end)
      }
    }
  })
  await writeFile(
    join(folder, 'config.json'),
    `${JSON.stringify(configOf(shape, dtype), null, 2)}\n`,
  )
  return 8 + text.length + end
}

/** A function that gives the next elements of a tensor. */
function drawer(
  init: TensorPlan['init'],
  table: Float64Array,
  words: () => number,
  dtype: RandomModelDtype,
): (count: number) => Elements {
  if ('value' in init) {
    const random = () => (words() + 0.5) / 2 ** 32
    return (count) =>
      encode(
        Float64Array.from({ length: count }, () => init.value(random)),
        dtype,
      )
  }
  const encoded = encode(
    table.map((x) => x * init.deviation),
    dtype,
  )
  return (count) => {
    const elements = dtype === 'float32' ? new Float32Array(count) : new Uint16Array(count)
    for (let i = 0; i < count; i += 2) {
      const word = words()
      elements[i] = encoded[word & 0xffff]!
      // Past the end for the last of an odd count, which a typed array ignores.
      elements[i + 1] = encoded[word >>> 16]!
    }
    return elements
  }
}

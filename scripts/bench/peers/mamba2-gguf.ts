// A mamba2 checkpoint of Hugging Face's format as a GGUF file of llama.cpp's architecture "mamba2", from
// the very same weights.

import { type FileHandle, open } from 'node:fs/promises'
import { openCheckpoint } from '../../../lib/models/checkpoint.js'
import { convDim, type Mamba2Config } from '../../../lib/models/blocks/mamba2.js'
import type { TensorEntry } from '../../../lib/weights/checkpoint.js'
import { halfToFloat } from '../../../lib/weights/convert.js'
import { type GgufTensor, type GgufType, type GgufValue, writeGguf } from './gguf.js'

const FILE_TYPES: Record<GgufType, number> = { f32: 0, f16: 1, q4_0: 2, q8_0: 7 }
// A multiple of the 32 elements of a block.
const PIECE_ELEMENTS = 2 ** 20

/** Writes the checkpoint in `folder` to `path`, with its matrices in `type`. */
export async function writeMamba2Gguf(folder: string, path: string, type: GgufType): Promise<void> {
  const { config, names, tensors, weightsFile } = await openCheckpoint(folder)
  const [layer] = config.layers
  if (config.format !== 'hf-mamba2' || layer?.kind !== 'mamba2') {
    throw new Error(`${folder}: must be a Hugging Face mamba2 in floats`)
  }
  const file = await open(weightsFile)
  try {
    const from = (name: string): TensorEntry => {
      const entry = tensors.get(name)
      if (!entry) throw new Error(`${folder}: tensor ${name} is missing`)
      return entry
    }
    const tensor = (
      name: string,
      source: string,
      dimensions: number[],
      tensorType: GgufType = 'f32',
      map?: (x: number) => number,
    ): GgufTensor => ({
      name,
      dimensions,
      type: tensorType,
      pieces: () => readPieces(file, from(source), map),
    })
    const { dModel, paddedVocabSize } = config
    const { dInner, nGroups, numHeads, dConv } = layer
    const channels = convDim(layer)
    const inProjRows = dInner + channels + numHeads
    const blocks = config.layers.flatMap((_, i) => {
      const block = `blk.${i}`
      const source = `${names.block}.${i}`
      const mixer = `${source}.mixer`
      return [
        tensor(`${block}.attn_norm.weight`, `${source}.norm.weight`, [dModel]),
        // Rows in the order z, x, B, C, dt, here as there.
        tensor(`${block}.ssm_in.weight`, `${mixer}.in_proj.weight`, [dModel, inProjRows], type),
        tensor(`${block}.ssm_conv1d.weight`, `${mixer}.conv1d.weight`, [dConv, channels]),
        tensor(`${block}.ssm_conv1d.bias`, `${mixer}.conv1d.bias`, [channels]),
        tensor(`${block}.ssm_dt.bias`, `${mixer}.dt_bias`, [numHeads]),
        // A itself, not its logarithm.
        tensor(`${block}.ssm_a`, `${mixer}.A_log`, [1, numHeads], 'f32', (x) => -Math.exp(x)),
        tensor(`${block}.ssm_d`, `${mixer}.D`, [1, numHeads]),
        tensor(`${block}.ssm_norm.weight`, `${mixer}.norm.weight`, [dInner / nGroups, nGroups]),
        tensor(`${block}.ssm_out.weight`, `${mixer}.out_proj.weight`, [dInner, dModel], type),
      ]
    })
    const embedding = `${names.embedding}.weight`
    await writeGguf(
      path,
      {
        ...architecture(layer, config.layers.length, dModel, paddedVocabSize, config.normEpsilon),
        'general.file_type': { type: 'uint32', value: FILE_TYPES[type] },
        ...vocabulary(paddedVocabSize),
      },
      [
        // Also the output matrix: without one of its own llama.cpp ties the two, as mamba2 does.
        tensor('token_embd.weight', embedding, [dModel, paddedVocabSize], type),
        tensor('output_norm.weight', names.finalNorm, [dModel]),
        ...blocks,
      ],
    )
  } finally {
    await file.close()
  }
}

function architecture(
  layer: Mamba2Config,
  layers: number,
  dModel: number,
  vocabSize: number,
  epsilon: number,
): Record<string, GgufValue> {
  const uint32 = (value: number): GgufValue => ({ type: 'uint32', value })
  return {
    'general.architecture': { type: 'string', value: 'mamba2' },
    'general.type': { type: 'string', value: 'model' },
    'general.name': { type: 'string', value: 'random mamba2' },
    'general.alignment': uint32(32),
    'general.quantization_version': uint32(2),
    'mamba2.context_length': uint32(2 ** 20),
    'mamba2.embedding_length': uint32(dModel),
    // The next two are asked for and not used.
    'mamba2.feed_forward_length': uint32(0),
    'mamba2.attention.head_count': uint32(0),
    'mamba2.block_count': uint32(layers),
    'mamba2.vocab_size': uint32(vocabSize),
    'mamba2.ssm.conv_kernel': uint32(layer.dConv),
    'mamba2.ssm.inner_size': uint32(layer.dInner),
    'mamba2.ssm.state_size': uint32(layer.dState),
    // For Mamba-2 this is the number of heads.
    'mamba2.ssm.time_step_rank': uint32(layer.numHeads),
    'mamba2.ssm.group_count': uint32(layer.nGroups),
    'mamba2.attention.layer_norm_rms_epsilon': { type: 'float32', value: epsilon },
  }
}

// A made-up byte-level BPE: node-llama-cpp's public loadModel() aborts the process on a file without a
// vocabulary. Only token numbers are used here.
function vocabulary(size: number): Record<string, GgufValue> {
  let extra = 0
  // GPT-2's spelling of bytes: printable ones stand for themselves.
  const bytes = Array.from({ length: 256 }, (_, byte) => {
    const isPlain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
    return String.fromCodePoint(isPlain ? byte : 256 + extra++)
  })
  const last = size - 1
  const tokens = Array.from({ length: size }, (_, i) => {
    if (i === last) return '<|endoftext|>'
    return bytes[i] ?? `<t${i}>`
  })
  return {
    'tokenizer.ggml.model': { type: 'string', value: 'gpt2' },
    'tokenizer.ggml.pre': { type: 'string', value: 'gpt-2' },
    'tokenizer.ggml.tokens': { type: 'strings', value: tokens },
    // 1: normal, 3: control.
    'tokenizer.ggml.token_type': {
      type: 'int32s',
      value: tokens.map((_, i) => (i === last ? 3 : 1)),
    },
    // An empty list of merges is refused.
    'tokenizer.ggml.merges': { type: 'strings', value: [`${bytes[97]} ${bytes[98]}`] },
    'tokenizer.ggml.bos_token_id': { type: 'uint32', value: last },
    // Otherwise an ordinary token would be taken for the end.
    'tokenizer.ggml.eos_token_id': { type: 'uint32', value: last },
    'tokenizer.ggml.add_bos_token': { type: 'bool', value: false },
  }
}

let halves: Float32Array | undefined

async function* readPieces(
  file: FileHandle,
  { dtype, shape, byteOffset, name }: TensorEntry,
  map?: (x: number) => number,
): AsyncGenerator<Float32Array> {
  if (dtype !== 'float32' && dtype !== 'float16') {
    throw new Error(`${name}: must be float32 or float16 but is ${dtype}`)
  }
  const size = dtype === 'float32' ? 4 : 2
  const elements = shape.reduce((product, d) => product * d, 1)
  for (let first = 0; first < elements; first += PIECE_ELEMENTS) {
    const bytes = new Uint8Array(size * Math.min(PIECE_ELEMENTS, elements - first))
    const { bytesRead } = await file.read(bytes, 0, bytes.length, byteOffset + size * first)
    if (bytesRead !== bytes.length) throw new Error(`${name}: the file ended inside`)
    let values: Float32Array
    if (dtype === 'float32') values = new Float32Array(bytes.buffer)
    else {
      // Looked up: computing each of a billion would take minutes.
      halves ??= Float32Array.from({ length: 2 ** 16 }, (_, half) => halfToFloat(half))
      const table = halves
      values = Float32Array.from(new Uint16Array(bytes.buffer), (half) => table[half]!)
    }
    yield map ? values.map(map) : values
  }
}

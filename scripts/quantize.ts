// Writes a checkpoint's affine quantised twin: the same files, with each linear weight and the
// embedding as `.weight`, `.scales`, `.biases` and a `quantization` object in config.json, as mlx-lm
// writes them.
//
//   npx tsx scripts/quantize.ts FROM TO --bits 4 [--group-size 64]

import { copyFile, mkdir, open, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { AFFINE_BITS, AFFINE_GROUP_SIZES } from '../lib/operations/arguments.js'
import { createDevice } from '../lib/operations/create-device.js'
import type { Device } from '../lib/operations/device.js'
import { openCheckpoint } from '../lib/models/checkpoint.js'
import type { DType, Tensor } from '../lib/operations/tensor.js'
import type { TensorEntry } from '../lib/weights/checkpoint.js'
import { DEFAULT_GROUP_SIZE } from '../lib/weights/formats/affine.js'
import { type TensorData, writeSafetensors } from '../lib/weights/safetensors.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bits: { type: 'string' },
    'group-size': { type: 'string', default: `${DEFAULT_GROUP_SIZE}` },
  },
})
const [from, to] = positionals
const bits = AFFINE_BITS.find((each) => each === Number(values.bits))!
const groupSize = AFFINE_GROUP_SIZES.find((each) => each === Number(values['group-size']))!
if (!from || !to || !bits || !groupSize) {
  const [allBits, allSizes] = [AFFINE_BITS.join('|'), AFFINE_GROUP_SIZES.join('|')]
  console.error(
    `Usage: tsx scripts/quantize.ts FROM TO --bits ${allBits} [--group-size ${allSizes}]`,
  )
  process.exit(2)
}

const checkpoint = await openCheckpoint(from)
if (!['rene', 'hf-mamba2', 'transformers'].includes(checkpoint.config.format)) {
  const { architecture, format } = checkpoint.config
  throw new Error(`${from}: ${architecture} has no quantised form as ${format} writes it`)
}
const tensors: Record<string, TensorData> = {}
using device = createDevice('cpu')
for (const entry of checkpoint.tensors.values()) {
  const data = await readTensor(entry)
  const module = entry.name.replace(/\.weight$/, '')
  if (isMatrix(entry)) Object.assign(tensors, await quantize(device, module, entry, data))
  else tensors[entry.name] = { dtype: entry.dtype, shape: entry.shape, data }
}
await mkdir(to, { recursive: true })
await writeSafetensors(join(to, 'model.safetensors'), tensors, { format: 'pt' })
const config = JSON.parse(await readFile(checkpoint.configFile, 'utf8'))
config.quantization = { group_size: groupSize, bits, mode: 'affine' }
await writeFile(join(to, 'config.json'), `${JSON.stringify(config, null, 2)}\n`)
for (const file of ['tokenizer.json', 'tokenizer_config.json']) {
  await copyFile(join(checkpoint.folder, file), join(to, file)).catch((error) => {
    if (error.code !== 'ENOENT') throw error
  })
}
const written = Object.values(tensors).reduce((sum, { data }) => sum + data.byteLength, 0)
console.log(
  `${basename(to)}: ${bits} bits, groups of ${groupSize}, ${(written / 1e6).toFixed(2)} MB`,
)

// Every module with two-dimensional weights multiplies or embeds. Those with three are matrices of experts, or taps of a
// convolution, of which there are few.
function isMatrix({ name, shape }: TensorEntry): boolean {
  return name.endsWith('.weight') && shape.length >= 2 && shape.at(-1)! % groupSize === 0
}

async function readTensor({ file, byteOffset, byteLength, dtype }: TensorEntry) {
  const handle = await open(file)
  try {
    const bytes = new Uint8Array(byteLength)
    await handle.read(bytes, 0, byteLength, byteOffset)
    return dtype === 'float32' ? new Float32Array(bytes.buffer) : new Uint16Array(bytes.buffer)
  } finally {
    await handle.close()
  }
}

async function quantize(
  device: Device,
  module: string,
  { dtype, shape }: TensorEntry,
  data: Float32Array | Uint16Array,
): Promise<Record<string, TensorData>> {
  const cols = shape.at(-1)!
  const rows = shape.reduce((product, d) => product * d, 1) / cols
  const weight = device.tensor(dtype as DType, [rows, cols], data)
  const matrix = {
    words: device.tensor('uint32', [rows, (cols * bits) / 32]),
    scales: device.tensor(dtype as DType, [rows, cols / groupSize]),
    biases: device.tensor(dtype as DType, [rows, cols / groupSize]),
    bits,
    groupSize,
  }
  using list = device.record((cl) => cl.affineQuantize(weight, matrix))
  await list.run()
  const { words, scales, biases } = matrix
  const shaped = (tensor: Tensor) => [...shape.slice(0, -1), tensor.cols]
  const result = {
    [`${module}.weight`]: { dtype: 'uint32' as const, shape: shaped(words), data: words.read() },
    [`${module}.scales`]: { dtype, shape: shaped(scales), data: scales.read() },
    [`${module}.biases`]: { dtype, shape: shaped(biases), data: biases.read() },
  }
  for (const tensor of [weight, words, scales, biases]) tensor.dispose()
  return result
}

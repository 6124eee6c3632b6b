// Checkpoints as tests handle them: all tensors in memory, to be changed and written again.

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { CheckpointFile, FileDtype } from '../../lib/weights/checkpoint.js'
import { readPytorchCheckpoint } from '../../lib/weights/pytorch.js'
import { readSafetensors, writeSafetensors } from '../../lib/weights/safetensors.js'
import { dequantize, pack } from '../reference/quantized.js'
import { decodeFloat, encodeFloat, FLOAT_FORMATS } from '../reference/float-formats.js'

export const FIXTURES = fileURLToPath(new URL('../fixtures/', import.meta.url))

/** Checkpoints with logits of the official implementations beside them, one of each kind. */
export const REFERENCE_CHECKPOINTS = [
  'bamba',
  'edge-mlx-4bit',
  'edge-mlx-8bit',
  'falcon-h1',
  'falcon-h1-4bit',
  'falcon-h1-norm',
  'granite-h',
  'granite-h-mixed',
  'granite-h-moe-4bit',
  'lfm2',
  'lfm2-moe-4bit',
  'llamba',
  'llamba-bin',
  'llamba-edge-4bit',
  'mamba2-hf',
  'mamba2-hf-groups',
  'mamba2-mlx-lm-4bit',
  'mamba2-mlx-lm-groups-8bit',
  'mamba2-mlx-lm-mixed',
  'mamba2-mlx-lm-nvfp4',
  'mamba2-state-spaces',
  'mamba2attn',
  'mohawk-edge-4bit',
  'nemotron-h',
  'nemotron-h-latent-8bit',
  'nemotron-h-moe-nvfp4',
  'qwen3-5',
  'qwen3-5-4bit',
  'qwen3-5-moe',
  'qwen3-5-moe-8bit',
  'qwen3-5-vl',
  'rene',
  'rene-gate-first',
  'zamba2',
  'zamba2-plain',
] as const

/** Those whose state has a fixed size and is no larger than the parts of their files: one of each format. */
export const SMALL_STATE_CHECKPOINTS = [
  'edge-mlx-4bit',
  'edge-mlx-8bit',
  'mamba2-hf',
  'mamba2-hf-groups',
  'mamba2-mlx-lm-4bit',
  'mamba2-mlx-lm-groups-8bit',
  'mamba2-state-spaces',
  'rene',
  'rene-gate-first',
] as const satisfies readonly (typeof REFERENCE_CHECKPOINTS)[number][]

/** One of each kind of block and format, where all of them would take long. */
export const KIND_CHECKPOINTS = [
  ...SMALL_STATE_CHECKPOINTS,
  'falcon-h1-4bit',
  'granite-h-mixed',
  'granite-h-moe-4bit',
  'lfm2',
  'llamba-edge-4bit',
  'mamba2attn',
  'mohawk-edge-4bit',
  'nemotron-h',
  'qwen3-5-4bit',
  'zamba2',
] as const satisfies readonly (typeof REFERENCE_CHECKPOINTS)[number][]

/** One of each sort of state, where even those would. */
export const STATE_CHECKPOINTS = [
  'mamba2-mlx-lm-4bit',
  'rene',
  'falcon-h1-4bit',
  'granite-h-moe-4bit',
  'lfm2',
  'nemotron-h',
  'qwen3-5-4bit',
  'zamba2',
] as const satisfies readonly (typeof KIND_CHECKPOINTS)[number][]

/** The folder of a reference checkpoint. */
export const fixture = (name: string): string => join(FIXTURES, 'reference', name)

/** An empty folder that goes away when the test ends. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'ssm-metal-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A copy of a reference checkpoint, to be damaged. */
export async function copyOfFixture(name: string): Promise<string> {
  const folder = await temporaryFolder()
  await cp(fixture(name), folder, { recursive: true })
  return folder
}

/** A tensor as its file has it. */
export interface RawTensor {
  dtype: FileDtype
  shape: readonly number[]
  data: Uint8Array
}

export type RawTensors = Map<string, RawTensor>

/** All tensors of a .safetensors or pytorch_model.bin file. */
export async function readRawTensors(
  file: string,
): Promise<{ tensors: RawTensors; metadata: CheckpointFile['metadata'] }> {
  const read = file.endsWith('.bin') ? readPytorchCheckpoint : readSafetensors
  const { tensors, metadata } = await read(file)
  const bytes = await readFile(file)
  const raw = [...tensors].map(([name, { dtype, shape, strides, byteOffset, byteLength }]) => {
    if (strides) throw new Error(`${file}: ${name} is not contiguous`)
    const data = Uint8Array.from(bytes.subarray(byteOffset, byteOffset + byteLength))
    return [name, { dtype, shape, data }] as const
  })
  return { tensors: new Map(raw), metadata }
}

/** The golden of a reference checkpoint. */
export async function readGolden(
  name: string,
): Promise<{ tokens: number[]; logits: Float32Array }> {
  const { tensors } = await readRawTensors(join(fixture(name), 'golden.safetensors'))
  const ids = new BigInt64Array(tensors.get('input_ids')!.data.buffer)
  return {
    tokens: Array.from(ids, Number),
    logits: new Float32Array(tensors.get('logits')!.data.buffer),
  }
}

/** Numbers as a tensor of that type, rounded to it. */
export function rawTensor(
  dtype: FileDtype,
  shape: readonly number[],
  values: ArrayLike<number>,
): RawTensor {
  const typed = () => {
    switch (dtype) {
      case 'float32':
        return Float32Array.from(values)
      case 'float64':
        return Float64Array.from(values)
      case 'uint32':
        return Uint32Array.from(values)
      case 'int64':
        return BigInt64Array.from(Array.from(values, (value) => BigInt(Math.trunc(value))))
      case 'bool':
        return Uint8Array.from(values, (value) => (value === 0 ? 0 : 1))
      case 'float16':
      case 'bfloat16':
        return Uint16Array.from(values, (value) => encodeFloat(value, FLOAT_FORMATS[dtype]))
      default:
        throw new Error(`no test writes ${dtype}`)
    }
  }
  return { dtype, shape, data: new Uint8Array(typed().buffer) }
}

/** The numbers of a tensor. */
export function numbersOf({ dtype, data }: RawTensor): number[] {
  switch (dtype) {
    case 'float32':
      return Array.from(new Float32Array(data.buffer))
    case 'float64':
      return Array.from(new Float64Array(data.buffer))
    case 'uint32':
      return Array.from(new Uint32Array(data.buffer))
    case 'float16':
    case 'bfloat16':
      return Array.from(new Uint16Array(data.buffer), (bits) =>
        decodeFloat(bits, FLOAT_FORMATS[dtype]),
      )
    case 'int64':
      return Array.from(new BigInt64Array(data.buffer), Number)
    default:
      throw new Error(`no test reads ${dtype}`)
  }
}

/** The tensor in another type. */
export function converted(tensor: RawTensor, dtype: FileDtype): RawTensor {
  return rawTensor(dtype, tensor.shape, numbersOf(tensor))
}

/** A new map with every tensor changed. */
export function mapTensors(
  tensors: RawTensors,
  change: (tensor: RawTensor, name: string) => RawTensor,
): RawTensors {
  return new Map([...tensors].map(([name, tensor]) => [name, change(tensor, name)]))
}

/** Changes the weights of a folder's model.safetensors. */
export async function rewriteTensors(
  folder: string,
  change: (tensors: RawTensors) => RawTensors | undefined,
): Promise<void> {
  const file = join(folder, 'model.safetensors')
  const { tensors, metadata } = await readRawTensors(file)
  await writeSafetensors(file, change(tensors) ?? tensors, metadata)
}

type Config = Record<string, unknown>

/** Changes the config.json of a folder, in place or by returning another. */
export async function rewriteConfig(
  folder: string,
  change: (config: Config) => Config | undefined,
): Promise<void> {
  const file = join(folder, 'config.json')
  const text = await readFile(file, 'utf8')
  // The one thing in these files that JSON.parse does not read, in a form that readers know too.
  const config = JSON.parse(text.replace(/(?<!")Infinity/g, '{"__float__":"Infinity"}')) as Config
  await writeFile(file, JSON.stringify(change(config) ?? config))
}

/** A matrix in the affine format, and the numbers that it then stands for. */
export function quantized(
  matrix: RawTensor,
  { bits, groupSize, scaleType }: { bits: 4 | 8; groupSize: number; scaleType: FileDtype },
): { weight: RawTensor; scales: RawTensor; biases: RawTensor; values: number[] } {
  const [rows, cols] = matrix.shape as [number, number]
  const all = numbersOf(matrix)
  const groupsOf = (row: number[]) =>
    Array.from({ length: cols / groupSize }, (_, g) =>
      row.slice(g * groupSize, (g + 1) * groupSize),
    )
  const rowsOf = Array.from({ length: rows }, (_, r) => all.slice(r * cols, (r + 1) * cols))
  const groups = rowsOf.flatMap(groupsOf)
  const largest = 2 ** bits - 1
  const scales = rawTensor(
    scaleType,
    [rows, cols / groupSize],
    groups.map((group) => (Math.max(...group) - Math.min(...group)) / largest),
  )
  const biases = rawTensor(
    scaleType,
    scales.shape,
    groups.map((group) => Math.min(...group)),
  )
  const [scaleValues, biasValues] = [numbersOf(scales), numbersOf(biases)]
  const steps = groups.map((group, g) =>
    group.map((value) => {
      const step = Math.round((value - biasValues[g]!) / scaleValues[g]!)
      return Math.min(Math.max(step, 0), largest)
    }),
  )
  const words = steps.flatMap((group) => pack(group, bits))
  return {
    weight: rawTensor('uint32', [rows, (cols * bits) / 32], words),
    scales,
    biases,
    values: steps.flatMap((group, g) =>
      dequantize(group, [{ scale: scaleValues[g]!, bias: biasValues[g]! }]),
    ),
  }
}

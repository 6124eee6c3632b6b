// Converted models in the real mlx-lm: it loads them, strictly, and computes the same logits; and MLX quantises to the
// same bits. Needs its packages (environment.ts): npm run test:mlx.

import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convert } from '../../lib/convert/convert.js'
import { loadModel } from '../../lib/load-model.js'
import { createDevice } from '../../lib/operations/create-device.js'
import type { AffineBits, AffineGroupSize } from '../../lib/operations/arguments.js'
import type { ConvertQuantization } from '../../lib/options/converting.js'
import { encodeSmallFloats } from '../../lib/weights/formats/encode-small-floats.js'
import { writeSafetensors } from '../../lib/weights/safetensors.js'
import { writeRandomCheckpoint } from '../../scripts/random-checkpoint.js'
import {
  fixture,
  numbersOf,
  type RawTensor,
  type RawTensors,
  rawTensor,
  readRawTensors,
} from '../support/checkpoints.js'
import { randomTokens } from '../support/random-checkpoint.js'
import { GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'
import { MLX_PACKAGES } from './environment.js'
import { FIXTURES, RANDOM } from './models.js'

const FORMATS: Readonly<Record<string, ConvertQuantization | undefined>> = {
  floats: undefined,
  '4 bits': { bits: 4, groupSize: 32 },
  '5 bits': { bits: 5, groupSize: 32 },
  '6 bits': { bits: 6, groupSize: 64 },
  '8 bits': { bits: 8, groupSize: 32 },
  mxfp4: { mode: 'mxfp4' },
  nvfp4: { mode: 'nvfp4' },
}
const NAMES = [...FIXTURES, ...Object.keys(RANDOM)]
const TOKENS = randomTokens(96, 40, 3)

/** What MLX quantises: mode, bits and group size. */
const QUANTIZED = [
  ...([4, 5, 6, 8] as const).flatMap((bits) =>
    ([32, 64, 128] as const).map((groupSize) => ['affine', bits, groupSize] as const),
  ),
  ['mxfp4', 4, 32] as const,
  ['nvfp4', 4, 16] as const,
]
const TYPES = ['float32', 'float16', 'bfloat16'] as const

const ROWS = 48
const COLS = 256

const ours = new Map<string, Float32Array>()
const theirs = new Map<string, Float32Array>()
const matrices: Record<string, RawTensor> = Object.fromEntries(
  TYPES.map((type) => [type, matrixOf(type)]),
)
let quantized: RawTensors
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ssm-metal-mlx-'))
  const cases = NAMES.flatMap((name) => Object.keys(FORMATS).map((format) => ({ name, format })))
  const models: { folder: string; tokens: number[] }[] = []
  for (const [name, config] of Object.entries(RANDOM)) {
    await writeRandomCheckpoint(join(folder, name), config, { seed: 5 })
  }
  for (const { name, format } of cases) {
    const from = name in RANDOM ? join(folder, name) : fixture(name)
    const to = join(folder, `${name}-${format.replaceAll(' ', '')}`)
    await convert(from, to, { quantize: FORMATS[format] })
    using model = await loadModel(to, { device: 'cpu' })
    ours.set(`${name} ${format}`, (await model.logits(TOKENS)).data)
    models.push({ folder: to, tokens: TOKENS })
  }
  const [given, out] = [join(folder, 'matrices.safetensors'), join(folder, 'mlx.safetensors')]
  await writeSafetensors(given, matrices)
  runMlx({ models, matrices: given, formats: QUANTIZED, out })
  quantized = (await readRawTensors(out)).tensors
  for (const [i, { name, format }] of cases.entries()) {
    theirs.set(`${name} ${format}`, Float32Array.from(numbersOf(quantized.get(`logits.${i}`)!)))
  }
}, 300_000)

afterAll(() => rm(folder, { recursive: true, force: true }))

function runMlx(job: object): void {
  const { status, stderr, error } = spawnSync(
    'python3',
    [fileURLToPath(new URL('run.py', import.meta.url))],
    {
      input: JSON.stringify(job),
      encoding: 'utf8',
      env: { ...process.env, PYTHONPATH: MLX_PACKAGES, HF_HUB_OFFLINE: '1' },
    },
  )
  if (status !== 0) throw new Error(`mlx-lm failed: ${error?.message ?? stderr}`)
}

describe.each(NAMES)('%s, converted', (name) => {
  it.each(Object.keys(FORMATS))('%s: mlx-lm gives the same logits', (format) => {
    const key = `${name} ${format}`
    expect(relativeL2(ours.get(key)!, theirs.get(key)!)).toBeLessThan(GOLDEN_RELATIVE_L2)
  })
})

function matrixOf(type: (typeof TYPES)[number]): RawTensor {
  const words = randomTokens(2 ** 16, ROWS * COLS, 9)
  // With a group of zeros, and values that lie half-way between two.
  const values = words.map((word, i) =>
    i < 256 ? 0 : i < 512 ? (word % 25) / 4 : word / 2 ** 15 - 1,
  )
  return rawTensor(type, [ROWS, COLS], values)
}

describe('MLX quantises to the same bits', () => {
  it.each(
    TYPES.flatMap((type) => (['mxfp4', 'nvfp4'] as const).map((mode) => [mode, type] as const)),
  )('%s of %s', (mode, type) => {
    const groupSize = mode === 'mxfp4' ? 32 : 16
    const values = Float32Array.from(numbersOf(matrices[type]!))
    const { words, scales } = encodeSmallFloats(values, mode, groupSize)
    const part = (each: string) => quantized.get(`${type}.${mode}.4.${groupSize}.${each}`)!
    expect(Array.from(words)).toEqual(numbersOf(part('words')))
    expect(scales).toEqual(part('scales').data)
  })

  const affine = QUANTIZED.filter(([mode]) => mode === 'affine')
  it.each(affine)('%s in %i bits, groups of %i, of float32', async (_, bits, groupSize) => {
    const found = await affineOf(matrices.float32!, bits, groupSize as AffineGroupSize)
    for (const [name, tensor] of Object.entries(found)) {
      const theirs = numbersOf(quantized.get(`float32.affine.${bits}.${groupSize}.${name}`)!)
      // Without the second row: half-way, MLX on a CPU rounds to even, and its GPU kernels as ours away from zero.
      const row = theirs.length / ROWS
      const without = (values: number[]) => values.filter((_, i) => Math.floor(i / row) !== 1)
      expect(without(tensor)).toEqual(without(theirs))
    }
  })
})

async function affineOf(tensor: RawTensor, bits: AffineBits, groupSize: AffineGroupSize) {
  using device = createDevice('cpu')
  const weight = device.tensor('float32', [ROWS, COLS], Float32Array.from(numbersOf(tensor)))
  const matrix = {
    words: device.tensor('uint32', [ROWS, (COLS * bits) / 32]),
    scales: device.tensor('float32', [ROWS, COLS / groupSize]),
    biases: device.tensor('float32', [ROWS, COLS / groupSize]),
    ...{ bits, groupSize },
  }
  using list = device.record((cl) => cl.affineQuantize(weight, matrix))
  await list.run()
  const { words, scales, biases } = matrix
  return {
    words: Array.from(words.read()),
    scales: Array.from(scales.read()),
    biases: Array.from(biases.read()),
  }
}

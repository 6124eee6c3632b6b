// Kernels at the sizes of published models, one at a time, against the CPU device, which the suite of
// operations holds against the references. Inputs are scaled so that results are about 1.

import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDevice } from '../../lib/operations/create-device.js'
import type { Device } from '../../lib/operations/device.js'
import type { QuantizedMatrix, LinearOptions } from '../../lib/operations/arguments.js'
import type { Recorder } from '../../lib/operations/recorder.js'
import type { Tensor } from '../../lib/operations/tensor.js'
import { floatToHalf, numbersOf } from '../../lib/weights/convert.js'
import { SharedNumbers } from '../../lib/verify/inputs.js'
import { runOnce, upload } from '../support/arrays.js'
import { expectClose, expectSame } from '../tolerance.js'

let cpu: Device
let metal: Device
beforeAll(() => {
  process.env.SSM_METAL_ADDON = fileURLToPath(
    new URL('build/Release/metal_device.node', import.meta.url),
  )
  cpu = createDevice('cpu')
  metal = createDevice('metal')
})
afterAll(() => {
  cpu.dispose()
  metal.dispose()
})

/** Seeded numbers in typed arrays (xorshift); loops, because there are millions to make. */
function numbers(seed: number) {
  let state = seed + 0x9e3779b9
  const next = () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
  const filled = <T extends Float32Array | Uint16Array | Uint32Array>(
    array: T,
    one: () => number,
  ): T => {
    for (let i = 0; i < array.length; i++) array[i] = one()
    return array
  }
  return {
    /** Between -scale and scale. */
    floats: (count: number, scale = 1) =>
      filled(new Float32Array(count), () => (next() / 2 ** 31 - 1) * scale),
    /** float16 of magnitude 1/2 to 1. */
    halves: (count: number) =>
      filled(new Uint16Array(count), () => {
        const bits = next() >>> 16
        return (bits & 0x8000) | 0x3800 | (bits & 0x3ff)
      }),
    words: (count: number) => filled(new Uint32Array(count), next),
  }
}

/** Tensors of a case on one device: the same on every one that shares its numbers. */
function tensors(device: Device, shared: SharedNumbers) {
  const elements = (shape: readonly number[]) => shape.reduce((a, b) => a * b)
  let made = 0
  const share = <T>(make: (random: ReturnType<typeof numbers>) => T): T => {
    const index = made++
    return shared.at(index, () => make(numbers(index + 1)))
  }
  return {
    floats: (shape: number[], scale = 1) =>
      device.tensor(
        'float32',
        shape,
        share((random) => random.floats(elements(shape), scale)),
      ),
    halves: (shape: number[]) =>
      device.tensor(
        'float16',
        shape,
        share((random) => random.halves(elements(shape))),
      ),
    zeros: (shape: number[]) => device.tensor('float32', shape),
    ids: (values: number[]) => upload(device, 'uint32', [values.length], values),
    unset: (length: number) => device.tensor('uint32', [length]),
    affine(rows: number, cols: number, bits: 4 | 8): QuantizedMatrix {
      const groups = [rows, cols / 64]
      const all = (value: number) =>
        device.tensor('float16', groups, new Uint16Array(elements(groups)).fill(floatToHalf(value)))
      return {
        words: device.tensor(
          'uint32',
          [rows, (cols * bits) / 32],
          share((random) => random.words((rows * cols * bits) / 32)),
        ),
        scales: all(bits === 4 ? 1 / 8 : 1 / 128),
        biases: all(-1),
        bits,
        groupSize: 64,
      }
    },
  }
}

type Given = ReturnType<typeof tensors>
/** Makes the tensors of a case; gives what to record and the results to compare. */
type Case = (given: Given) => { record: (cl: Recorder) => void; results: Tensor[] }

async function compare(make: Case): Promise<void> {
  const runs: Tensor[][] = []
  const numbers = new SharedNumbers()
  for (const device of [cpu, metal]) {
    const { record, results } = make(tensors(device, numbers))
    await runOnce(device, record)
    runs.push(results)
  }
  const [expected, actual] = runs as [Tensor[], Tensor[]]
  for (const [i, tensor] of actual.entries()) {
    const values = numbersOf(expected[i]!)
    if (tensor.dtype === 'uint32') expectSame(numbersOf(tensor), values)
    else expectClose(numbersOf(tensor), values, tensor.dtype)
    expect(values.some((value) => value !== 0)).toBe(true)
  }
}

const MODELS = [
  { model: 'rene-1.3b', dModel: 2048, heads: 64, vocabulary: 50288 },
  { model: 'mamba2-130m', dModel: 768, heads: 24, vocabulary: 50288 },
  { model: 'mamba2-2.7b', dModel: 2560, heads: 80, vocabulary: 50288 },
]
const [HEAD_DIM, D_STATE] = [64, 128]

const FORMS = ['float16', '4 bits'] as const
type Multiply = (cl: Recorder, x: Tensor, out: Tensor, options: LinearOptions) => void

describe.each(MODELS)('$model', ({ dModel, heads, vocabulary }) => {
  const inner = heads * HEAD_DIM
  const channels = inner + 2 * D_STATE
  const columns = inner + channels + heads

  /** The product with a random weight in that form. */
  const matrix = (
    given: Given,
    form: (typeof FORMS)[number],
    rows: number,
    cols: number,
  ): Multiply => {
    if (form === 'float16') {
      const weight = given.halves([rows, cols])
      return (cl, x, out, options) => cl.matmul(x, weight, out, options)
    }
    const weight = given.affine(rows, cols, 4)
    return (cl, x, out, options) => cl.quantizedMatmul(x, weight, out, options)
  }

  test.each(FORMS)('in_proj with the norm before it, %s', (form) =>
    compare((given) => {
      const x = given.floats([1, dModel], 3)
      const norm = { weight: given.floats([dModel], dModel ** -0.5), eps: 1e-5 }
      const multiply = matrix(given, form, columns, dModel)
      const out = given.zeros([1, columns])
      return { record: (cl) => multiply(cl, x, out, { norm }), results: [out] }
    }),
  )

  test.each(FORMS)('out_proj with the norm by squares and the residual, %s', (form) =>
    compare((given) => {
      const x = given.floats([1, inner], inner ** -0.5)
      const norm = {
        weight: given.floats([inner]),
        eps: 1e-5,
        squares: given.floats([1, heads], 0),
      }
      norm.squares.write(new Float32Array(heads).fill(HEAD_DIM))
      const multiply = matrix(given, form, dModel, inner)
      const out = given.floats([1, dModel])
      return { record: (cl) => multiply(cl, x, out, { norm, residual: out }), results: [out] }
    }),
  )

  test('the head and the choice of a token', () =>
    compare((given) => {
      const x = given.floats([1, dModel], 3)
      const norm = { weight: given.floats([dModel], dModel ** -0.5), eps: 1e-5 }
      const weight = given.affine(vocabulary, dModel, 4)
      const logits = given.zeros([1, vocabulary])
      const token = given.unset(1)
      return {
        record: (cl) => {
          cl.quantizedMatmul(x, weight, logits, { norm })
          cl.argmax(logits, token)
        },
        results: [logits, token],
      }
    }))

  test('mamba2_update', () =>
    compare((given) => {
      const all = {
        zxBCdt: given.floats([1, columns]),
        convWeight: given.floats([channels, 4], 0.5),
        convBias: given.floats([channels]),
        convState: given.floats([2, 4, channels]),
        A: given.floats([heads], 0),
        D: given.floats([heads]),
        dtBias: given.floats([heads]),
        ssmState: given.floats([2, heads, HEAD_DIM, D_STATE], 0.1),
        position: given.ids([6]),
        rows: given.ids([1]),
        out: given.zeros([1, inner]),
        squares: given.zeros([1, heads]),
      }
      all.A.write(Float32Array.from({ length: heads }, (_, h) => -(2 ** ((h % 8) - 4))))
      return {
        record: (cl) => cl.mamba2Update(all),
        results: [all.out, all.squares, all.ssmState, all.convState],
      }
    }))

  test('the prefill of a layer, one token past a chunk', () =>
    compare((given) => {
      const length = 65
      const x = given.floats([1, length, columns])
      const dt = x.columns(inner + channels, columns)
      const position = given.ids([6])
      const rows = given.ids([1])
      const conv = given.zeros([1, length, channels])
      const A = given.floats([heads], 0)
      A.write(Float32Array.from({ length: heads }, (_, h) => -(2 ** ((h % 8) - 4))))
      const state = given.floats([2, heads, HEAD_DIM, D_STATE], 0.1)
      const convState = given.floats([2, 4, channels])
      const [weight, bias, D, dtBias] = [
        given.floats([channels, 4], 0.2),
        given.floats([channels], 0.2),
        given.floats([heads]),
        given.floats([heads]),
      ]
      const y = given.zeros([1, length, inner])
      const normed = given.zeros([1, length, inner])
      const normWeight = given.floats([inner])
      return {
        record: (cl) => {
          const input = x.columns(inner, inner + channels)
          cl.conv1dPrefill({ x: input, weight, bias, state: convState, position, rows, out: conv })
          cl.ssdChunkScan({
            x: conv.columns(0, inner),
            dt,
            A,
            B: conv.columns(inner, inner + D_STATE),
            C: conv.columns(inner + D_STATE, channels),
            D,
            dtBias,
            state,
            rows,
            out: y,
          })
          cl.gatedRmsNorm(y, x.columns(0, inner), normWeight, normed, { eps: 1e-5 })
        },
        results: [conv, convState, y, state, normed],
      }
    }))

  test('out_proj of a chunk', () =>
    compare((given) => {
      const x = given.floats([9, inner], inner ** -0.5)
      const weight = given.affine(dModel, inner, 4)
      const out = given.floats([9, dModel])
      return {
        record: (cl) => cl.quantizedMatmul(x, weight, out, { residual: out, role: 'chunk' }),
        results: [out],
      }
    }))
})

describe('attention over a window of 2048', () => {
  const WINDOW = 2048
  const shapes = [
    { heads: 16, kvHeads: 1, headDim: 128 },
    { heads: 32, kvHeads: 1, headDim: 64 },
  ]
  const make = (shape: (typeof shapes)[number], length: number, position: number): Case => {
    const { heads, kvHeads, headDim } = shape
    return (given) => {
      const leading = length === 0 ? [1] : [1, length]
      const all = {
        q: given.floats([...leading, heads * headDim]),
        k: given.floats([...leading, kvHeads * headDim]),
        v: given.floats([...leading, kvHeads * headDim]),
        keys: given.floats([2, WINDOW, kvHeads * headDim]),
        values: given.floats([2, WINDOW, kvHeads * headDim]),
        position: given.ids([position]),
        rows: given.ids([1]),
        out: given.zeros([...leading, heads * headDim]),
      }
      return {
        record: (cl) => {
          if (length === 0) cl.attentionDecode(all, { headDim })
          else cl.attentionPrefill(all, { headDim })
        },
        results: [all.out, all.keys, all.values],
      }
    }
  }

  test.each(shapes)('a token, $heads heads of $headDim', (shape) => compare(make(shape, 0, 5000)))
  test.each(shapes)('a chunk, $heads heads of $headDim', (shape) => compare(make(shape, 5, 5000)))
})

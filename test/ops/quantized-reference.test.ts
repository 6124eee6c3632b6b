// Quantised matrices that MLX made (scripts/make-quantized-matrices.py), against what MLX makes of them: the numbers that
// they stand for to the bit, and products.

import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import type { Device } from '../../lib/operations/device.js'
import type { QuantizedMatrix, QuantizedMode } from '../../lib/operations/arguments.js'
import { type DType, type Tensor, typedArrayOf } from '../../lib/operations/tensor.js'
import { readSafetensors } from '../../lib/weights/safetensors.js'
import { download, runOnce, unwritten } from '../support/arrays.js'
import { ROLES } from '../support/linear.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

const path = new URL('../fixtures/reference/ops/quantized.safetensors', import.meta.url).pathname
const { tensors } = await readSafetensors(path)
const file = await readFile(path)

function load(device: Device, name: string): Tensor {
  const { dtype, shape, byteOffset, byteLength } = tensors.get(name)!
  const bytes = new Uint8Array(file.subarray(byteOffset, byteOffset + byteLength))
  const type = dtype as DType
  return device.tensor(type, shape, new (typedArrayOf(type))(bytes.buffer))
}

function matrixOf(device: Device, name: string): QuantizedMatrix {
  const [mode, bits, groupSize] = name.split('-') as [QuantizedMode, string, string]
  return {
    mode,
    words: load(device, `${name}.weight`),
    scales: load(device, `${name}.scales`),
    biases: tensors.has(`${name}.biases`) ? load(device, `${name}.biases`) : undefined,
    bits: Number(bits),
    groupSize: Number(groupSize),
  }
}

const NAMES = [...tensors.keys()].flatMap((name) => name.match(/^(.*)\.weight$/)?.[1] ?? [])

describeEachDevice('a matrix of MLX', (device) => {
  test('comes in every format', () => {
    expect(NAMES.sort()).toEqual([
      ...['affine-4-64', 'affine-5-32', 'affine-5-64', 'affine-6-128', 'affine-6-32'],
      ...['affine-8-64', 'mxfp4-4-32', 'nvfp4-4-16'],
    ])
  })

  test.each(NAMES)('%s stands for the same numbers, to the bit', async (name) => {
    const expected = load(device(), `${name}.values`)
    const out = unwritten(device(), expected.shape)
    await runOnce(device(), (cl) => cl.dequantize(matrixOf(device(), name), out))
    expect(download(out)).toEqual(download(expected))
  })

  test.each(NAMES)('%s has the same products', async (name) => {
    const expected = load(device(), `${name}.product`)
    for (const role of ROLES) {
      const out = unwritten(device(), expected.shape)
      await runOnce(device(), (cl) =>
        cl.quantizedMatmul(load(device(), 'x'), matrixOf(device(), name), out, { role }),
      )
      // Sums of 128 products of up to about 20 each.
      const scale = Math.max(...download(expected).map(Math.abs))
      expectClose(
        download(out).map((value) => value / scale),
        download(expected).map((value) => value / scale),
        'float32',
      )
    }
  })

  // The smallest and the largest that devices agree on; of the others subnormal numbers and NaN.
  test.each([
    {
      mode: 'mxfp4',
      groupSize: 32,
      codes: [1, 100, 127, 253],
      scales: [2 ** -126, 2 ** -27, 1, 2 ** 126],
    },
    {
      mode: 'nvfp4',
      groupSize: 16,
      codes: [0, 1, 7, 8, 126, 129, 127],
      scales: [0, 2 ** -9, 7 * 2 ** -9, 2 ** -6, 448, -(2 ** -9), NaN],
    },
  ] as const)('scales of $mode', async ({ mode, groupSize, codes, scales }) => {
    const rows = codes.length
    const words = device().tensor(
      'uint32',
      [rows, groupSize / 8],
      new Uint32Array((rows * groupSize) / 8).fill(0x22222222),
    )
    const matrix = {
      ...{ mode, words, bits: 4, groupSize },
      scales: device().tensor('uint8', [rows, 1], Uint8Array.from(codes)),
    }
    const out = unwritten(device(), [rows, groupSize])
    await runOnce(device(), (cl) => cl.dequantize(matrix, out))
    expect(download(out)).toEqual(scales.flatMap((scale) => Array(groupSize).fill(scale)))
  })
})

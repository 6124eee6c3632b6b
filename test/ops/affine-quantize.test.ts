import { expect, test } from 'vitest'
import type { Device } from '../../lib/operations/device.js'
import type { AffineMatrix } from '../../lib/operations/arguments.js'
import type { DType } from '../../lib/operations/tensor.js'
import { dequantize, unpack } from '../reference/quantized.js'
import { AFFINE_FORMATS, type AffineSpecification } from '../support/quantized.js'
import {
  download,
  FLOAT_TYPES,
  rounded,
  rowsOf,
  runOnce,
  seededNormals,
  upload,
} from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'

/** A scale or bias cannot be nearer to the wanted one than its type allows. */
const RELATIVE_ROUNDING: Record<DType, number> = {
  float32: 2 ** -24,
  float16: 2 ** -11,
  bfloat16: 2 ** -8,
  uint32: 0,
  uint8: 0,
}

function emptyMatrix(
  device: Device,
  { rows, cols, bits, groupSize, scaleType }: Omit<AffineSpecification, 'seed'>,
): AffineMatrix {
  return {
    words: device.tensor('uint32', [rows, (cols * bits) / 32]),
    scales: device.tensor(scaleType, [rows, cols / groupSize]),
    biases: device.tensor(scaleType, [rows, cols / groupSize]),
    bits,
    groupSize,
  }
}

/** Quantised values as whole numbers, and what they stand for. */
function contents({ words, scales, biases, bits }: AffineMatrix, cols: number) {
  const perRow = scales.cols
  const [scaleRows, biasRows] = [scales, biases].map((t) => rowsOf(download(t), perRow))
  const steps = rowsOf(download(words), words.cols).map((row) => unpack(row, bits))
  const values = steps.map((row, r) =>
    dequantize(
      row,
      scaleRows![r]!.map((scale, g) => ({ scale, bias: biasRows![r]![g]! })),
    ),
  )
  expect(values.every((row) => row.length === cols)).toBe(true)
  return { steps, values, scales: scaleRows!, biases: biasRows! }
}

describeEachDevice('affineQuantize', (device) => {
  for (const weightType of FLOAT_TYPES) {
    for (const scaleType of FLOAT_TYPES) {
      test.each(AFFINE_FORMATS)(
        `${weightType} to $bits bits in groups of $groupSize, ${scaleType} scales`,
        async ({ bits, groupSize }) => {
          const [rows, cols] = [7, 3 * groupSize]
          const weight = rounded(seededNormals(bits)(rows * cols), weightType)
          const matrix = emptyMatrix(device(), { rows, cols, bits, groupSize, scaleType })
          await runOnce(device(), (cl) =>
            cl.affineQuantize(upload(device(), weightType, [rows, cols], weight), matrix),
          )
          const { values, scales, biases } = contents(matrix, cols)
          const largestError = new Map<string, number>()
          for (const [row, expected] of rowsOf(weight, cols).entries()) {
            for (const [col, w] of expected.entries()) {
              const group = Math.floor(col / groupSize)
              const scale = Math.abs(scales[row]![group]!)
              // Half a step for rounding, up to half another where the range is moved so that 0 is
              // exact, and what the type of scale and bias makes of the far end of the range.
              const reach = 2 ** bits * scale + Math.abs(biases[row]![group]!)
              const allowed = 1.01 * scale + reach * RELATIVE_ROUNDING[scaleType]
              const error = Math.abs(values[row]![col]! - w)
              expect(error, `row ${row}, column ${col}`).toBeLessThanOrEqual(allowed)
              const key = `${row} ${group}`
              largestError.set(key, Math.max(largestError.get(key) ?? 0, error / scale))
            }
          }
          // As a rule half a step is enough; a scale that is too large would pass the check above.
          const errors = [...largestError.values()].sort((a, b) => a - b)
          if (scaleType !== 'bfloat16') {
            expect(errors[Math.floor(errors.length / 2)]).toBeLessThan(0.75)
          }
          // The whole range of values is used.
          const { steps } = contents(matrix, cols)
          expect(Math.min(...steps.flat())).toBe(0)
          expect(Math.max(...steps.flat())).toBeGreaterThanOrEqual(2 ** bits - 2)
        },
      )
    }
  }

  // Worked by hand from the method of MLX: the end with the larger magnitude is the bias, and the
  // scale is changed so that 0 is a whole number of steps away from it.
  test.each([
    { range: '-2 to 1', low: -2, high: 1, scale: 0.2, bias: -2 },
    { range: '-1 to 2', low: -1, high: 2, scale: -0.2, bias: 2 },
    { range: '1 to 16', low: 1, high: 16, scale: -1, bias: 16 },
    { range: '-0.9 to 1', low: -0.9, high: 1, scale: -1 / 8, bias: 1 }, // 7.9 steps become 8
    { range: '1e-7 to 2e-7', low: 1e-7, high: 2e-7, scale: -1e-7, bias: 2e-7 },
  ])('scale and bias of the range $range at 4 bits', async ({ low, high, scale, bias }) => {
    const matrix = emptyMatrix(device(), {
      rows: 1,
      cols: 32,
      bits: 4,
      groupSize: 32,
      scaleType: 'float32',
    })
    const weight = Array.from({ length: 32 }, (_, i) => low + ((high - low) * i) / 31)
    await runOnce(device(), (cl) =>
      cl.affineQuantize(upload(device(), 'float32', [1, 32], weight), matrix),
    )
    expect(download(matrix.scales)[0]! / scale).toBeCloseTo(1, 6)
    expect(download(matrix.biases)[0]! / bias).toBeCloseTo(1, 6)
  })

  test('a group of one value is represented exactly', async () => {
    const matrix = emptyMatrix(device(), {
      rows: 1,
      cols: 96,
      bits: 4,
      groupSize: 32,
      scaleType: 'float16',
    })
    const weight = [...Array(32).fill(0), ...Array(32).fill(0.75), ...Array(32).fill(-3)]
    await runOnce(device(), (cl) =>
      cl.affineQuantize(upload(device(), 'float32', [1, 96], weight), matrix),
    )
    expect(contents(matrix, 96).values.flat()).toEqual(weight)
  })

  test.each([NaN, Infinity, -Infinity])('%d anywhere in a group fails the run', async (bad) => {
    for (const index of [0, 1, 17, 31, 63]) {
      const matrix = emptyMatrix(device(), {
        rows: 1,
        cols: 64,
        bits: 8,
        groupSize: 32,
        scaleType: 'float32',
      })
      const weight = seededNormals(index)(64)
      weight[index] = bad
      const run = runOnce(device(), (cl) =>
        cl.affineQuantize(upload(device(), 'float32', [1, 64], weight), matrix),
      )
      await expect(run, `index ${index}`).rejects.toMatchObject({
        name: 'OperationError',
        message: '[affineQuantize] weights hold NaN or infinity',
        code: 'ERR_BAD_DATA',
        operation: 'affineQuantize',
      })
    }
  })
})

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Device } from '../../lib/operations/device.js'
import type { Tensor } from '../../lib/operations/tensor.js'
import { linear } from '../reference/linear.js'
import {
  download,
  FLOAT_TYPES,
  LAYOUTS,
  rounded,
  rowsOf,
  runOnce,
  seededNormals,
  unwritten,
  upload,
} from '../support/arrays.js'
import { ACTIVATION_TYPES } from '../support/devices.js'
import { linearCase, linearCases, linearInput, ROLES, withLargeTiles } from '../support/linear.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

// Rows around a block of a step and a tile of a chunk, in both roles.
const SHAPES = [
  { rows: 1, inputs: 1, outputs: 1 },
  { rows: 1, inputs: 16, outputs: 7 },
  { rows: 1, inputs: 333, outputs: 400 }, // large enough to be shared by threads
  { rows: 2, inputs: 17, outputs: 5 },
  { rows: 7, inputs: 31, outputs: 1 },
  { rows: 8, inputs: 40, outputs: 6 },
  { rows: 9, inputs: 32, outputs: 33 }, // one past a tile
  { rows: 20, inputs: 130, outputs: 70 },
  { rows: 32, inputs: 24, outputs: 3 },
  { rows: 33, inputs: 65, outputs: 32 },
].flatMap((shape) => ROLES.map((role) => ({ ...shape, role })))

describeEachDevice('matmul', (device) => {
  for (const dtype of FLOAT_TYPES) {
    for (const { layout, dtype: inType, place } of LAYOUTS) {
      test.each(SHAPES)(
        `weight ${dtype}, ${layout}, $role, $rows x $inputs to $outputs`,
        async ({ role, rows, inputs, outputs }) => {
          const normals = seededNormals(inputs)
          const x = rounded(normals(rows * inputs), inType)
          const weight = rounded(normals(outputs * inputs), dtype)
          const bias = normals(outputs)
          const tensors = {
            x: place(device(), [rows, inputs], x),
            weight: upload(device(), dtype, [outputs, inputs], weight),
            bias: upload(device(), 'float32', [outputs], bias),
            plain: unwritten(device(), [rows, outputs]),
            biased: unwritten(device(), [rows, outputs]),
          }
          await runOnce(device(), (cl) => {
            cl.matmul(tensors.x, tensors.weight, tensors.plain, { role })
            cl.matmul(tensors.x, tensors.weight, tensors.biased, { bias: tensors.bias, role })
          })
          const weightRows = rowsOf(weight, inputs)
          const products = (b?: number[]) =>
            rowsOf(x, inputs).flatMap((row) => linear(row, weightRows, b))
          expectClose(download(tensors.plain), products(), 'float32')
          expectClose(download(tensors.biased), products(bias), 'float32')
        },
      )
    }
  }

  for (const { layout, dtype, place } of LAYOUTS) {
    for (const outType of ACTIVATION_TYPES) {
      for (const shape of [
        { rows: 1, inputs: 8, outputs: 5 },
        { rows: 1, inputs: 1032, outputs: 33 }, // more than a simdgroup reads at once, and a tail
        { rows: 3, inputs: 20, outputs: 7 },
        { rows: 2, inputs: 1031, outputs: 5 },
        { rows: 9, inputs: 72, outputs: 34 },
        { rows: 10, inputs: 71, outputs: 3 },
        { rows: 9, inputs: 76, outputs: 2 }, // two columns left of a group of 38
      ].flatMap((shape) => ROLES.map((role) => ({ ...shape, role })))) {
        const { role } = shape
        test.each(linearCases(shape.inputs))(
          `$title, ${layout}, out ${outType}, ${role}, ${shape.rows} x ${shape.inputs} to ${shape.outputs}`,
          async (given) => {
            const { rows, inputs, outputs } = shape
            const normals = seededNormals(inputs)
            const x = rounded(normals(rows * inputs, 1 / Math.sqrt(inputs)), dtype)
            const weight = normals(outputs * inputs)
            const { options, expected } = linearCase(device(), shape, given, outType)
            const out = options.residual ?? unwritten(device(), [rows, outputs], outType)
            await runOnce(device(), (cl) => {
              const matrix = upload(device(), 'float32', [outputs, inputs], weight)
              cl.matmul(place(device(), [rows, inputs], x), matrix, out, { ...options, role })
            })
            expectClose(download(out), expected(x, rowsOf(weight, inputs)), outType)
          },
        )
      }
    }
  }

  // The mat-mat kernel's larger tiles, which a GPU takes where they are many: here always.
  describe('tiles of 64 x 64 outputs', () => {
    let large: Device
    beforeAll(() => {
      large = withLargeTiles(device())
    })
    afterAll(() => {
      if (large !== device()) large.dispose()
    })

    for (const dtype of FLOAT_TYPES) {
      for (const { layout, dtype: inType, place } of LAYOUTS) {
        test.each([
          { rows: 33, inputs: 1, outputs: 33 },
          { rows: 64, inputs: 64, outputs: 64 },
          { rows: 65, inputs: 31, outputs: 67 }, // one past a tile
          { rows: 97, inputs: 33, outputs: 130 },
          { rows: 130, inputs: 70, outputs: 63 },
        ])(
          `weight ${dtype}, ${layout}, $rows x $inputs to $outputs`,
          async ({ rows, inputs, outputs }) => {
            const normals = seededNormals(inputs)
            const x = rounded(normals(rows * inputs), inType)
            const weight = rounded(normals(outputs * inputs), dtype)
            const out = unwritten(large, [rows, outputs])
            await runOnce(large, (cl) => {
              const matrix = upload(large, dtype, [outputs, inputs], weight)
              cl.matmul(place(large, [rows, inputs], x), matrix, out, { role: 'chunk' })
            })
            const weightRows = rowsOf(weight, inputs)
            const products = rowsOf(x, inputs).flatMap((row) => linear(row, weightRows))
            expectClose(download(out), products, 'float32')
          },
        )
      }
    }

    // Tokens do not depend on which tiles they went through: a prompt's pieces have other numbers of rows.
    test.each(ACTIVATION_TYPES)('have the bits of the smaller ones, %s', async (inType) => {
      const [rows, inputs, outputs] = [70, 200, 80]
      const normals = seededNormals(1)
      const x = normals(rows * inputs)
      const weight = normals(outputs * inputs)
      const results: number[][] = []
      for (const on of [device(), large]) {
        const out = unwritten(on, [rows, outputs])
        await runOnce(on, (cl) => {
          const matrix = upload(on, 'float16', [outputs, inputs], weight)
          cl.matmul(upload(on, inType, [rows, inputs], x), matrix, out, { role: 'chunk' })
        })
        results.push(download(out))
      }
      expect(results[1]).toEqual(results[0])
    })
  })

  // Where activations are float16, tiles are float16, and so is what a norm hands to them.
  for (const { layout, dtype, place } of LAYOUTS) {
    for (const outType of ACTIVATION_TYPES) {
      for (const weightType of ['float16', 'bfloat16'] as const) {
        test.each(linearCases(76))(
          `$title, ${layout}, out ${outType}, weight ${weightType}, 41 x 76 to 35`,
          async (given) => {
            const shape = { rows: 41, inputs: 76, outputs: 35 }
            const { rows, inputs, outputs } = shape
            const inHalf = [dtype, outType].includes('float16')
            const x = linearInput(shape, given, dtype, inHalf)
            const weight = rounded(seededNormals(3)(outputs * inputs), weightType)
            const { options, expected } = linearCase(device(), shape, given, outType, inHalf)
            const out = options.residual ?? unwritten(device(), [rows, outputs], outType)
            await runOnce(device(), (cl) => {
              const matrix = upload(device(), weightType, [outputs, inputs], weight)
              cl.matmul(place(device(), [rows, inputs], x), matrix, out, {
                ...options,
                role: 'chunk',
              })
            })
            expectClose(download(out), expected(x, rowsOf(weight, inputs)), outType)
          },
        )
      }
    }
  }

  test('takes x of two dimensions as a step, of three as a chunk', async () => {
    const [rows, inputs, outputs] = [9, 333, 40]
    const normals = seededNormals(1)
    const x = normals(rows * inputs)
    const weight = upload(device(), 'float32', [outputs, inputs], normals(outputs * inputs))
    const results = Array.from({ length: 4 }, () => unwritten(device(), [rows, outputs]))
    const [two, step, three, chunk] = results as [Tensor, Tensor, Tensor, Tensor]
    await runOnce(device(), (cl) => {
      const flat = upload(device(), 'float32', [rows, inputs], x)
      const deep = upload(device(), 'float32', [1, rows, inputs], x)
      cl.matmul(flat, weight, two)
      cl.matmul(flat, weight, step, { role: 'step' })
      cl.matmul(deep, weight, three.view([1, rows, outputs]))
      cl.matmul(flat, weight, chunk, { role: 'chunk' })
    })
    expect(download(two)).toEqual(download(step))
    expect(download(three)).toEqual(download(chunk))
    // The plain loops have one order of sums for both.
    if (device().cpuLevel !== 'reference') expect(download(step)).not.toEqual(download(chunk))
  })

  test('takes x of one dimension or of three', async () => {
    const weight = upload(device(), 'float32', [2, 3], [1, 2, 3, 4, 5, 6])
    const one = unwritten(device(), [2])
    const three = unwritten(device(), [2, 1, 2])
    await runOnce(device(), (cl) => {
      cl.matmul(upload(device(), 'float32', [3], [1, 0, 2]), weight, one)
      cl.matmul(upload(device(), 'float32', [2, 1, 3], [1, 1, 1, 0, 0, 1]), weight, three)
    })
    expect(download(one)).toEqual([7, 16])
    expect(download(three)).toEqual([6, 15, 3, 6])
  })
})

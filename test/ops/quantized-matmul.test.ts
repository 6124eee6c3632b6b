import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Device } from '../../lib/operations/device.js'
import { linear } from '../reference/linear.js'
import {
  download,
  LAYOUTS,
  rounded,
  rowsOf,
  runOnce,
  seededNormals,
  unwritten,
  upload,
} from '../support/arrays.js'
import { affineMatrix, EVERY_FORMAT, FORMATS_BY_MASK, OTHER_FORMATS } from '../support/quantized.js'
import { ACTIVATION_TYPES } from '../support/devices.js'
import { LINEAR_CASES, linearCase, linearInput, ROLES, withLargeTiles } from '../support/linear.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

describeEachDevice('quantizedMatmul', (device) => {
  for (const { layout, dtype, place } of LAYOUTS) {
    test.each(EVERY_FORMAT)(`$name, ${layout}`, async ({ groupSize, make }) => {
      for (const [role, rows, groups, outputs] of [
        [1, 1, 1],
        [1, 3, 33],
        [2, 3, 67],
        [7, 1, 5],
        [8, 1, 6],
        [9, 1, 2],
        [32, 1, 3],
        [33, 2, 33], // one past a tile of a GPU's mat-mat kernel
      ].flatMap((shape) =>
        ROLES.map((role) => [role, ...(shape as [number, number, number])] as const),
      )) {
        const inputs = groups * groupSize
        const normals = seededNormals(rows + outputs)
        // So that results are about 1, whatever the number of inputs.
        const x = rounded(normals(rows * inputs, 1 / Math.sqrt(inputs)), dtype)
        const bias = normals(outputs)
        const weight = make(device(), outputs, inputs, dtype === 'float16')
        const plain = unwritten(device(), [rows, outputs])
        const biased = unwritten(device(), [rows, outputs])
        await runOnce(device(), (cl) => {
          const input = place(device(), [rows, inputs], x)
          cl.quantizedMatmul(input, weight.tensors, plain, { role })
          cl.quantizedMatmul(input, weight.tensors, biased, {
            bias: upload(device(), 'float32', [outputs], bias),
            role,
          })
        })
        const products = (b?: number[]) =>
          rowsOf(x, inputs).flatMap((row) => linear(row, weight.values, b))
        expectClose(download(plain), products(), 'float32')
        expectClose(download(biased), products(bias), 'float32')
      }
    })
  }

  for (const inType of ACTIVATION_TYPES) {
    for (const outType of ACTIVATION_TYPES) {
      for (const given of LINEAR_CASES) {
        const formats = ['all', 'norm in groups'].includes(given.title)
          ? [...FORMATS_BY_MASK, ...OTHER_FORMATS]
          : FORMATS_BY_MASK
        test.each(formats)(
          `${given.title}, x ${inType}, out ${outType}, $name`,
          async ({ groupSize, make }) => {
            for (const [role, rows, groups, outputs] of [
              ['step', 1, 2, 5],
              ['step', 1, 18, 33],
              ['step', 3, 6, 7],
              ['step', 9, 6, 34],
              ['chunk', 3, 6, 7],
              ['chunk', 9, 6, 34],
            ] as const) {
              // Groups of 16 by twos: parts of a norm are as wide as with groups of 32.
              const inputs = (groups / (groupSize === 16 ? 1 : 2)) * groupSize
              const shape = { rows, inputs, outputs }
              const inHalf = [inType, outType].includes('float16')
              const x = linearInput(shape, given, inType, inHalf)
              const weight = make(device(), outputs, inputs, inHalf)
              const { options, expected } = linearCase(device(), shape, given, outType, inHalf)
              const out = options.residual ?? unwritten(device(), [rows, outputs], outType)
              await runOnce(device(), (cl) => {
                const input = upload(device(), inType, [rows, inputs], x)
                cl.quantizedMatmul(input, weight.tensors, out, { ...options, role })
              })
              expectClose(download(out), expected(x, weight.values), outType)
            }
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

    for (const { layout, dtype, place } of LAYOUTS) {
      // Exact, and in tiles of the other size to the bit: a prompt's pieces have other numbers of rows.
      test.each([...FORMATS_BY_MASK, ...OTHER_FORMATS])(`$name, ${layout}`, async (format) => {
        for (const [rows, groups, outputs] of [
          [33, 1, 33],
          [65, 3, 67],
        ] as const) {
          const inputs = groups * format.groupSize
          const x = rounded(seededNormals(rows)(rows * inputs, 1 / Math.sqrt(inputs)), dtype)
          const results: number[][] = []
          for (const on of [device(), large]) {
            const weight = format.make(on, outputs, inputs, dtype === 'float16')
            const out = unwritten(on, [rows, outputs])
            await runOnce(on, (cl) => {
              cl.quantizedMatmul(place(on, [rows, inputs], x), weight.tensors, out, {
                role: 'chunk',
              })
            })
            results.push(download(out))
            const products = rowsOf(x, inputs).flatMap((row) => linear(row, weight.values))
            expectClose(results.at(-1)!, products, 'float32')
          }
          expect(results[1]).toEqual(results[0])
        }
      })
    }
  })

  // Where activations are float16, the mat-mat kernel of a GPU rounds weights to it, and normed rows.
  for (const inType of ACTIVATION_TYPES) {
    test.each([{}, { norm: 1 }])(
      `rounds to nearest what it multiplies, x ${inType}, %o`,
      async (part) => {
        const [rows, inputs, outputs] = [40, 256, 64]
        const given = { title: 'any', ...part }
        const shape = { rows, inputs, outputs }
        const x = linearInput(shape, given, inType)
        const weight = affineMatrix(device(), {
          ...{ rows: outputs, cols: inputs, bits: 4, groupSize: 64, scaleType: 'float16', seed: 1 },
        })
        const out = unwritten(device(), [rows, outputs], ACTIVATION_TYPES.at(-1)!)
        const { options, expected, normed } = linearCase(device(), shape, given, out.dtype)
        await runOnce(device(), (cl) => {
          const input = upload(device(), inType, [rows, inputs], x)
          cl.quantizedMatmul(input, weight.tensors, out, { ...options, role: 'chunk' })
        })
        const exact = expected(x, weight.values)
        const errors = download(out).map((value, i) => value - exact[i]!)
        // Two operands, each within 2^-12 of itself; the root of the sum of squares, for errors that do
        // not depend on one another.
        const limits = rowsOf(x, inputs).flatMap((row, r) => {
          const factors = normed(row, r)
          return weight.values.map((w) =>
            Math.hypot(...w.map((value, k) => (value * factors[k]!) / 2 ** 11.5)),
          )
        })
        const relative = errors.map(
          (error, i) => error / (limits[i]! + Math.abs(exact[i]!) / 2 ** 11),
        )
        const mean = relative.reduce((a, b) => a + b, 0) / relative.length
        const square = relative.reduce((a, b) => a + b * b, 0) / relative.length
        // Nearest: no error in one direction, and a root mean square of less than half of the limit.
        expect(Math.abs(mean)).toBeLessThan(0.05)
        expect(Math.sqrt(square)).toBeLessThan(0.6)
      },
    )
  }
})

import { expect, test } from 'vitest'
import { erf, gelu, relu2, silu } from '../reference/activations.js'
import {
  download,
  runOnce,
  seededActivations,
  unwritten,
  upload,
  uploadApart,
} from '../support/arrays.js'
import { ACTIVATION_TYPES } from '../support/devices.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

test('the reference error function has the values of tables', () => {
  // Abramowitz and Stegun, table 7.1.
  expect(erf(0.5)).toBeCloseTo(0.5204998778, 10)
  expect(erf(-1)).toBeCloseTo(-0.8427007929, 10)
  expect(erf(2)).toBeCloseTo(0.995322265, 9)
})

describeEachDevice('mlpActivation', (device) => {
  for (const [activation, reference] of [
    ['gelu', gelu],
    ['silu', silu],
    ['relu2', relu2],
  ] as const) {
    for (const dtype of ACTIVATION_TYPES) {
      for (const gated of [false, true]) {
        test.each([[1], [3, 17], [2, 3, 33], [100, 101]].map((shape) => ({ shape })))(
          `${dtype}, ${activation}${gated ? ' with gate' : ''}, shape $shape`,
          async ({ shape }) => {
            const normals = seededActivations(shape[0]!, dtype)
            const count = shape.reduce((a, b) => a * b)
            const [x, gate] = [normals(count, 3), normals(count)]
            const out = unwritten(device(), shape, dtype)
            const apart = unwritten(device(), shape, dtype)
            const inPlace = upload(device(), dtype, shape, x)
            const overGate = upload(device(), dtype, shape, gate)
            const options = {
              activation,
              gate: gated ? upload(device(), dtype, shape, gate) : undefined,
            }
            await runOnce(device(), (cl) => {
              cl.mlpActivation(upload(device(), dtype, shape, x), out, options)
              cl.mlpActivation(inPlace, inPlace, options)
              const rowsApart = uploadApart(device(), dtype, shape, x)
              cl.mlpActivation(rowsApart, apart, options)
              cl.mlpActivation(rowsApart, overGate, { activation, gate: overGate })
            })
            const expected = x.map((value, i) => reference(value) * (gated ? gate[i]! : 1))
            expectClose(download(out), expected, dtype)
            expectClose(download(inPlace), expected, dtype)
            expectClose(download(apart), expected, dtype)
            expectClose(
              download(overGate),
              x.map((value, i) => reference(value) * gate[i]!),
              dtype,
            )
          },
        )
      }
    }

    test(`${activation} far from zero`, async () => {
      const x = [-1e30, -1000, -100, -20, -6, 0, 6, 20, 100, 1000, 1e30].map(Math.fround)
      const out = unwritten(device(), [x.length])
      await runOnce(device(), (cl) =>
        cl.mlpActivation(upload(device(), 'float32', [x.length], x), out, { activation }),
      )
      const expected = x.map((value) => Math.fround(reference(value)))
      expectClose(download(out), expected, 'float32')
    })
  }
})

import { test } from 'vitest'
import { layerNorm } from '../reference/norms.js'
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
import { ACTIVATION_TYPES } from '../support/devices.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

// Every number of columns that can be left behind the last four.
const SHAPES = [[1], [1, 16], [3, 17], [2, 3, 18], [5, 7], [2, 1030]]

describeEachDevice('layerNorm', (device) => {
  for (const { layout, dtype, place } of LAYOUTS) {
    for (const outType of ACTIVATION_TYPES) {
      test.each(SHAPES.map((shape) => ({ shape })))(
        `shape $shape, ${layout}, out ${outType}`,
        async ({ shape }) => {
          const cols = shape.at(-1)!
          const normals = seededNormals(cols)
          const values = normals(shape.reduce((a, b) => a * b))
          const x = rounded(
            values.map((value) => value + 2),
            dtype,
          )
          const weight = normals(cols)
          for (const bias of [undefined, normals(cols)]) {
            const out = unwritten(device(), shape, outType)
            const floats = (given: number[]) => upload(device(), 'float32', [cols], given)
            await runOnce(device(), (cl) =>
              cl.layerNorm(place(device(), shape, x), floats(weight), out, {
                eps: 0.1,
                bias: bias && floats(bias),
              }),
            )
            const expected = rowsOf(x, cols).flatMap((row) => layerNorm(row, weight, bias, 0.1))
            expectClose(download(out), expected, outType)
          }
        },
      )
    }
  }

  test('a row far from zero keeps its digits', async () => {
    const x = [4096, 4097, 4098, 4099, 4100, 4101].map((value) => value + 2 ** 20)
    const ones = new Array<number>(6).fill(1)
    const out = unwritten(device(), [1, 6])
    await runOnce(device(), (cl) =>
      cl.layerNorm(
        upload(device(), 'float32', [1, 6], x),
        upload(device(), 'float32', [6], ones),
        out,
        { eps: 0 },
      ),
    )
    expectClose(download(out), layerNorm(x, ones, undefined, 0), 'float32')
  })
})

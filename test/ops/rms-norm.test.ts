import { test } from 'vitest'
import { rmsNorm } from '../reference/norms.js'
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
const SHAPES = [[1], [1, 1], [1, 16], [3, 17], [5, 7], [2, 1030], [2, 3, 100], [40, 800]]

describeEachDevice('rmsNorm', (device) => {
  for (const { layout, dtype, place } of LAYOUTS) {
    for (const outType of ACTIVATION_TYPES) {
      test.each(SHAPES.map((shape) => ({ shape })))(
        `shape $shape, ${layout}, out ${outType}`,
        async ({ shape }) => {
          const cols = shape.at(-1)!
          const normals = seededNormals(cols)
          const x = rounded(normals(shape.reduce((a, b) => a * b)), dtype)
          const weight = normals(cols)
          for (const eps of [1e-5, 0.5]) {
            const out = unwritten(device(), shape, outType)
            await runOnce(device(), (cl) =>
              cl.rmsNorm(
                place(device(), shape, x),
                upload(device(), 'float32', [cols], weight),
                out,
                {
                  eps,
                },
              ),
            )
            const expected = rowsOf(x, cols).flatMap((row) => rmsNorm(row, weight, eps))
            expectClose(download(out), expected, outType)
          }
        },
      )
    }
  }

  test('a row of zeros stays zero', async () => {
    const out = unwritten(device(), [2, 5])
    await runOnce(device(), (cl) =>
      cl.rmsNorm(
        device().tensor('float32', [2, 5]),
        upload(device(), 'float32', [5], [1, 2, 3, 4, 5]),
        out,
        { eps: 1e-5 },
      ),
    )
    expectClose(download(out), new Array(10).fill(0), 'float32')
  })
})

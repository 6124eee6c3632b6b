import { expect, test } from 'vitest'
import { silu } from '../reference/activations.js'
import {
  download,
  rounded,
  rowsOf,
  runOnce,
  seededActivations,
  seededNormals,
  unwritten,
  upload,
  uploadApart,
} from '../support/arrays.js'
import { ACTIVATION_TYPES } from '../support/devices.js'
import { chosenOn, EXPERTS, expectedOfExperts } from '../support/experts.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

describeEachDevice('expertsMatmul', (device) => {
  for (const dtype of ACTIVATION_TYPES) {
    test.each(['float32', 'float16', 'bfloat16'] as const)(
      `weight %s, ${dtype}`,
      async (weightType) => {
        for (const [inputs, outputs, expertRows] of [
          [1, 1, 1],
          [37, 21, 21],
          [130, 6, 12], // gate of an expert whose gate and up follow one another
        ] as const) {
          const rows = (EXPERTS - 1) * expertRows + outputs
          const weight = rounded(seededNormals(inputs)(rows * inputs), weightType)
          const x = seededActivations(outputs, dtype)(3 * inputs, 1 / Math.sqrt(inputs))
          const gate = seededActivations(rows, dtype)(6 * outputs)
          const matrix = upload(device(), weightType, [rows, inputs], weight)
          const plain = unwritten(device(), [3, 2, outputs], dtype)
          const gated = unwritten(device(), [3, 2, outputs], dtype)
          const options = { experts: EXPERTS, expertRows }
          await runOnce(device(), (cl) => {
            const input = uploadApart(device(), dtype, [3, inputs], x)
            cl.expertsMatmul(input, matrix, chosenOn(device()), plain, options)
            cl.expertsMatmul(input, matrix, chosenOn(device()), gated, {
              ...options,
              activation: 'silu',
              gate: upload(device(), dtype, [3, 2, outputs], gate),
            })
          })
          const [xs, weights] = [rowsOf(x, inputs), rowsOf(weight, inputs)]
          const sums = expectedOfExperts(xs, weights, outputs, expertRows, (sum) => sum)
          expectClose(download(plain), sums, dtype)
          const products = sums.map((sum, i) => silu(sum) * gate[i]!)
          expectClose(download(gated), products, dtype)
        }
      },
    )
  }

  test('a number that is no expert reads the last one', async () => {
    const weight = upload(device(), 'float32', [2, 1], [3, 5])
    const out = unwritten(device(), [1, 1, 1])
    await runOnce(device(), (cl) => {
      const x = upload(device(), 'float32', [1, 1], [1])
      const chosen = upload(device(), 'uint32', [1, 1], [0xffffffff])
      cl.expertsMatmul(x, weight, chosen, out, { experts: 2 })
    })
    expect(download(out)).toEqual([5])
  })
})

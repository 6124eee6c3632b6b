import { test } from 'vitest'
import { relu2 } from '../reference/activations.js'
import { download, rowsOf, runOnce, seededNormals, unwritten, upload } from '../support/arrays.js'
import { choices, chosenOn, chunkOn, EXPERTS, expectedOfExperts } from '../support/experts.js'
import { FORMATS_BY_MASK, OTHER_FORMATS } from '../support/quantized.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

describeEachDevice('quantizedExpertsMatmul', (device) => {
  test.each([...FORMATS_BY_MASK, ...OTHER_FORMATS])(
    '$name, a row of x for each chosen expert',
    async ({ groupSize, make }) => {
      const [inputs, outputs] = [3 * groupSize, 9]
      const { tensors, values } = make(device(), EXPERTS * outputs, inputs)
      const x = seededNormals(inputs)(6 * inputs, 1 / Math.sqrt(inputs))
      const out = unwritten(device(), [3, 2, outputs])
      await runOnce(device(), (cl) => {
        const input = upload(device(), 'float32', [3, 2, inputs], x)
        cl.quantizedExpertsMatmul(input, tensors, chosenOn(device()), out, {
          experts: EXPERTS,
          activation: 'relu2',
        })
      })
      const sums = expectedOfExperts(rowsOf(x, inputs), values, outputs, outputs, relu2)
      expectClose(download(out), sums, 'float32')
    },
  )

  test.each([...FORMATS_BY_MASK, ...OTHER_FORMATS])(
    '$name, a chunk',
    async ({ groupSize, make }) => {
      // Some experts have a tile and more, one has nothing.
      for (const [tokens, k, experts, used] of [
        [1, 1, 1, 1],
        [50, 2, 4, 3],
      ] as const) {
        const chosen = choices(tokens, k, used)
        const [inputs, outputs] = [3 * groupSize, 37]
        const { tensors, values } = make(device(), experts * outputs, inputs)
        const x = seededNormals(inputs)(tokens * inputs, 1 / Math.sqrt(inputs))
        const out = unwritten(device(), [tokens, k, outputs])
        await runOnce(device(), (cl) => {
          const input = upload(device(), 'float32', [tokens, inputs], x)
          const on = chunkOn(device(), cl, chosen, experts)
          cl.quantizedExpertsMatmul(input, tensors, on.chosen, out, { experts, tiles: on.tiles })
        })
        const [rows, finish] = [rowsOf(x, inputs), (sum: number) => sum]
        const sums = expectedOfExperts(rows, values, outputs, outputs, finish, chosen)
        expectClose(download(out), sums, 'float32')
      }
    },
  )
})

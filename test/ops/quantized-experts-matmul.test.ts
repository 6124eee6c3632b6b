import { test } from 'vitest'
import { relu2 } from '../reference/activations.js'
import { download, rowsOf, runOnce, seededNormals, unwritten, upload } from '../support/arrays.js'
import { chosenOn, EXPERTS, expectedOfExperts } from '../support/experts.js'
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
})

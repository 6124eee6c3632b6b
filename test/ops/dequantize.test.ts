import { test } from 'vitest'
import { EVERY_FORMAT } from '../support/quantized.js'
import { download, FLOAT_TYPES, runOnce } from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

describeEachDevice('dequantize', (device) => {
  for (const outType of FLOAT_TYPES) {
    test.each(EVERY_FORMAT)(`$name, to ${outType}`, async ({ groupSize, make }) => {
      for (const [rows, groups] of [
        [1, 1],
        [5, 3],
        [80, 4],
      ] as const) {
        const cols = groups * groupSize
        const { tensors, values } = make(device(), rows, cols)
        const out = device().tensor(outType, [rows, cols])
        await runOnce(device(), (cl) => cl.dequantize(tensors, out))
        expectClose(download(out), values.flat(), outType)
      }
    })
  }
})

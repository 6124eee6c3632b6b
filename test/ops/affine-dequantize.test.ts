import { test } from 'vitest'
import { AFFINE_FORMATS, affineMatrix } from '../support/affine.js'
import { download, FLOAT_TYPES, runOnce } from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

describeEachDevice('affineDequantize', (device) => {
  for (const scaleType of FLOAT_TYPES) {
    for (const outType of FLOAT_TYPES) {
      test.each(AFFINE_FORMATS)(
        `$bits bits in groups of $groupSize, ${scaleType} scales, to ${outType}`,
        async ({ bits, groupSize }) => {
          for (const [rows, groups] of [
            [1, 1],
            [5, 3],
            [80, 4],
          ] as const) {
            const cols = groups * groupSize
            const specification = { rows, cols, bits, groupSize, scaleType, seed: rows }
            const { tensors, values } = affineMatrix(device(), specification)
            const out = device().tensor(outType, [rows, cols])
            await runOnce(device(), (cl) => cl.affineDequantize(tensors, out))
            expectClose(download(out), values.flat(), outType)
          }
        },
      )
    }
  }
})

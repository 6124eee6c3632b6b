import { test } from 'vitest'
import {
  download,
  rounded,
  runOnce,
  seededActivations,
  unwritten,
  upload,
} from '../support/arrays.js'
import { ACTIVATION_TYPES } from '../support/devices.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectSame } from '../tolerance.js'

describeEachDevice('add', (device) => {
  for (const dtype of ACTIVATION_TYPES) {
    test.each([[1], [17], [3, 33], [2, 3, 5], [300, 500]].map((shape) => ({ shape })))(
      `${dtype}, shape $shape, into a third tensor and into either input`,
      async ({ shape }) => {
        const normals = seededActivations(shape[0]!, dtype)
        const count = shape.reduce((x, y) => x * y)
        const [a, b] = [normals(count), normals(count)]
        const given = (values: number[]) => upload(device(), dtype, shape, values)
        const [out, intoA, intoB] = [unwritten(device(), shape, dtype), given(a), given(b)]
        await runOnce(device(), (cl) => {
          cl.add(given(a), given(b), out)
          cl.add(intoA, given(b), intoA)
          cl.add(given(a), intoB, intoB)
        })
        const expected = rounded(
          a.map((value, i) => value + b[i]!),
          dtype,
        )
        for (const tensor of [out, intoA, intoB]) expectSame(download(tensor), expected)
      },
    )
  }
})

import { test } from 'vitest'
import { download, runOnce, seededNormals, unwritten, upload } from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectSame } from '../tolerance.js'

describeEachDevice('add', (device) => {
  test.each([[1], [17], [3, 33], [2, 3, 5], [300, 500]].map((shape) => ({ shape })))(
    'shape $shape, into a third tensor and into either input',
    async ({ shape }) => {
      const normals = seededNormals(shape[0]!)
      const count = shape.reduce((x, y) => x * y)
      const [a, b] = [normals(count), normals(count)]
      const given = (values: number[]) => upload(device(), 'float32', shape, values)
      const [out, intoA, intoB] = [unwritten(device(), shape), given(a), given(b)]
      await runOnce(device(), (cl) => {
        cl.add(given(a), given(b), out)
        cl.add(intoA, given(b), intoA)
        cl.add(given(a), intoB, intoB)
      })
      const expected = a.map((value, i) => Math.fround(value + b[i]!))
      for (const tensor of [out, intoA, intoB]) expectSame(download(tensor), expected)
    },
  )
})

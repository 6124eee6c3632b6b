import { expect, test } from 'vitest'
import { indexOfLargest } from '../reference/sampling.js'
import { download, rowsOf, runOnce, seededNormals, upload } from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'

describeEachDevice('argmax', (device) => {
  test.each([[1], [7], [1, 1], [3, 17], [2, 3, 100], [20, 9000]].map((shape) => ({ shape })))(
    'shape $shape',
    async ({ shape }) => {
      const cols = shape.at(-1)!
      const x = seededNormals(cols)(shape.reduce((a, b) => a * b))
      const out = device().tensor('uint32', shape.slice(0, -1))
      await runOnce(device(), (cl) => cl.argmax(upload(device(), 'float32', shape, x), out))
      expect(download(out)).toEqual(rowsOf(x, cols).map(indexOfLargest))
    },
  )

  test('of equal ones the first; infinities count', async () => {
    const x = [2, 5, 5, 1, -Infinity, -Infinity, -Infinity, -Infinity, 0, Infinity, 3, Infinity]
    const out = device().tensor('uint32', [3])
    await runOnce(device(), (cl) => cl.argmax(upload(device(), 'float32', [3, 4], x), out))
    expect(download(out)).toEqual([1, 0, 1])
  })

  test('NaN fails the run wherever it is', async () => {
    for (const index of [0, 3, 4]) {
      const x = [1, 2, 3, 4, 5]
      x[index] = NaN
      const out = device().tensor('uint32', [1])
      const run = runOnce(device(), (cl) => cl.argmax(upload(device(), 'float32', [1, 5], x), out))
      await expect(run).rejects.toThrow(`[argmax] logit ${index} is NaN`)
    }
  })
})

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

  test('of equal ones the first in a long row', async () => {
    // In one vector, in two, in two simdgroups of a GPU, in one thread of it, in the last element.
    const places = [
      [1, 2],
      [3, 11],
      [7, 40],
      [33, 1030],
      [5, 1029],
      [4096, 8998],
      [8998, 8999],
    ]
    const cols = 9000
    const rows = places.map((equal) => {
      const row = seededNormals(cols)(cols)
      for (const i of equal) row[i] = 100
      return row
    })
    const out = device().tensor('uint32', [rows.length])
    const x = upload(device(), 'float32', [rows.length, cols], rows.flat())
    await runOnce(device(), (cl) => cl.argmax(x, out))
    expect(download(out)).toEqual(places.map(([first]) => first))
  })

  test.each([5, 1000])('a row of %i with NaN has no index, wherever it is', async (cols) => {
    const places = [0, 3, 4, 31, 40, 511, 995, 999].filter((i) => i < cols)
    const rows = places.map((index) => {
      const row = seededNormals(cols)(cols)
      row[index] = NaN
      return row
    })
    const sane = seededNormals(cols)(cols)
    const x = upload(device(), 'float32', [rows.length + 1, cols], [...rows, sane].flat())
    const out = device().tensor('uint32', [rows.length + 1])
    await runOnce(device(), (cl) => cl.argmax(x, out))
    const best = sane.indexOf(Math.max(...sane))
    expect(download(out)).toEqual([...rows.map(() => 0xffffffff), best])
  })
})

import { expect, test } from 'vitest'
import { embedding } from '../reference/linear.js'
import {
  download,
  FLOAT_TYPES,
  rounded,
  rowsOf,
  runOnce,
  seededNormals,
  unwritten,
  upload,
} from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'

describeEachDevice('embedding', (device) => {
  test.each(FLOAT_TYPES)('%s table, tokens of any number of dimensions', async (dtype) => {
    for (const [shape, tokens, cols] of [
      [[1], [4], 1],
      [[3], [0, 4, 4], 17],
      [[2, 3], [4, 3, 2, 1, 0, 0], 33],
      [[2], [1, 4], 18],
      [[2], [2, 3], 19],
    ] as const) {
      const table = rounded(seededNormals(cols)(5 * cols), dtype)
      const out = unwritten(device(), [...shape, cols])
      await runOnce(device(), (cl) => {
        cl.embedding(
          upload(device(), 'uint32', shape, tokens),
          upload(device(), dtype, [5, cols], table),
          out,
        )
      })
      // Every half-precision number is a float32, so nothing is rounded.
      expect(download(out)).toEqual(embedding([...tokens], rowsOf(table, cols)).flat())
    }
  })

  test('times a factor', async () => {
    const table = seededNormals(1)(5 * 19).map(Math.fround)
    const tokens = [4, 0, 4]
    const out = unwritten(device(), [3, 19])
    await runOnce(device(), (cl) => {
      cl.embedding(
        upload(device(), 'uint32', [3], tokens),
        upload(device(), 'float32', [5, 19], table),
        out,
        { scale: 12.5 },
      )
    })
    const expected = embedding(tokens, rowsOf(table, 19)).flat()
    expect(download(out)).toEqual(expected.map((value) => Math.fround(12.5 * value)))
  })

  test('a token id outside the table fails the run, and later runs work; a GPU takes the last row', async () => {
    const tokens = upload(device(), 'uint32', [2], [1, 5])
    const out = unwritten(device(), [2, 3])
    const table = [...Array(12).fill(2), 3, 3, 3]
    using list = device().record((cl) =>
      cl.embedding(tokens, upload(device(), 'float32', [5, 3], table), out),
    )
    if (device().name === 'metal') {
      await list.run()
      return expect(download(out)).toEqual([2, 2, 2, 3, 3, 3])
    }
    await expect(list.run()).rejects.toThrow(
      '[embedding] token id 5 is outside the vocabulary of 5',
    )
    tokens.write(new Uint32Array([1, 4]))
    await list.run()
    expect(download(out)).toEqual([2, 2, 2, 3, 3, 3])
  })
})

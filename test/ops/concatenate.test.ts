import { expect, test } from 'vitest'
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

const SHAPES = [
  { rows: [1], cols: [1, 1] },
  { rows: [3], cols: [5, 2] },
  { rows: [2, 3], cols: [64, 64] },
  { rows: [2], cols: [3, 1030] },
]

describeEachDevice('concatenate', (device) => {
  for (const dtype of ACTIVATION_TYPES) {
    test.each(SHAPES)(`${dtype}, $rows rows of $cols columns`, async ({ rows, cols }) => {
      const count = rows.reduce((x, y) => x * y)
      const normals = seededActivations(count, dtype)
      const [m, n] = cols as [number, number]
      const a = normals(count * m)
      // Rows of b lie apart: the last column belongs to nobody.
      const wide = normals(count * (n + 1))
      const b = upload(device(), dtype, [...rows, n + 1], wide).columns(0, n)
      const out = unwritten(device(), [...rows, m + n], dtype)
      const given = upload(device(), dtype, [...rows, m], a)
      await runOnce(device(), (cl) => cl.concatenate(given, b, out))
      const expected = Array.from({ length: count }, (_, r) => [
        ...a.slice(r * m, (r + 1) * m),
        ...wide.slice(r * (n + 1), r * (n + 1) + n),
      ]).flat()
      expectSame(download(out), rounded(expected, dtype))
    })
  }

  test('says what does not fit', () => {
    const tensor = (shape: number[]) => device().tensor('float32', shape)
    const record = (b: number[], out: number[]) => () =>
      device().record((cl) => cl.concatenate(tensor([2, 3]), tensor(b), tensor(out)))
    expect(record([3, 3], [2, 6])).toThrow('[concatenate] b must have shape')
    expect(record([2, 3], [2, 5])).toThrow('[concatenate] out must have shape')
  })
})

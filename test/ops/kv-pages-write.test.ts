import { expect, test } from 'vitest'
import { NO_PAGE, NO_SLOT, PAGE_SIZE } from '../../lib/operations/arguments.js'
import { download, LAYOUTS, runOnce } from '../support/arrays.js'
import {
  LAYOUTS_AND_PAGES,
  pagedTensors,
  pagesWith,
  type PagedShape,
  randomPaged,
  storedRows,
} from '../support/pages.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectSame } from '../tolerance.js'

const CASES: (PagedShape & { length: number })[] = [
  { positions: [0], length: 1, heads: 1, kvHeads: 1, headDim: 1 },
  { positions: [255, 0, 250], length: 7, heads: 2, kvHeads: 2, headDim: 3 },
  { positions: [200, 3], length: 600, heads: 1, kvHeads: 1, headDim: 5 }, // several pages
]

describeEachDevice('kvPagesWrite', (device) => {
  for (const { layout, stored, dtype, place } of LAYOUTS_AND_PAGES) {
    test.each(CASES)(
      `positions $positions, $length tokens, $kvHeads x $headDim, ${layout}`,
      async ({ length, ...shape }) => {
        const given = randomPaged({ ...shape, stored }, length, dtype)
        const tensors = pagedTensors(device(), given, (b) => given.past[b]!)
        const leading = length === 1 ? [shape.positions.length] : [shape.positions.length, length]
        const cols = shape.kvHeads * shape.headDim
        const k = place(device(), [...leading, cols], given.k)
        const v = place(device(), [...leading, cols], given.v)
        await runOnce(device(), (cl) => cl.kvPagesWrite({ ...tensors, k, v }))
        for (const of of ['keys', 'values'] as const) {
          expectSame(
            download(tensors[of]),
            pagesWith(given, (b) => storedRows(given, b)[of]),
          )
        }
      },
    )
  }

  test('tokens without a slot or a page are not written', async () => {
    const shape = { positions: [3, 200, 5], heads: 1, kvHeads: 1, headDim: 2 }
    const length = 100
    const given = randomPaged(shape, length)
    const tensors = pagedTensors(device(), given, (b) => given.past[b]!)
    const slot = tensors.rows.read()[1]!
    tensors.rows.write(Uint32Array.of(NO_SLOT, slot, 5))
    const table = tensors.pages.read()
    for (const bad of [NO_PAGE, tensors.keys.shape[0]!]) {
      table[slot * tensors.pages.cols + 1] = bad
      tensors.pages.write(table)
      const [k, v] = [given.k, given.v].map((all) =>
        LAYOUTS[0]!.place(device(), [3, length, 2], all),
      )
      await runOnce(device(), (cl) => cl.kvPagesWrite({ ...tensors, k: k!, v: v! }))
      expectSame(
        download(tensors.values),
        pagesWith(given, (b) =>
          b === 1 ? storedRows(given, 1).values.slice(0, PAGE_SIZE) : given.past[b]!.values,
        ),
      )
    }
    // Positions that the table has no column for.
    tensors.position.write(Uint32Array.of(0, 0xffffffff, 0))
    const before = download(tensors.keys)
    const [k, v] = [given.k, given.v].map((all) => LAYOUTS[0]!.place(device(), [3, length, 2], all))
    await runOnce(device(), (cl) => cl.kvPagesWrite({ ...tensors, k: k!, v: v! }))
    expect(download(tensors.keys)).toEqual(before)
  })
})

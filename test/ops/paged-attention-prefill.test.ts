import { expect, test } from 'vitest'
import { NO_PAGE, NO_SLOT } from '../../lib/operations/arguments.js'
import { download, LAYOUTS, rowsOf, runOnce } from '../support/arrays.js'
import {
  expectedOut,
  LAYOUTS_AND_PAGES,
  type PagedShape,
  prefillTensors,
  randomPaged,
} from '../support/pages.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

const place = LAYOUTS[0]!.place

const CASES: (PagedShape & { length: number })[] = [
  { positions: [0], length: 1, heads: 1, kvHeads: 1, headDim: 1 },
  { positions: [0, 31, 3], length: 33, heads: 3, kvHeads: 1, headDim: 32 }, // one past a tile
  { positions: [255, 256, 254], length: 3, heads: 2, kvHeads: 2, headDim: 17, gated: true },
  { positions: [0], length: 257, heads: 4, kvHeads: 1, headDim: 6, scale: 0.4 },
  { positions: [600], length: 1, heads: 8, kvHeads: 1, headDim: 80 },
  { positions: [520, 513], length: 40, heads: 2, kvHeads: 1, headDim: 4, shared: true },
  { positions: [20], length: 12, heads: 4, kvHeads: 2, headDim: 96, gated: true },
  { positions: [100], length: 5, heads: 2, kvHeads: 1, headDim: 256 },
  { positions: [2, 0], length: 70, heads: 2, kvHeads: 2, headDim: 64 },
]

describeEachDevice('pagedAttentionPrefill', (device) => {
  for (const { layout, stored, dtype, place } of LAYOUTS_AND_PAGES) {
    test.each(CASES)(
      `$positions, $length tokens, $heads heads of $headDim over $kvHeads, ${layout}`,
      async ({ length, ...shape }) => {
        const given = randomPaged({ ...shape, stored }, length, dtype)
        const tensors = prefillTensors(device(), given, place)
        const { headDim, scale, gated } = shape
        await runOnce(device(), (cl) =>
          cl.pagedAttentionPrefill(tensors, { headDim, scale, gated }),
        )
        expectClose(download(tensors.out), expectedOut(given), dtype)
      },
    )
  }

  test('rows without a slot or without one of their pages do nothing', async () => {
    const shape = { positions: [3, 300, 200, 9], heads: 2, kvHeads: 1, headDim: 4 }
    const given = randomPaged(shape, 60)
    const nothing = new Array<number>(60 * 8).fill(NaN)
    const all = rowsOf(expectedOut(given), 60 * 8)
    const changes: [number, (rows: Uint32Array, table: Uint32Array, width: number) => void][] = [
      [0, (rows) => rows.fill(NO_SLOT, 0, 1)],
      [3, (rows) => rows.fill(6, 3)],
      [1, (rows, table, width) => (table[rows[1]! * width] = NO_PAGE)],
      [2, (rows, table, width) => (table[rows[2]! * width + 1] = 8)],
    ]
    for (const [idle, change] of changes) {
      const tensors = prefillTensors(device(), given, place)
      const [rows, table] = [tensors.rows.read(), tensors.pages.read()]
      change(rows as Uint32Array, table as Uint32Array, tensors.pages.cols)
      tensors.rows.write(rows)
      tensors.pages.write(table)
      await runOnce(device(), (cl) => cl.pagedAttentionPrefill(tensors, { headDim: 4 }))
      const out = rowsOf(download(tensors.out), 60 * 8)
      for (const [b, row] of out.entries()) {
        if (b === idle) expect(row).toEqual(nothing)
        else expectClose(row, all[b]!, 'float32')
      }
    }
    const tensors = prefillTensors(device(), given, place)
    tensors.position.write(Uint32Array.of(3, 0xffffffff, 1024, 9))
    await runOnce(device(), (cl) => cl.pagedAttentionPrefill(tensors, { headDim: 4 }))
    const out = rowsOf(download(tensors.out), 60 * 8)
    expect([out[1], out[2]]).toEqual([nothing, nothing])
    expectClose(out[3]!, all[3]!, 'float32')
  })

  test('scores far from zero neither overflow nor give NaN', async () => {
    const given = randomPaged({ positions: [250], heads: 2, kvHeads: 1, headDim: 4 }, 20)
    const tensors = prefillTensors(device(), given, place)
    await runOnce(device(), (cl) => cl.pagedAttentionPrefill(tensors, { headDim: 4, scale: 1000 }))
    expect(download(tensors.out).every(Number.isFinite)).toBe(true)
  })
})

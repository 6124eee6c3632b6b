import { expect, test } from 'vitest'
import { NO_PAGE, NO_SLOT } from '../../lib/operations/arguments.js'
import type { Tensor } from '../../lib/operations/tensor.js'
import { download, LAYOUTS, rowsOf, runOnce } from '../support/arrays.js'
import {
  decodeOptions,
  decodeTensors,
  expectedOut,
  LAYOUTS_AND_PAGES,
  pagesWith,
  type PagedShape,
  randomPaged,
  storedRows,
} from '../support/pages.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose, expectSame } from '../tolerance.js'

const place = LAYOUTS[0]!.place

const CASES: PagedShape[] = [
  { positions: [0], heads: 1, kvHeads: 1, headDim: 1 },
  { positions: [254, 255, 256, 0], heads: 3, kvHeads: 1, headDim: 32, rotaryDim: 32 },
  { positions: [5, 300], heads: 2, kvHeads: 2, headDim: 64, rotaryDim: 16, gated: true },
  { positions: [30], heads: 8, kvHeads: 1, headDim: 80, normed: true, scale: 0.3 },
  { positions: [1, 31, 32], heads: 4, kvHeads: 1, headDim: 96, rotaryDim: 96, interleaved: true },
  { positions: [700], heads: 6, kvHeads: 2, headDim: 17, rotaryDim: 6, normed: true },
  {
    positions: [513, 600],
    heads: 4,
    kvHeads: 2,
    headDim: 8,
    shared: true,
    attentionFactor: 1.2,
    rotaryDim: 8,
  },
  { positions: [40], heads: 2, kvHeads: 1, headDim: 256, rotaryDim: 64, normed: true, gated: true },
  { positions: [4500], heads: 2, kvHeads: 1, headDim: 3 }, // several pages to a part on a GPU
]

describeEachDevice('pagedAttentionDecode', (device) => {
  for (const { layout, stored, dtype, place } of LAYOUTS_AND_PAGES) {
    test.each(CASES)(
      `$positions, $heads heads of $headDim over $kvHeads, ${layout}`,
      async (shape) => {
        const given = randomPaged({ ...shape, stored }, 1, dtype)
        const tensors = decodeTensors(device(), given, place)
        await runOnce(device(), (cl) => cl.pagedAttentionDecode(tensors, decodeOptions(given)))
        expectClose(download(tensors.out), expectedOut(given), dtype)
        const after = (of: 'keys' | 'values') => pagesWith(given, (b) => storedRows(given, b)[of])
        expectSame(download(tensors.values), after('values'))
        const [keys, expected] = [download(tensors.keys), after('keys')]
        const written = expected.flatMap((x, i) =>
          Number.isNaN(x) && Number.isNaN(keys[i]) ? [] : [i],
        )
        const at = (all: number[]) => written.map((i) => all[i]!)
        expectClose(at(keys), at(expected), stored)
      },
    )
  }

  test('rows without a slot or without one of their pages do nothing', async () => {
    const given = randomPaged(
      { positions: [3, 600, 270, 40], heads: 4, kvHeads: 2, headDim: 8, rotaryDim: 8 },
      1,
    )
    const run = async (change: (tensors: { rows: Tensor; pages: Tensor }) => void) => {
      const tensors = decodeTensors(device(), given, place)
      const before = [download(tensors.keys), download(tensors.values)]
      change(tensors)
      await runOnce(device(), (cl) => cl.pagedAttentionDecode(tensors, decodeOptions(given)))
      const unchanged = [download(tensors.keys), download(tensors.values)].map((all, i) =>
        all.filter((x, at) => !Object.is(x, before[i]![at])),
      )
      return { out: rowsOf(download(tensors.out), 32), written: unchanged.flat().length }
    }
    const all = await run(() => {})
    expect(all.written).toBe(4 * 2 * 16)
    const nothing = new Array<number>(32).fill(NaN)
    const { out, written } = await run(({ rows }) => {
      rows.write(Uint32Array.of(NO_SLOT, ...rows.read().subarray(1, 3), 6))
    })
    expect(out).toEqual([nothing, all.out[1], all.out[2], nothing])
    expect(written).toBe(2 * 2 * 16)
    for (const bad of [NO_PAGE, 9]) {
      const { out, written } = await run(({ rows, pages }) => {
        const [table, slot] = [pages.read(), rows.read()[1]!]
        table[slot * pages.cols + 1] = bad
        pages.write(table)
      })
      expect(out).toEqual([all.out[0], nothing, all.out[2], all.out[3]])
      expect(written).toBe(3 * 2 * 16)
    }
    const beyond = await run((tensors) => {
      ;(tensors as unknown as { position: Tensor }).position.write(
        Uint32Array.of(3, 600, 4 * 256, 0xffffffff),
      )
    })
    expect(beyond.out).toEqual([all.out[0], all.out[1], nothing, nothing])
  })

  test('scores far from zero neither overflow nor give NaN', async () => {
    const given = randomPaged(
      { positions: [300], heads: 2, kvHeads: 1, headDim: 4, scale: 1000 },
      1,
    )
    const tensors = decodeTensors(device(), given, place)
    await runOnce(device(), (cl) => cl.pagedAttentionDecode(tensors, decodeOptions(given)))
    expect(download(tensors.out).every(Number.isFinite)).toBe(true)
  })

  test('a NaN of a key is in the result of the heads that see it, and in no other', async () => {
    const given = randomPaged({ positions: [300], heads: 4, kvHeads: 2, headDim: 4 }, 1)
    given.past[0]!.keys[7]![2] = NaN
    const tensors = decodeTensors(device(), given, place)
    await runOnce(device(), (cl) => cl.pagedAttentionDecode(tensors, decodeOptions(given)))
    const out = rowsOf(download(tensors.out), 8)
    expect(out[0]!.every(Number.isNaN)).toBe(true)
    expect(out[1]!.every(Number.isFinite)).toBe(true)
  })
})

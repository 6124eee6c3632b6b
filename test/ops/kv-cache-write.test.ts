import { expect, test } from 'vitest'
import { download, LAYOUTS, runOnce } from '../support/arrays.js'
import { attentionTensors, randomAttention } from '../support/attention.js'
import { ringsAfter } from '../support/sequences.js'
import { expectRowsWithoutSlotDoNothing, inSlots, slotsOf } from '../support/slots.js'
import { describeEachDevice } from '../support/with-device.js'

const CASES = [
  { positions: [0], length: 1, kvHeads: 1, headDim: 1, window: 1 },
  { positions: [0, 3, 7], length: 4, kvHeads: 2, headDim: 3, window: 8 },
  { positions: [2, 8], length: 8, kvHeads: 1, headDim: 17, window: 8 },
  { positions: [5, 0], length: 9, kvHeads: 1, headDim: 2, window: 8 }, // one past the window
  { positions: [1, 30], length: 21, kvHeads: 2, headDim: 2, window: 8 },
]

describeEachDevice('kvCacheWrite', (device) => {
  for (const { layout, dtype, place } of LAYOUTS) {
    test.each(CASES)(
      `positions $positions, $length tokens, $kvHeads heads of $headDim, window $window, ${layout}`,
      async ({ kvHeads, ...rest }) => {
        const given = randomAttention({ ...rest, kvHeads, heads: kvHeads }, dtype)
        const { q: _, out: __, ...tensors } = attentionTensors(device(), given, place)
        await runOnce(device(), (cl) => cl.kvCacheWrite(tensors, { headDim: rest.headDim }))
        const places = slotsOf(rest.positions.length)
        const rings = (tokens: typeof given.k) =>
          inSlots(places, ringsAfter(tokens, rest.length, rest.window))
        expect(download(tensors.keys)).toEqual(rings(given.k))
        expect(download(tensors.values)).toEqual(rings(given.v))
        expect(download(tensors.position)).toEqual(rest.positions)
      },
    )
  }

  test('rows without a slot do nothing', async () => {
    const shape = { heads: 2, kvHeads: 2, headDim: 3, window: 8 }
    const given = randomAttention({ positions: [0, 3, 7, 8, 30], length: 9, ...shape })
    await expectRowsWithoutSlotDoNothing(
      device(),
      () => attentionTensors(device(), given, LAYOUTS[1]!.place),
      (cl, { q: _, out: __, ...tensors }) => cl.kvCacheWrite(tensors, { headDim: 3 }),
      { state: ['keys', 'values'], results: [] },
    )
  })
})

import { expect, test } from 'vitest'
import { download, LAYOUTS, runOnce } from '../support/arrays.js'
import { attentionTensors, randomAttention } from '../support/attention.js'
import { resultsOfNewTokens, ringsAfter } from '../support/sequences.js'
import { expectRowsWithoutSlotDoNothing, inSlots, slotsOf } from '../support/slots.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

const CASES = [
  { positions: [0], heads: 1, kvHeads: 1, headDim: 1, window: 1 },
  { positions: [0, 1, 5], heads: 4, kvHeads: 1, headDim: 3, window: 6 },
  { positions: [4, 5, 6, 7, 40], heads: 4, kvHeads: 2, headDim: 17, window: 6 }, // at the window's edge
  { positions: [9], heads: 2, kvHeads: 2, headDim: 5, window: 1 },
  { positions: [63, 100], heads: 16, kvHeads: 2, headDim: 32, window: 64 }, // shared by threads
  { positions: [9, 255, 256, 700], heads: 4, kvHeads: 2, headDim: 3, window: 500 }, // in parts on a GPU
]

describeEachDevice('attentionDecode', (device) => {
  for (const { layout, dtype, place } of LAYOUTS) {
    for (const scale of [undefined, 0.3]) {
      test.each(CASES)(
        `positions $positions, $heads heads of $headDim over $kvHeads, window $window, scale ${scale}, ${layout}`,
        async ({ positions, ...shape }) => {
          const scaled = scale === undefined ? {} : { scale }
          const given = randomAttention({ positions, length: 1, ...shape, ...scaled }, dtype)
          const tensors = attentionTensors(device(), given, place, { single: true })
          await runOnce(device(), (cl) =>
            cl.attentionDecode(tensors, { headDim: shape.headDim, ...scaled }),
          )
          expectClose(download(tensors.out), resultsOfNewTokens(given.expected, 1), dtype)
          const places = slotsOf(positions.length)
          expect(download(tensors.keys)).toEqual(
            inSlots(places, ringsAfter(given.k, 1, shape.window)),
          )
          expect(download(tensors.values)).toEqual(
            inSlots(places, ringsAfter(given.v, 1, shape.window)),
          )
          expect(download(tensors.position)).toEqual(positions)
        },
      )
    }
  }

  test.each([
    { positions: [4, 5, 6, 7, 40], heads: 4, kvHeads: 2, headDim: 17, window: 6 },
    { positions: [9, 0, 255, 256, 700], heads: 4, kvHeads: 2, headDim: 3, window: 500 },
  ])('rows without a slot do nothing, window $window', async (shape) => {
    const given = randomAttention({ length: 1, ...shape })
    await expectRowsWithoutSlotDoNothing(
      device(),
      () => attentionTensors(device(), given, LAYOUTS[0]!.place, { single: true }),
      (cl, tensors) => cl.attentionDecode(tensors, { headDim: shape.headDim }),
      { state: ['keys', 'values'], results: ['out'] },
    )
  })
})

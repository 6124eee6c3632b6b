import { expect, test } from 'vitest'
import { download, runOnce } from '../support/arrays.js'
import { ACTIVATION_TYPES } from '../support/devices.js'
import { expectedMamba2, mamba2Tensors, randomMamba2 } from '../support/mamba2.js'
import { expectRowsWithoutSlotDoNothing } from '../support/slots.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose, expectSame } from '../tolerance.js'

const SHAPES = [
  { positions: [0], heads: 1, headDim: 1, dState: 1, groups: 1, width: 4 },
  { positions: [0, 1, 2, 3, 4, 17], heads: 4, headDim: 3, dState: 17, groups: 2, width: 4 },
  { positions: [3, 0], heads: 6, headDim: 5, dState: 16, groups: 6, width: 1 },
  { positions: [7], heads: 2, headDim: 65, dState: 129, groups: 1, width: 3 },
  { positions: [5, 30], heads: 4, headDim: 64, dState: 128, groups: 1, width: 4 },
]

describeEachDevice('mamba2Update', (device) => {
  for (const activationType of ACTIVATION_TYPES) {
    for (const normBeforeGate of [false, true]) {
      for (const [convBias, dtLimit] of [
        [true, [0, Infinity]],
        [false, [0.3, 1.5]],
      ] as const) {
        test.each(SHAPES)(
          `${activationType}, positions $positions, $heads heads of $headDim, state $dState, $groups groups, width $width, ` +
            `norm ${normBeforeGate ? 'before' : 'after'} the gate, bias ${convBias}, dt in ${dtLimit}`,
          async (shape) => {
            const given = randomMamba2(shape, { convBias, dtLimit, activationType })
            const tensors = mamba2Tensors(device(), given)
            await runOnce(device(), (cl) =>
              cl.mamba2Update(tensors, { groups: shape.groups, dtLimit, normBeforeGate }),
            )
            const expected = expectedMamba2(given, normBeforeGate)
            expectClose(download(tensors.out), expected.out, activationType)
            expectClose(download(tensors.squares), expected.squares, 'float32')
            expectClose(download(tensors.ssmState), expected.ssmState, 'float32')
            expectSame(download(tensors.convState), expected.convState)
            expect(download(tensors.position)).toEqual(shape.positions)
          },
        )
      }
    }
  }

  // The discrete recurrence of Llamba, and each of its differences alone.
  for (const options of [
    { columns: 'xBCzdt', discrete: true, activation: 'none' },
    { columns: 'xBCzdt' },
    { discrete: true },
    { activation: 'none' },
  ] as const) {
    test.each(SHAPES)(
      `${JSON.stringify(options)}, positions $positions, $heads heads of $headDim, state $dState, $groups groups, width $width`,
      async (shape) => {
        for (const activationType of ACTIVATION_TYPES) {
          const given = randomMamba2(shape, { ...options, activationType })
          const tensors = mamba2Tensors(device(), given)
          await runOnce(device(), (cl) =>
            cl.mamba2Update(tensors, { groups: shape.groups, ...options }),
          )
          const expected = expectedMamba2(given, false)
          expectClose(download(tensors.out), expected.out, activationType)
          expectClose(download(tensors.ssmState), expected.ssmState, 'float32')
          expectSame(download(tensors.convState), expected.convState)
        }
      },
    )
  }

  for (const activationType of ACTIVATION_TYPES) {
    test(`rows without a slot do nothing, ${activationType}`, async () => {
      const shape = { heads: 4, headDim: 33, dState: 65, groups: 2, width: 4 }
      const given = randomMamba2({ positions: [0, 1, 2, 3, 17], ...shape }, { activationType })
      await expectRowsWithoutSlotDoNothing(
        device(),
        () => mamba2Tensors(device(), given),
        (cl, tensors) => cl.mamba2Update(tensors, { groups: 2 }),
        { state: ['convState', 'ssmState'], results: ['out', 'squares'] },
      )
    })
  }
})

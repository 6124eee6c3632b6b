import { test } from 'vitest'
import { download, LAYOUTS, runOnce } from '../support/arrays.js'
import { expectRowsWithoutSlotDoNothing } from '../support/slots.js'
import { expectedStateSpace, randomStateSpace, stateSpaceTensors } from '../support/state-space.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

const SHAPES = [
  { batch: 1, heads: 1, headDim: 1, dState: 1, groups: 1 },
  { batch: 2, heads: 4, headDim: 3, dState: 17, groups: 2 },
  { batch: 3, heads: 6, headDim: 5, dState: 16, groups: 6 },
  { batch: 2, heads: 16, headDim: 32, dState: 64, groups: 1 }, // large enough to be shared
]

describeEachDevice('ssdUpdate', (device) => {
  for (const { layout, dtype, place } of LAYOUTS) {
    for (const dtLimit of [
      [0, Infinity],
      [0.3, 1.5],
    ] as const) {
      test.each(SHAPES)(
        `batch $batch, $heads heads of $headDim, state $dState, $groups groups, dt in ${dtLimit}, ${layout}`,
        async (shape) => {
          const given = randomStateSpace({ ...shape, length: 1 }, dtLimit, dtype)
          const tensors = stateSpaceTensors(device(), given, place, { single: true })
          await runOnce(device(), (cl) => cl.ssdUpdate(tensors, { groups: shape.groups, dtLimit }))
          const expected = expectedStateSpace(given)
          expectClose(download(tensors.out), expected.y, dtype)
          expectClose(download(tensors.state), expected.state, 'float32')
        },
      )
    }
  }

  test.each(SHAPES)(
    'discrete: batch $batch, $heads heads of $headDim, state $dState, $groups groups',
    async (shape) => {
      for (const { dtype, place } of LAYOUTS) {
        const given = randomStateSpace({ ...shape, length: 1 }, [0, Infinity], dtype, true)
        const tensors = stateSpaceTensors(device(), given, place, { single: true })
        await runOnce(device(), (cl) =>
          cl.ssdUpdate(tensors, { groups: shape.groups, discrete: true }),
        )
        const expected = expectedStateSpace(given)
        expectClose(download(tensors.out), expected.y, dtype)
        expectClose(download(tensors.state), expected.state, 'float32')
      }
    },
  )

  test('rows without a slot do nothing', async () => {
    const shape = { batch: 5, length: 1, heads: 4, headDim: 33, dState: 65, groups: 2 }
    const given = randomStateSpace(shape)
    await expectRowsWithoutSlotDoNothing(
      device(),
      () => stateSpaceTensors(device(), given, LAYOUTS[0]!.place, { single: true }),
      (cl, tensors) => cl.ssdUpdate(tensors, { groups: 2 }),
      { state: ['state'], results: ['out'] },
    )
  })

  test('step sizes from almost nothing to thousands', async () => {
    const given = randomStateSpace({
      batch: 1,
      length: 1,
      heads: 8,
      headDim: 2,
      dState: 3,
      groups: 1,
    })
    given.sequences[0]![0]!.dt = [-1000, -90, -20, -1, 0, 19.9, 20.1, 3000]
    given.parameters.dtBias = new Array(8).fill(0)
    const tensors = stateSpaceTensors(device(), given, LAYOUTS[0]!.place, { single: true })
    await runOnce(device(), (cl) => cl.ssdUpdate(tensors))
    const expected = expectedStateSpace(given)
    expectClose(download(tensors.out), expected.y, 'float32')
    expectClose(download(tensors.state), expected.state, 'float32')
  })
})

import { expect, test } from 'vitest'
import { download, LAYOUTS, runOnce, upload } from '../support/arrays.js'
import { deltaUpdateTensors, expectedDeltaUpdate, randomDeltaUpdate } from '../support/delta.js'
import { expectRowsWithoutSlotDoNothing } from '../support/slots.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose, expectSame } from '../tolerance.js'

const SHAPES = [
  { positions: [0], keyHeads: 1, heads: 1, keyDim: 1, valueDim: 1, width: 1 },
  { positions: [0, 3, 17], keyHeads: 2, heads: 4, keyDim: 7, valueDim: 5, width: 4 },
  { positions: [2, 1], keyHeads: 1, heads: 4, keyDim: 33, valueDim: 12, width: 3 },
  { positions: [5, 40], keyHeads: 2, heads: 2, keyDim: 64, valueDim: 32, width: 4 },
  { positions: [9], keyHeads: 1, heads: 2, keyDim: 128, valueDim: 128, width: 4 },
  { positions: [9], keyHeads: 1, heads: 1, keyDim: 132, valueDim: 66, width: 9 },
]
const MIXED = SHAPES[1]!

describeEachDevice('deltaUpdate', (device) => {
  for (const { layout, dtype, place } of LAYOUTS) {
    test.each(SHAPES)(
      `positions $positions, $keyHeads heads of $keyDim, $heads of $valueDim, width $width, ${layout}`,
      async (shape) => {
        const given = randomDeltaUpdate(shape, dtype)
        const tensors = deltaUpdateTensors(device(), given, place)
        await runOnce(device(), (cl) => cl.deltaUpdate(tensors))
        const expected = expectedDeltaUpdate(given)
        expectClose(download(tensors.out), expected.out, dtype)
        expectClose(download(tensors.squares), expected.squares, 'float32')
        expectClose(download(tensors.state), expected.state, 'float32')
        expectSame(download(tensors.convState), expected.convState)
        expect(download(tensors.position)).toEqual(shape.positions)
      },
    )
  }

  test('heads that forget at once or never, and replace all or nothing', async () => {
    const given = randomDeltaUpdate(MIXED, 'float32')
    given.parameters.A = [-1e4, -100, -1e-6, 0]
    given.b = given.b.map((_, i) => [40, -90, 90, 9][i % 4]!)
    const tensors = deltaUpdateTensors(device(), given, LAYOUTS[0]!.place)
    await runOnce(device(), (cl) => cl.deltaUpdate(tensors))
    const expected = expectedDeltaUpdate(given)
    expectClose(download(tensors.out), expected.out, 'float32')
    expectClose(download(tensors.state), expected.state, 'float32')
  })

  test('rows without a slot do nothing', async () => {
    const given = randomDeltaUpdate({ ...MIXED, positions: [0, 1, 2, 3, 17] }, 'float32')
    await expectRowsWithoutSlotDoNothing(
      device(),
      () => deltaUpdateTensors(device(), given, LAYOUTS[1]!.place),
      (cl, tensors) => cl.deltaUpdate(tensors),
      { state: ['convState', 'state'], results: ['out', 'squares'] },
    )
  })

  test('refuses what does not fit', () => {
    const given = deltaUpdateTensors(
      device(),
      randomDeltaUpdate(MIXED, 'float32'),
      LAYOUTS[0]!.place,
    )
    const record = (tensors: Partial<typeof given>, eps?: number) => () =>
      device().record((cl) =>
        cl.deltaUpdate({ ...given, ...tensors }, eps === undefined ? {} : { eps }),
      )
    const floats = (...shape: number[]) => device().tensor('float32', shape)
    expect(record({ qkv: floats(3, 47) })).toThrow(
      '[deltaUpdate] q and k in qkv must have whole heads of 7 but has 13.5 columns',
    )
    expect(record({ qkv: floats(3, 62) })).toThrow('does not divide the heads of the state, 4')
    expect(record({ z: floats(3, 19) })).toThrow('[deltaUpdate] z must have shape (3, 20)')
    expect(record({ b: floats(3, 5) })).toThrow('b must have shape (3, 4)')
    expect(record({ a: floats(2, 4) })).toThrow('a must have shape (3, 4)')
    expect(record({ convState: floats(4, 4, 48) })).toThrow('convState must have shape (5, 4, 48)')
    expect(record({ A: floats(3) })).toThrow('A must have shape (4)')
    expect(record({ squares: floats(3, 20) })).toThrow('squares must have shape (3, 4)')
    expect(record({ rows: upload(device(), 'uint32', [2], [0, 1]) })).toThrow('rows')
    expect(record({}, NaN)).toThrow('eps must be a finite number, at least 0, but is NaN')
  })
})

import { expect, test } from 'vitest'
import { download, LAYOUTS, rowsOf, runOnce, unwritten, upload } from '../support/arrays.js'
import { expectRowsWithoutSlotDoNothing } from '../support/slots.js'
import {
  expectedStateSpace,
  randomStateSpace,
  type StateSpaceShape,
  stateSpaceTensors,
} from '../support/state-space.js'
import { loadOperationGoldens } from '../support/tensors-file.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose, GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'

const CASES: { shape: StateSpaceShape; chunkSize: number | undefined }[] = [
  { shape: shapeOf(1, 1, 1, 1, 1, 1), chunkSize: undefined },
  { shape: shapeOf(1, 1, 2, 3, 5, 1), chunkSize: 1 },
  { shape: shapeOf(2, 7, 2, 3, 17, 2), chunkSize: 3 }, // two chunks and one token
  { shape: shapeOf(1, 8, 3, 4, 16, 1), chunkSize: 8 }, // exactly one chunk
  { shape: shapeOf(3, 9, 4, 5, 7, 2), chunkSize: 8 }, // one past a chunk edge
  { shape: shapeOf(1, 65, 2, 4, 8, 2), chunkSize: undefined }, // one past the default edge
  { shape: shapeOf(1, 20, 6, 2, 33, 3), chunkSize: 100 }, // shorter than a chunk
  { shape: shapeOf(2, 33, 8, 16, 32, 4), chunkSize: 16 }, // large enough to be shared
  { shape: shapeOf(1, 75, 2, 35, 33, 1), chunkSize: 40 }, // more than a tile of a GPU each way
]

function shapeOf(
  batch: number,
  length: number,
  heads: number,
  headDim: number,
  dState: number,
  groups: number,
): StateSpaceShape {
  return { batch, length, heads, headDim, dState, groups }
}

const optionsOf = (
  groups: number,
  dtLimit: readonly [number, number],
  chunkSize: number | undefined,
) => ({ groups, dtLimit, ...(chunkSize === undefined ? {} : { chunkSize }) })

const apart = LAYOUTS[1]!.place

describeEachDevice('ssdChunkScan', (device) => {
  for (const { layout, dtype, place } of LAYOUTS) {
    for (const dtLimit of [
      [0, Infinity],
      [0.3, 1.5],
    ] as const) {
      test.each(CASES)(
        `$shape.batch x $shape.length tokens, $shape.heads heads of $shape.headDim, state $shape.dState, $shape.groups groups, chunks of $chunkSize, dt in ${dtLimit}, ${layout}`,
        async ({ shape, chunkSize }) => {
          const given = randomStateSpace(shape, dtLimit, dtype)
          const tensors = stateSpaceTensors(device(), given, place)
          await runOnce(device(), (cl) =>
            cl.ssdChunkScan(tensors, optionsOf(shape.groups, dtLimit, chunkSize)),
          )
          const expected = expectedStateSpace(given)
          expectClose(download(tensors.out), expected.y, dtype)
          expectClose(download(tensors.state), expected.state, 'float32')
        },
      )
    }
  }

  test.each(CASES)(
    'discrete: $shape.batch x $shape.length tokens, $shape.heads heads of $shape.headDim, state $shape.dState, $shape.groups groups, chunks of $chunkSize',
    async ({ shape, chunkSize }) => {
      for (const { dtype, place } of LAYOUTS.slice(1)) {
        const given = randomStateSpace(shape, [0, Infinity], dtype, true)
        const tensors = stateSpaceTensors(device(), given, place)
        const options = optionsOf(shape.groups, [0, Infinity], chunkSize)
        await runOnce(device(), (cl) => cl.ssdChunkScan(tensors, { ...options, discrete: true }))
        const expected = expectedStateSpace(given)
        expectClose(download(tensors.out), expected.y, dtype)
        expectClose(download(tensors.state), expected.state, 'float32')
      }
    },
  )

  test.each([false, true])(
    'continues from a state: chunks of any length and single tokens give one result, discrete %s',
    async (discrete) => {
      const shape = shapeOf(2, 23, 4, 3, 9, 2)
      const given = randomStateSpace(shape, [0, Infinity], 'float32', discrete)
      const expected = expectedStateSpace(given)
      const single = Array.from({ length: shape.length }, (_, t) => t + 1)
      for (const ends of [[10, 23], [1, 2, 22, 23], single, [13, ...single.slice(13)]]) {
        let state = stateSpaceTensors(device(), given, apart).state
        const y: number[][] = Array.from({ length: shape.batch }, () => [])
        let start = 0
        for (const end of ends) {
          const update = ends.length > 4 && end === start + 1
          const range = { start, end, state, single: update }
          const tensors = stateSpaceTensors(device(), given, apart, range)
          await runOnce(device(), (cl) => {
            const options = { groups: shape.groups, discrete }
            if (update) cl.ssdUpdate(tensors, options)
            else cl.ssdChunkScan(tensors, { ...options, chunkSize: 5 })
          })
          const out = download(tensors.out)
          for (const [b, row] of rowsOf(out, out.length / shape.batch).entries()) y[b]!.push(...row)
          state = tensors.state
          start = end
        }
        expectClose(y.flat(), expected.y, 'float32')
        expectClose(download(state), expected.state, 'float32')
      }
    },
  )

  test('rows without a slot do nothing', async () => {
    const shape = { batch: 5, length: 20, heads: 4, headDim: 33, dState: 65, groups: 2 }
    const given = randomStateSpace(shape)
    await expectRowsWithoutSlotDoNothing(
      device(),
      () => stateSpaceTensors(device(), given, apart),
      (cl, tensors) => cl.ssdChunkScan(tensors, { groups: 2, chunkSize: 8 }),
      { state: ['state'], results: ['out'] },
    )
  })

  test('heads that forget at once and heads that never do', async () => {
    const shape = shapeOf(1, 40, 4, 2, 3, 1)
    const given = randomStateSpace(shape)
    given.parameters.A = [-1e4, -100, -1e-6, 0]
    const tensors = stateSpaceTensors(device(), given, apart)
    await runOnce(device(), (cl) => cl.ssdChunkScan(tensors, { chunkSize: 16 }))
    const expected = expectedStateSpace(given)
    expectClose(download(tensors.out), expected.y, 'float32')
    expectClose(download(tensors.state), expected.state, 'float32')
  })

  test.each([
    { golden: 'y', state: 'state', dtLimit: [0, Infinity] },
    { golden: 'y_clamped', state: 'state_clamped', dtLimit: [0.01, 0.2] },
  ] as const)('golden $golden', async ({ golden, state: goldenState, dtLimit }) => {
    const goldens = await loadOperationGoldens('ssd_scan')
    const [length, heads, headDim] = goldens.x!.shape as [number, number, number]
    const [, groups, dState] = goldens.B!.shape as [number, number, number]
    const given = (name: string, ...shape: number[]) =>
      upload(device(), 'float32', shape, goldens[name]!.values)
    for (const chunkSize of [undefined, 1, 7, 70]) {
      const state = device().tensor('float32', [1, heads, headDim, dState])
      const out = unwritten(device(), [1, length, heads * headDim])
      await runOnce(device(), (cl) =>
        cl.ssdChunkScan(
          {
            x: given('x', 1, length, heads * headDim),
            dt: given('dt', 1, length, heads),
            A: given('A', heads),
            B: given('B', 1, length, groups * dState),
            C: given('C', 1, length, groups * dState),
            D: given('D', heads),
            dtBias: given('dt_bias', heads),
            state,
            rows: upload(device(), 'uint32', [1], [0]),
            out,
          },
          optionsOf(groups, dtLimit, chunkSize),
        ),
      )
      const error = (tensor: typeof out, name: string) =>
        relativeL2(download(tensor), goldens[name]!.values)
      expect(error(out, golden)).toBeLessThan(GOLDEN_RELATIVE_L2)
      expect(error(state, goldenState)).toBeLessThan(GOLDEN_RELATIVE_L2)
    }
  })
})

import { expect, test } from 'vitest'
import { download, LAYOUTS, rowsOf, runOnce } from '../support/arrays.js'
import {
  deltaScanTensors,
  type DeltaShape,
  expectedDeltaScan,
  randomDeltaScan,
} from '../support/delta.js'
import { expectRowsWithoutSlotDoNothing } from '../support/slots.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose, relativeL2 } from '../tolerance.js'

const heads = (keyHeads: number, count: number, keyDim: number, valueDim: number): DeltaShape => ({
  ...{ keyHeads, heads: count, keyDim, valueDim },
})
const SHAPES = [
  { batch: 1, length: 1, ...heads(1, 1, 1, 1) },
  { batch: 2, length: 2, ...heads(2, 4, 7, 5) }, // shorter than a convolution is wide
  { batch: 2, length: 9, ...heads(1, 4, 33, 12) },
  { batch: 1, length: 63, ...heads(2, 2, 16, 24) },
  { batch: 1, length: 64, ...heads(1, 2, 32, 64) }, // exactly a chunk
  { batch: 2, length: 65, ...heads(1, 2, 64, 32) }, // one past a chunk
  { batch: 1, length: 131, ...heads(1, 1, 132, 66) },
  { batch: 1, length: 70, ...heads(1, 2, 128, 128) },
]
const MIXED = SHAPES[1]!
const apart = LAYOUTS[1]!.place

describeEachDevice('deltaChunkScan', (device) => {
  for (const { layout, dtype, place } of LAYOUTS) {
    test.each(SHAPES)(
      `$batch x $length tokens, $keyHeads heads of $keyDim, $heads of $valueDim, ${layout}`,
      async (shape) => {
        const given = randomDeltaScan(shape, dtype)
        const tensors = deltaScanTensors(device(), given, place)
        await runOnce(device(), (cl) => cl.deltaChunkScan(tensors))
        const expected = expectedDeltaScan(given)
        expectClose(download(tensors.out), expected.out, dtype)
        expectClose(download(tensors.state), expected.state, 'float32')
      },
    )
  }

  test('continues from a state', async () => {
    const shape = { batch: 2, length: 90, ...heads(2, 4, 9, 5) }
    const given = randomDeltaScan(shape)
    const expected = expectedDeltaScan(given)
    for (const ends of [
      [10, 90],
      [1, 2, 66, 90],
      [64, 90],
    ]) {
      let state = deltaScanTensors(device(), given, apart).state
      const out: number[][] = Array.from({ length: shape.batch }, () => [])
      for (const [i, end] of ends.entries()) {
        const range = { start: ends[i - 1] ?? 0, end, state }
        const tensors = deltaScanTensors(device(), given, apart, range)
        await runOnce(device(), (cl) => cl.deltaChunkScan(tensors))
        const result = download(tensors.out)
        const rows = rowsOf(result, result.length / shape.batch)
        for (const [b, row] of rows.entries()) out[b]!.push(...row)
        state = tensors.state
      }
      expectClose(out.flat(), expected.out, 'float32')
      expectClose(download(state), expected.state, 'float32')
    }
  })

  test('rows without a slot do nothing', async () => {
    const given = randomDeltaScan({ ...MIXED, batch: 5, length: 70 })
    await expectRowsWithoutSlotDoNothing(
      device(),
      () => deltaScanTensors(device(), given, apart),
      (cl, tensors) => cl.deltaChunkScan(tensors),
      { state: ['state'], results: ['out'] },
    )
  })

  test('heads that forget at once or never, and replace all or nothing', async () => {
    const given = randomDeltaScan({ batch: 1, length: 80, ...heads(1, 4, 6, 3) })
    given.parameters.A = [-1e4, -100, -1e-6, 0]
    for (const [t, token] of given.sequences[0]!.entries()) {
      token.b = [90, -90, 9, 90].map((_, h) => [90, -90, 9, 90][(h + t) % 4]!)
    }
    const tensors = deltaScanTensors(device(), given, apart)
    await runOnce(device(), (cl) => cl.deltaChunkScan(tensors))
    const expected = expectedDeltaScan(given)
    expectClose(download(tensors.out), expected.out, 'float32')
    expectClose(download(tensors.state), expected.state, 'float32')
  })

  test('keys that are all alike, each of which replaces what the last one wrote', async () => {
    const given = randomDeltaScan({ batch: 1, length: 130, ...heads(1, 2, 16, 8) })
    given.parameters.A = [0, -1e-4]
    for (const token of given.sequences[0]!) {
      token.k = given.sequences[0]![0]!.k.map((x, i) => x + 1e-3 * token.k[i]!)
      token.b = [8, 90]
    }
    const tensors = deltaScanTensors(device(), given, apart)
    await runOnce(device(), (cl) => cl.deltaChunkScan(tensors))
    const expected = expectedDeltaScan(given)
    expectClose(download(tensors.out), expected.out, 'float32')
    expectClose(download(tensors.state), expected.state, 'float32')
  })

  test('errors do not grow with the position', async () => {
    const shape = { batch: 1, length: 3000, ...heads(1, 2, 16, 8) }
    const given = randomDeltaScan(shape)
    given.parameters.A = [-1e-6, -0.1]
    const tensors = deltaScanTensors(device(), given, LAYOUTS[0]!.place)
    await runOnce(device(), (cl) => cl.deltaChunkScan(tensors))
    const expected = expectedDeltaScan(given).out
    const actual = download(tensors.out)
    const last = actual.length - (100 * actual.length) / shape.length
    expect(relativeL2(actual, expected)).toBeLessThan(2e-6)
    expect(relativeL2(actual.slice(last), expected.slice(last))).toBeLessThan(2e-6)
  })

  test('refuses what does not fit', () => {
    const given = deltaScanTensors(device(), randomDeltaScan(MIXED), apart)
    const record = (tensors: Partial<typeof given>) => () =>
      device().record((cl) => cl.deltaChunkScan({ ...given, ...tensors }))
    const floats = (...shape: number[]) => device().tensor('float32', shape)
    expect(record({ q: floats(2, 2, 15) })).toThrow(
      '[deltaChunkScan] q must have whole heads of 7 but has 15 columns',
    )
    expect(record({ q: floats(2, 2, 21) })).toThrow('does not divide the heads of the state, 4')
    expect(record({ k: floats(2, 3, 14) })).toThrow('[deltaChunkScan] k must have shape (2, 2, 14)')
    expect(record({ v: floats(2, 2, 21) })).toThrow('v must have shape (2, 2, 20)')
    expect(record({ b: floats(2, 2, 5) })).toThrow('b must have shape (2, 2, 4)')
    expect(record({ a: floats(2, 2, 5) })).toThrow('a must have shape (2, 2, 4)')
    expect(record({ dtBias: floats(5) })).toThrow('dtBias must have shape (4)')
    expect(record({ out: floats(2, 2, 24) })).toThrow('out must have shape (2, 2, 20)')
  })
})

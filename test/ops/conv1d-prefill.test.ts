import { expect, test } from 'vitest'
import { causalConvolution } from '../reference/convolution.js'
import {
  download,
  LAYOUTS,
  rounded,
  rowsOf,
  runOnce,
  seededNormals,
  unwritten,
  upload,
  uploadApart,
} from '../support/arrays.js'
import { newTokens, randomBatch, resultsOfNewTokens, ringsAfter } from '../support/sequences.js'
import { slottedConvolution } from '../support/slotted-convolution.js'
import { expectRowsWithoutSlotDoNothing, inSlots, slotsOf } from '../support/slots.js'
import { loadOperationGoldens } from '../support/tensors-file.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose, expectSame, GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'

const CASES = [
  { positions: [0], length: 1, channels: 1, width: 4 },
  { positions: [0], length: 2, channels: 5, width: 4 }, // shorter than the convolution
  { positions: [2], length: 1, channels: 5, width: 4 },
  { positions: [0, 1, 2, 3, 17], length: 3, channels: 6, width: 4 },
  { positions: [5, 0], length: 4, channels: 3, width: 4 },
  { positions: [9, 6], length: 5, channels: 17, width: 4 },
  { positions: [1, 7], length: 6, channels: 3, width: 1 },
  { positions: [4, 2], length: 7, channels: 3, width: 3 },
  { positions: [3, 8], length: 60, channels: 160, width: 4 }, // large enough to be shared
]

// Without activation, wider than kernels are compiled for, and with gates, as short convolutions have them.
const VARIANTS = [
  { positions: [0], length: 1, channels: 1, width: 3, activation: 'none', gated: true },
  { positions: [0, 1, 17], length: 2, channels: 17, width: 3, activation: 'none', gated: true },
  { positions: [5, 2], length: 9, channels: 6, width: 4, activation: 'silu', gated: true },
  { positions: [2, 0, 40], length: 11, channels: 6, width: 16, activation: 'none', gated: false },
  { positions: [20, 3], length: 10, channels: 5, width: 7, activation: 'none', gated: true },
  { positions: [4], length: 3, channels: 5, width: 2, activation: 'none', gated: true },
] as const

describeEachDevice('conv1dPrefill', (device) => {
  for (const { layout, dtype, place } of LAYOUTS) {
    for (const withBias of [false, true]) {
      test.each(CASES)(
        `positions $positions, $length tokens of $channels channels, width $width, ${layout}${withBias ? ', bias' : ''}`,
        async ({ positions, length, channels, width }) => {
          const normals = seededNormals(channels * width)
          const activations = (count: number) => rounded(normals(count), dtype)
          const batch = randomBatch(activations, { positions, length, cols: channels })
          const weight = normals(channels * width)
          const bias = withBias ? normals(channels) : undefined
          const shape = [positions.length, length, channels]
          const places = slotsOf(positions.length)
          const stateShape = [places.slots, width, channels]
          const before = inSlots(places, ringsAfter(batch, 0, width))
          const state = upload(device(), dtype, stateShape, before)
          const position = upload(device(), 'uint32', [positions.length], positions)
          const out = unwritten(device(), shape, dtype)
          await runOnce(device(), (cl) =>
            cl.conv1dPrefill({
              x: place(device(), shape, newTokens(batch)),
              weight: upload(device(), 'float32', [channels, width], weight),
              bias: bias && upload(device(), 'float32', [channels], bias),
              state,
              position,
              rows: upload(device(), 'uint32', [positions.length], places.rows),
              out,
            }),
          )
          const expected = batch.sequences.map((tokens) =>
            causalConvolution(tokens, rowsOf(weight, width), bias),
          )
          expectClose(download(out), resultsOfNewTokens(expected, length), dtype)
          expectSame(download(state), inSlots(places, ringsAfter(batch, length, width)))
          expect(download(position)).toEqual([...positions])
        },
      )
    }
  }

  test.each(VARIANTS)(
    'positions $positions, $length tokens of $channels channels, width $width, activation $activation, gated $gated',
    async ({ positions, length, channels, width, activation, gated }) => {
      for (const { dtype, place } of LAYOUTS) {
        const normals = seededNormals(channels + width)
        const activations = (count: number) => rounded(normals(count), dtype)
        const batch = randomBatch(activations, { positions, length, cols: channels })
        const weight = normals(channels * width)
        const bias = normals(channels)
        const shape = [positions.length, length, channels]
        const x = newTokens(batch)
        const [inputGate, outputGate] = [activations(x.length), activations(x.length)]
        if (gated) {
          // What enters the convolution is rounded as the ring holds it.
          const products = rounded(
            x.map((value, i) => Math.fround(value * inputGate[i]!)),
            dtype,
          )
          for (const [i, row] of rowsOf(products, channels).entries()) {
            const b = Math.floor(i / length)
            batch.sequences[b]![positions[b]! + (i % length)] = row
          }
        }
        const places = slotsOf(positions.length)
        const state = upload(
          device(),
          dtype,
          [places.slots, width, channels],
          inSlots(places, ringsAfter(batch, 0, width)),
        )
        const out = unwritten(device(), shape, dtype)
        await runOnce(device(), (cl) =>
          cl.conv1dPrefill(
            {
              x: place(device(), shape, x),
              inputGate: gated ? place(device(), shape, inputGate) : undefined,
              outputGate: gated ? place(device(), shape, outputGate) : undefined,
              weight: upload(device(), 'float32', [channels, width], weight),
              bias: upload(device(), 'float32', [channels], bias),
              state,
              position: upload(device(), 'uint32', [positions.length], positions),
              rows: upload(device(), 'uint32', [positions.length], places.rows),
              out,
            },
            { activation },
          ),
        )
        const convolved = batch.sequences.map((tokens) =>
          causalConvolution(tokens, rowsOf(weight, width), bias, activation),
        )
        const expected = resultsOfNewTokens(convolved, length).map((value, i) =>
          gated ? value * outputGate[i]! : value,
        )
        expectClose(download(out), expected, dtype)
        expectSame(download(state), inSlots(places, ringsAfter(batch, length, width)))
      }
    },
  )

  test.each([
    { width: 4, gated: false },
    { width: 3, gated: true },
    { width: 6, gated: true },
  ])(
    'two chunks and single tokens give what one chunk gives, to the bit: width $width, gated $gated',
    async ({ width, gated }) => {
      const channels = 7
      const positions = [0, 3, 6]
      const length = 11
      const normals = seededNormals(1)
      const batch = randomBatch(normals, { positions, length, cols: channels })
      const gates = [1, 2].map(() => randomBatch(normals, { positions, length, cols: channels }))
      const weight = upload(device(), 'float32', [channels, width], normals(channels * width))
      const bias = upload(device(), 'float32', [channels], normals(channels))
      const places = slotsOf(positions.length)
      const rows = upload(device(), 'uint32', [positions.length], places.rows)

      /** Results of chunks that end at `ends`; with `update` those of one token use conv1dUpdate. */
      const results = async (ends: number[], update: boolean) => {
        const state = upload(
          device(),
          'float32',
          [places.slots, width, channels],
          inSlots(places, ringsAfter(batch, 0, width)),
        )
        const tokens: number[][] = Array.from({ length: positions.length }, () => [])
        let start = 0
        for (const end of ends) {
          const single = update && end === start + 1
          const shape = single
            ? [positions.length, channels]
            : [positions.length, end - start, channels]
          const place = (values: number[]) => uploadApart(device(), 'float32', shape, values)
          const x = place(newTokens(batch, start, end))
          const [inputGate, outputGate] = gates.map((gate) => place(newTokens(gate, start, end)))
          const out = unwritten(device(), shape)
          const seen = positions.map((before) => before + start)
          const position = upload(device(), 'uint32', [positions.length], seen)
          await runOnce(device(), (cl) => {
            const given = { x, weight, bias, state, position, rows, out }
            const tensors = gated ? { ...given, inputGate, outputGate } : given
            if (single) cl.conv1dUpdate(tensors)
            else cl.conv1dPrefill(tensors)
          })
          for (const [b, results] of rowsOf(download(out), (end - start) * channels).entries()) {
            tokens[b]!.push(...results)
          }
          start = end
        }
        return { out: tokens, state: download(state) }
      }

      const whole = await results([length], false)
      expect(await results([1, length], false)).toEqual(whole)
      expect(await results([3, 5, length], false)).toEqual(whole)
      const single = Array.from({ length }, (_, t) => t + 1)
      expect(await results(single, true)).toEqual(whole)
      expect(await results([6, ...single.slice(6)], true)).toEqual(whole)
    },
  )

  test('rows without a slot do nothing', async () => {
    await expectRowsWithoutSlotDoNothing(
      device(),
      slottedConvolution(device(), 9),
      (cl, tensors) => cl.conv1dPrefill(tensors),
      { state: ['state'], results: ['out'] },
    )
  })

  // The golden's state is the three inputs before the first, oldest first; our ring has a row for
  // each of the last four positions. Where the sequence stands must not matter.
  test.each([3, 4, 6, 1001])('golden, from position %i', async (start) => {
    const goldens = await loadOperationGoldens('conv1d_silu')
    const { x, y, weight, bias, state: before, next_state: after } = goldens
    const [length, channels] = x!.shape as [number, number]
    const width = 4
    const ringAt = (position: number, rows: number[][]) => {
      const ring = Array.from({ length: width }, () => new Array<number>(channels).fill(NaN))
      for (const [i, row] of rows.entries()) ring[(position - rows.length + i) % width] = row
      return ring
    }
    const given = (name: string, shape = goldens[name]!.shape) =>
      upload(device(), 'float32', shape, goldens[name]!.values)
    const initial = ringAt(start, rowsOf(before!.values, channels))
    const state = upload(device(), 'float32', [1, width, channels], initial.flat())
    const out = unwritten(device(), [1, length, channels])
    await runOnce(device(), (cl) =>
      cl.conv1dPrefill({
        x: given('x', [1, length, channels]),
        weight: given('weight'),
        bias: given('bias'),
        state,
        position: upload(device(), 'uint32', [1], [start]),
        rows: upload(device(), 'uint32', [1], [0]),
        out,
      }),
    )
    expect([weight!.shape, bias!.shape]).toEqual([[channels, width], [channels]])
    expect(relativeL2(download(out), y!.values)).toBeLessThan(GOLDEN_RELATIVE_L2)
    const ring = rowsOf(download(state), channels)
    for (const [i, row] of rowsOf(after!.values, channels).entries()) {
      expect(ring[(start + length - 3 + i) % width]).toEqual(row)
    }
  })
})

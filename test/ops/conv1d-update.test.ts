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
} from '../support/arrays.js'
import { newTokens, randomBatch, resultsOfNewTokens, ringsAfter } from '../support/sequences.js'
import { slottedConvolution } from '../support/slotted-convolution.js'
import { expectRowsWithoutSlotDoNothing, inSlots, slotsOf } from '../support/slots.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose, expectSame } from '../tolerance.js'

const CASES = [
  { positions: [0], channels: 1, width: 4 },
  { positions: [1], channels: 5, width: 4 },
  { positions: [0, 1, 2, 3, 4, 17], channels: 17, width: 4 },
  { positions: [3, 0], channels: 6, width: 1 },
  { positions: [7, 1], channels: 6, width: 3 },
  { positions: [2, 5, 8, 11, 14, 30], channels: 1500, width: 4 }, // large enough to be shared
]

// Without activation, wider than kernels are compiled for, and with gates, as short convolutions have them.
const VARIANTS = [
  { positions: [0, 1, 17], channels: 17, width: 3, activation: 'none', gated: true },
  { positions: [0], channels: 1, width: 4, activation: 'silu', gated: true },
  { positions: [2, 0, 40], channels: 6, width: 16, activation: 'none', gated: false },
  { positions: [20, 3], channels: 5, width: 7, activation: 'none', gated: true },
] as const

describeEachDevice('conv1dUpdate', (device) => {
  for (const { layout, dtype, place } of LAYOUTS) {
    for (const withBias of [false, true]) {
      test.each(CASES)(
        `positions $positions, $channels channels, width $width, ${layout}${withBias ? ', bias' : ''}`,
        async ({ positions, channels, width }) => {
          const normals = seededNormals(channels * width)
          const activations = (count: number) => rounded(normals(count), dtype)
          const batch = randomBatch(activations, { positions, length: 1, cols: channels })
          const weight = normals(channels * width)
          const bias = withBias ? normals(channels) : undefined
          const shape = [positions.length, channels]
          const places = slotsOf(positions.length)
          const stateShape = [places.slots, width, channels]
          const before = inSlots(places, ringsAfter(batch, 0, width))
          const state = upload(device(), dtype, stateShape, before)
          const position = upload(device(), 'uint32', [positions.length], positions)
          const out = unwritten(device(), shape, dtype)
          await runOnce(device(), (cl) =>
            cl.conv1dUpdate({
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
          expectClose(download(out), resultsOfNewTokens(expected, 1), dtype)
          expectSame(download(state), inSlots(places, ringsAfter(batch, 1, width)))
          expect(download(position)).toEqual(positions)
        },
      )
    }
  }

  test.each(VARIANTS)(
    'positions $positions, $channels channels, width $width, activation $activation, gated $gated',
    async ({ positions, channels, width, activation, gated }) => {
      for (const { dtype, place } of LAYOUTS) {
        const normals = seededNormals(channels + width)
        const activations = (count: number) => rounded(normals(count), dtype)
        const batch = randomBatch(activations, { positions, length: 1, cols: channels })
        const weight = normals(channels * width)
        const bias = normals(channels)
        const shape = [positions.length, channels]
        const x = newTokens(batch)
        const [inputGate, outputGate] = [activations(x.length), activations(x.length)]
        if (gated) {
          // What enters the convolution is rounded as the ring holds it.
          const products = rounded(
            x.map((value, i) => Math.fround(value * inputGate[i]!)),
            dtype,
          )
          for (const [i, row] of rowsOf(products, channels).entries()) {
            const b = Math.floor(i / 1)
            batch.sequences[b]![positions[b]! + (i % 1)] = row
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
          cl.conv1dUpdate(
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
        const expected = resultsOfNewTokens(convolved, 1).map((value, i) =>
          gated ? value * outputGate[i]! : value,
        )
        expectClose(download(out), expected, dtype)
        expectSame(download(state), inSlots(places, ringsAfter(batch, 1, width)))
      }
    },
  )

  test('rows without a slot do nothing', async () => {
    await expectRowsWithoutSlotDoNothing(
      device(),
      slottedConvolution(device()),
      (cl, tensors) => cl.conv1dUpdate(tensors),
      { state: ['state'], results: ['out'] },
    )
  })

  test('takes one row of each sequence of a longer tensor', async () => {
    const normals = seededNormals(5)
    const batch = randomBatch(normals, { positions: [2, 5], length: 3, cols: 4 })
    const weight = normals(16)
    const state = upload(device(), 'float32', [2, 4, 4], ringsAfter(batch, 1, 4))
    const out = unwritten(device(), [2, 4])
    await runOnce(device(), (cl) =>
      cl.conv1dUpdate({
        x: upload(device(), 'float32', [2, 3, 4], newTokens(batch)).select(1),
        weight: upload(device(), 'float32', [4, 4], weight),
        state,
        position: upload(device(), 'uint32', [2], [3, 6]),
        rows: upload(device(), 'uint32', [2], [0, 1]),
        out,
      }),
    )
    const expected = batch.sequences.flatMap(
      (tokens) => causalConvolution(tokens, rowsOf(weight, 4)).at(-2)!,
    )
    expectClose(download(out), expected, 'float32')
  })
})

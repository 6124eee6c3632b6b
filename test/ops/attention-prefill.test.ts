import { expect, test } from 'vitest'
import { slidingWindowAttention } from '../reference/attention.js'
import { download, LAYOUTS, rowsOf, runOnce, unwritten, upload } from '../support/arrays.js'
import { randomAttention, attentionTensors } from '../support/attention.js'
import { resultsOfNewTokens, ringsAfter } from '../support/sequences.js'
import { expectRowsWithoutSlotDoNothing, inSlots, slotsOf } from '../support/slots.js'
import { loadOperationGoldens } from '../support/tensors-file.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose, GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'

const CASES = [
  { positions: [0], length: 1, heads: 1, kvHeads: 1, headDim: 1, window: 1 },
  { positions: [0], length: 5, heads: 4, kvHeads: 1, headDim: 3, window: 8 },
  { positions: [0, 3], length: 9, heads: 4, kvHeads: 2, headDim: 5, window: 8 }, // one past the window
  { positions: [7, 8, 9, 30], length: 3, heads: 2, kvHeads: 2, headDim: 17, window: 8 },
  { positions: [5, 0], length: 20, heads: 2, kvHeads: 1, headDim: 4, window: 6 }, // chunk longer than the window
  { positions: [2, 40], length: 7, heads: 3, kvHeads: 3, headDim: 2, window: 1 },
  { positions: [20, 3], length: 24, heads: 8, kvHeads: 2, headDim: 16, window: 16 }, // shared by threads
  { positions: [50, 0], length: 40, heads: 2, kvHeads: 1, headDim: 35, window: 45 }, // more than a tile of a GPU each way
]

const apart = LAYOUTS[1]!.place

describeEachDevice('attentionPrefill', (device) => {
  for (const { layout, dtype, place } of LAYOUTS) {
    test.each(CASES)(
      `positions $positions, $length tokens, $heads heads of $headDim over $kvHeads, window $window, ${layout}`,
      async ({ positions, length, ...shape }) => {
        const given = randomAttention({ positions, length, ...shape }, dtype)
        const tensors = attentionTensors(device(), given, place)
        const before = [download(tensors.keys), download(tensors.values)]
        await runOnce(device(), (cl) => cl.attentionPrefill(tensors, { headDim: shape.headDim }))
        expectClose(download(tensors.out), resultsOfNewTokens(given.expected, length), dtype)
        expect([download(tensors.keys), download(tensors.values)]).toEqual(before)
        expect(download(tensors.position)).toEqual(positions)
      },
    )
  }

  test('another scale', async () => {
    const given = randomAttention({
      positions: [3],
      length: 4,
      heads: 2,
      kvHeads: 1,
      headDim: 4,
      window: 5,
      scale: 0.2,
    })
    const tensors = attentionTensors(device(), given, apart)
    await runOnce(device(), (cl) => cl.attentionPrefill(tensors, { headDim: 4, scale: 0.2 }))
    expectClose(download(tensors.out), resultsOfNewTokens(given.expected, 4), 'float32')
  })

  test('scores far from zero neither overflow nor give NaN', async () => {
    const given = randomAttention({
      positions: [3],
      length: 4,
      heads: 2,
      kvHeads: 1,
      headDim: 4,
      window: 5,
      scale: 1000,
    })
    const tensors = attentionTensors(device(), given, apart)
    await runOnce(device(), (cl) => cl.attentionPrefill(tensors, { headDim: 4, scale: 1000 }))
    expect(download(tensors.out).every(Number.isFinite)).toBe(true)
    // Rounding of scores of some thousands decides little: nearly all weight is on one key.
    expect(relativeL2(download(tensors.out), resultsOfNewTokens(given.expected, 4))).toBeLessThan(
      1e-2,
    )
  })

  test('chunks of any length, longer than the window too, and single tokens give one result', async () => {
    const [length, window] = [29, 8]
    const shape = { positions: [0, 5, 8], length, heads: 4, kvHeads: 2, headDim: 3, window }
    const given = randomAttention(shape)
    const single = Array.from({ length }, (_, t) => t + 1)
    for (const ends of [[9, length], [1, 8, 9, 28, length], single, [11, ...single.slice(11)]]) {
      let { keys, values } = attentionTensors(device(), given, apart)
      const out: number[][] = shape.positions.map(() => [])
      let start = 0
      for (const end of ends) {
        const decode = ends.length > 5 && end === start + 1
        const range = { start, end, single: decode, keys, values }
        const tensors = attentionTensors(device(), given, apart, range)
        await runOnce(device(), (cl) => {
          if (decode) cl.attentionDecode(tensors, { headDim: 3 })
          else {
            cl.attentionPrefill(tensors, { headDim: 3 })
            cl.kvCacheWrite(tensors, { headDim: 3 })
          }
        })
        const chunk = download(tensors.out)
        for (const [b, row] of rowsOf(chunk, chunk.length / out.length).entries()) {
          out[b]!.push(...row)
        }
        ;({ keys, values } = tensors)
        start = end
      }
      expectClose(out.flat(), resultsOfNewTokens(given.expected, length), 'float32')
      const places = slotsOf(shape.positions.length)
      expect(download(keys)).toEqual(inSlots(places, ringsAfter(given.k, length, window)))
      expect(download(values)).toEqual(inSlots(places, ringsAfter(given.v, length, window)))
    }
  })

  test('rows without a slot do nothing', async () => {
    const shape = { heads: 4, kvHeads: 2, headDim: 5, window: 8 }
    const given = randomAttention({ positions: [0, 3, 8, 9, 30], length: 9, ...shape })
    await expectRowsWithoutSlotDoNothing(
      device(),
      () => attentionTensors(device(), given, apart),
      (cl, tensors) => cl.attentionPrefill(tensors, { headDim: 5 }),
      { state: ['keys', 'values'], results: ['out'] },
    )
  })

  // The golden is one sequence from its start, of 50 tokens in a window of 16.
  test.each([{ ends: [50] }, { ends: [16, 17, 49, 50] }])(
    'golden, chunks to $ends',
    async ({ ends }) => {
      const { q, kv, y } = await loadOperationGoldens('sliding_window_attention')
      const [length, heads, headDim] = q!.shape as [number, number, number]
      const window = 16
      // (length, 2, 1, headDim): the key and the value of a token side by side.
      const pairs = upload(device(), 'float32', [1, length, 2 * headDim], kv!.values)
      const queries = upload(device(), 'float32', [1, length, heads * headDim], q!.values)
      const keys = device().tensor('float32', [1, window, headDim])
      const values = device().tensor('float32', [1, window, headDim])
      const position = device().tensor('uint32', [1])
      const rows = upload(device(), 'uint32', [1], [0])
      const outputs: number[] = []
      let start = 0
      for (const end of ends) {
        const part = (tensor: typeof pairs, from: number, to: number) => {
          const rows = rowsOf(download(tensor), tensor.cols).slice(start, end)
          const shape = [1, end - start, tensor.cols]
          return upload(device(), 'float32', shape, rows.flat()).columns(from, to)
        }
        const out = unwritten(device(), [1, end - start, heads * headDim])
        await runOnce(device(), (cl) => {
          const tensors = {
            q: part(queries, 0, heads * headDim),
            k: part(pairs, 0, headDim),
            v: part(pairs, headDim, 2 * headDim),
            keys,
            values,
            position,
            rows,
            out,
          }
          cl.attentionPrefill(tensors, { headDim })
          cl.kvCacheWrite(tensors, { headDim })
        })
        outputs.push(...download(out))
        start = end
        position.write(Uint32Array.of(start))
      }
      expect(relativeL2(outputs, y!.values)).toBeLessThan(GOLDEN_RELATIVE_L2)
    },
  )

  test('the reference attends to nothing but the window', () => {
    const shape = { heads: 1, kvHeads: 1, headDim: 1, window: 2, scale: 1 }
    const tokens = [[0], [0], [0]]
    expect(slidingWindowAttention(tokens, tokens, [[1], [3], [5]], shape)).toEqual([[1], [2], [4]])
  })
})

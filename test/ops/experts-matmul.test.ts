import { expect, test } from 'vitest'
import { silu } from '../reference/activations.js'
import {
  download,
  rounded,
  rowsOf,
  runOnce,
  seededActivations,
  seededNormals,
  unwritten,
  upload,
  uploadApart,
} from '../support/arrays.js'
import { ACTIVATION_TYPES } from '../support/devices.js'
import { choices, chosenOn, chunkOn, EXPERTS, expectedOfExperts } from '../support/experts.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

describeEachDevice('expertsMatmul', (device) => {
  for (const dtype of ACTIVATION_TYPES) {
    test.each(['float32', 'float16', 'bfloat16'] as const)(
      `weight %s, ${dtype}`,
      async (weightType) => {
        for (const [inputs, outputs, expertRows] of [
          [1, 1, 1],
          [37, 21, 21],
          [130, 6, 12], // gate of an expert whose gate and up follow one another
        ] as const) {
          const rows = (EXPERTS - 1) * expertRows + outputs
          const weight = rounded(seededNormals(inputs)(rows * inputs), weightType)
          const x = seededActivations(outputs, dtype)(3 * inputs, 1 / Math.sqrt(inputs))
          const gate = seededActivations(rows, dtype)(6 * outputs)
          const matrix = upload(device(), weightType, [rows, inputs], weight)
          const plain = unwritten(device(), [3, 2, outputs], dtype)
          const gated = unwritten(device(), [3, 2, outputs], dtype)
          const options = { experts: EXPERTS, expertRows }
          await runOnce(device(), (cl) => {
            const input = uploadApart(device(), dtype, [3, inputs], x)
            cl.expertsMatmul(input, matrix, chosenOn(device()), plain, options)
            cl.expertsMatmul(input, matrix, chosenOn(device()), gated, {
              ...options,
              activation: 'silu',
              gate: upload(device(), dtype, [3, 2, outputs], gate),
            })
          })
          const [xs, weights] = [rowsOf(x, inputs), rowsOf(weight, inputs)]
          const sums = expectedOfExperts(xs, weights, outputs, expertRows, (sum) => sum)
          expectClose(download(plain), sums, dtype)
          const products = sums.map((sum, i) => silu(sum) * gate[i]!)
          expectClose(download(gated), products, dtype)
        }
      },
    )
  }

  for (const dtype of ACTIVATION_TYPES) {
    test.each([
      { tokens: 1, k: 1, experts: 1, used: 1, inputs: 3, outputs: 2 },
      { tokens: 65, k: 1, experts: 2, used: 1, inputs: 37, outputs: 65 }, // one past two tiles
      { tokens: 43, k: 3, experts: 5, used: 4, inputs: 70, outputs: 33 },
      { tokens: 530, k: 1, experts: 1, used: 1, inputs: 5, outputs: 3 }, // more than are packed at once
      { tokens: 9, k: 2, experts: 40, used: 40, inputs: 36, outputs: 7 }, // a tile would not pay
    ])(
      `a chunk, $tokens tokens, $k of $experts experts, $inputs to $outputs, ${dtype}`,
      async ({ tokens, k, experts, used, inputs, outputs }) => {
        const chosen = choices(tokens, k, used)
        for (const weightType of ['float32', 'float16', 'bfloat16'] as const) {
          const expertRows = weightType === 'float16' ? outputs : 2 * outputs
          const rows = experts * expertRows
          const weight = rounded(seededNormals(inputs)(rows * inputs), weightType)
          const perProduct = weightType === 'bfloat16'
          const leading = perProduct ? [tokens, k] : [tokens]
          const x = seededActivations(outputs, dtype)(
            leading.reduce((a, b) => a * b) * inputs,
            1 / Math.sqrt(inputs),
          )
          const gate = seededActivations(rows, dtype)(tokens * k * outputs)
          const out = unwritten(device(), [tokens, k, outputs], dtype)
          await runOnce(device(), (cl) => {
            const on = chunkOn(device(), cl, chosen, experts)
            const input = uploadApart(device(), dtype, [...leading, inputs], x)
            const matrix = upload(device(), weightType, [rows, inputs], weight)
            cl.expertsMatmul(input, matrix, on.chosen, out, {
              ...{ experts, expertRows, tiles: on.tiles, activation: 'silu' },
              gate: upload(device(), dtype, out.shape, gate),
            })
          })
          const expected = expectedOfExperts(
            rowsOf(x, inputs),
            rowsOf(weight, inputs),
            outputs,
            expertRows,
            (sum, i) => silu(sum) * gate[i]!,
            chosen,
          )
          expectClose(download(out), expected, dtype)
        }
      },
    )
  }

  test('a number that is no expert reads the last one', async () => {
    const weight = upload(device(), 'float32', [2, 1], [3, 5])
    const out = unwritten(device(), [1, 1, 1])
    await runOnce(device(), (cl) => {
      const x = upload(device(), 'float32', [1, 1], [1])
      const chosen = upload(device(), 'uint32', [1, 1], [0xffffffff])
      cl.expertsMatmul(x, weight, chosen, out, { experts: 2 })
    })
    expect(download(out)).toEqual([5])
  })
})

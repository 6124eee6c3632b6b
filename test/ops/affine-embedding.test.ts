import { expect, test } from 'vitest'
import { embedding } from '../reference/linear.js'
import { AFFINE_FORMATS, affineMatrix } from '../support/affine.js'
import { download, FLOAT_TYPES, runOnce, unwritten, upload } from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

describeEachDevice('affineEmbedding', (device) => {
  for (const scaleType of FLOAT_TYPES) {
    test.each(AFFINE_FORMATS)(
      `$bits bits in groups of $groupSize, ${scaleType} scales`,
      async ({ bits, groupSize }) => {
        const cols = 3 * groupSize
        const specification = { rows: 9, cols, bits, groupSize, scaleType, seed: bits }
        const { tensors, values } = affineMatrix(device(), specification)
        const tokens = [8, 0, 3, 3]
        const out = unwritten(device(), [2, 2, cols])
        await runOnce(device(), (cl) =>
          cl.affineEmbedding(upload(device(), 'uint32', [2, 2], tokens), tensors, out),
        )
        const expected = embedding(tokens, values).flat()
        expectClose(download(out), expected, 'float32')
        await runOnce(device(), (cl) =>
          cl.affineEmbedding(upload(device(), 'uint32', [2, 2], tokens), tensors, out, {
            scale: 0.5,
          }),
        )
        expectClose(
          download(out),
          expected.map((value) => value / 2),
          'float32',
        )
      },
    )
  }

  test('a token id outside the table fails the run; a GPU takes the last row', async () => {
    const { tensors, values } = affineMatrix(device(), {
      rows: 4,
      cols: 32,
      bits: 8,
      groupSize: 32,
      scaleType: 'float32',
      seed: 1,
    })
    const tokens = upload(device(), 'uint32', [1], [0xffffffff])
    const out = unwritten(device(), [1, 32])
    const run = runOnce(device(), (cl) => cl.affineEmbedding(tokens, tensors, out))
    if (device().name === 'metal') {
      await run
      return expectClose(download(out), values[3]!, 'float32')
    }
    await expect(run).rejects.toThrow(
      '[affineEmbedding] token id 4294967295 is outside the vocabulary of 4',
    )
  })
})

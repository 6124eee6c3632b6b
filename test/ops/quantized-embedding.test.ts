import { expect, test } from 'vitest'
import { embedding } from '../reference/linear.js'
import { affineMatrix, EVERY_FORMAT } from '../support/quantized.js'
import { download, rounded, runOnce, unwritten, upload } from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

describeEachDevice('quantizedEmbedding', (device) => {
  test.each(EVERY_FORMAT)('$name', async ({ groupSize, make }) => {
    const cols = 3 * groupSize
    const { tensors, values } = make(device(), 9, cols)
    const ids = [8, 0, 3, 3]
    const out = unwritten(device(), [2, 2, cols])
    const expected = embedding(ids, values).flat()
    const tokens = upload(device(), 'uint32', [2, 2], ids)
    await runOnce(device(), (cl) => cl.quantizedEmbedding(tokens, tensors, out))
    expectClose(download(out), expected, 'float32')
    const scale = 11.57
    await runOnce(device(), (cl) => cl.quantizedEmbedding(tokens, tensors, out, { scale }))
    // As MLX, which looks tables of four-bit floats up as bfloat16 and multiplies in it.
    const isAffine = (tensors.mode ?? 'affine') === 'affine'
    const factor = isAffine ? scale : rounded([scale], 'bfloat16')[0]!
    const scaled = expected.map((value) => factor * value)
    expectClose(download(out), isAffine ? scaled : rounded(scaled, 'bfloat16'), 'float32')
  })

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
    const run = runOnce(device(), (cl) => cl.quantizedEmbedding(tokens, tensors, out))
    if (device().name === 'metal') {
      await run
      return expectClose(download(out), values[3]!, 'float32')
    }
    await expect(run).rejects.toThrow(
      '[quantizedEmbedding] token id 4294967295 is outside the vocabulary of 4',
    )
  })
})

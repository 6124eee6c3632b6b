import { expect, test } from 'vitest'
import { softmax } from '../reference/attention.js'
import { download, rowsOf, runOnce, seededNormals, unwritten, upload } from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectClose } from '../tolerance.js'

describeEachDevice('crossEntropy', (device) => {
  test.each([[1], [7], [1, 1], [3, 17], [2, 3, 100], [30, 2000]].map((shape) => ({ shape })))(
    'shape $shape',
    async ({ shape }) => {
      const vocabulary = shape.at(-1)!
      const leading = shape.slice(0, -1)
      const logits = rowsOf(
        seededNormals(vocabulary)(
          shape.reduce((a, b) => a * b),
          3,
        ),
        vocabulary,
      )
      const targets = logits.map((_, row) => (row * 5 + vocabulary - 1) % vocabulary)
      const out = unwritten(device(), leading)
      await runOnce(device(), (cl) =>
        cl.crossEntropy(
          upload(device(), 'float32', shape, logits.flat()),
          upload(device(), 'uint32', leading, targets),
          out,
        ),
      )
      const expected = logits.map((row, r) => -Math.log(softmax(row)[targets[r]!]!))
      expectClose(download(out), expected, 'float32')
    },
  )

  test('large logits neither overflow nor lose what is left; NaN is passed on', async () => {
    const rows = [
      [1000, 1000, -1000],
      [-5000, -5001, -5000],
      [1, NaN, 2],
      [-Infinity, 0, 0],
    ]
    const out = unwritten(device(), [4])
    await runOnce(device(), (cl) =>
      cl.crossEntropy(
        upload(device(), 'float32', [4, 3], rows.flat()),
        upload(device(), 'uint32', [4], [2, 1, 0, 1]),
        out,
      ),
    )
    const expected = [2000 + Math.log(2), 1 + Math.log(2 + Math.exp(-1)), NaN, Math.log(2)]
    expectClose(download(out), expected, 'float32')
  })

  test('a target outside the vocabulary fails the run; a GPU takes the last token', async () => {
    const out = device().tensor('float32', [2])
    const run = runOnce(device(), (cl) =>
      cl.crossEntropy(
        upload(device(), 'float32', [2, 3], [1, 1, 1, 0, 0, 50]),
        upload(device(), 'uint32', [2], [0, 3]),
        out,
      ),
    )
    if (device().name === 'metal') {
      await run
      return expectClose(download(out), [Math.log(3), 0], 'float32')
    }
    await expect(run).rejects.toThrow('[crossEntropy] token id 3 is outside the vocabulary of 3')
  })
})

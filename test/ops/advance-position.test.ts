import { expect, test } from 'vitest'
import { download, runOnce, upload } from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'

describeEachDevice('advancePosition', (device) => {
  test('adds the count to the position of each sequence, at every run', async () => {
    const position = upload(device(), 'uint32', [3], [0, 7, 4_000_000_000])
    using list = device().record((cl) => cl.advancePosition(position, 5))
    await list.run()
    await list.run()
    expect(download(position)).toEqual([10, 17, 4_000_000_010])
  })

  test('leaves what lies beside the position alone', async () => {
    const whole = upload(device(), 'uint32', [4], [1, 1, 1, 1])
    await runOnce(device(), (cl) => cl.advancePosition(whole.columns(1, 3), 2))
    expect(download(whole)).toEqual([1, 3, 3, 1])
  })
})

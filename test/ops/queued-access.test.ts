// Memory that runs in flight use, read and written in their order.

import { expect, test } from 'vitest'
import { Readback } from '../../lib/operations/readback.js'
import { upload } from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'

describeEachDevice('device.read and device.write', (device) => {
  test('take their turn among runs', async () => {
    const x = upload(device(), 'float32', [3], [1, 2, 3])
    const list = device().record((cl) => cl.add(x, x, x))
    const data = Float32Array.of(10, 20, 30)
    const results = [
      device().read(x),
      list.run(),
      device().read(x),
      list.run(),
      device().write(x, data),
      device().read(x),
      list.run(),
      device().read(x),
    ]
    data.fill(-1) // copied before write returned
    expect(() => x.read()).toThrow('a run in flight writes this memory: await it first')
    const ended = await Promise.all(results)
    const read = [0, 2, 5, 7].map((i) => [...(ended[i] as Float32Array)])
    expect(read).toEqual([
      [1, 2, 3],
      [2, 4, 6],
      [10, 20, 30],
      [20, 40, 60],
    ])
  })

  test('refuse what does not fit', async () => {
    const x = device().tensor('float32', [2, 3])
    await expect(device().read(x.columns(0, 2))).rejects.toThrow('[copy] x must be contiguous')
    await expect(device().write(x, new Float32Array(5))).rejects.toThrow('data has 5')
    await expect(device().write(x, new Uint32Array(6))).rejects.toThrow('[write] float32 takes a')
    await expect(device().read(x, { singal: 1 } as object)).rejects.toThrow('did you mean "signal"')
    const reason = new Error('no')
    await expect(device().read(x, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  test('a readback may be under way any number of times, and be disposed of meanwhile', async () => {
    const count = device().tensor('float32', [1])
    const one = upload(device(), 'float32', [1], [1])
    const list = device().record((cl) => cl.add(count, one, count))
    const readback = new Readback(device(), [count, one])
    const reads = Array.from({ length: 5 }, () => {
      void list.run()
      return readback.read()
    })
    readback.dispose()
    const read = (await Promise.all(reads)).map(([counts, ones]) => [counts![0], ones![0]])
    expect(read).toEqual([1, 2, 3, 4, 5].map((value) => [value, 1]))
  })
})

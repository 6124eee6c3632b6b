import { expect, test } from 'vitest'
import { describeEachDevice } from '../support/with-device.js'

const TYPES = ['float32', 'float16', 'bfloat16', 'uint32'] as const

describeEachDevice('copy', (device) => {
  test.each(TYPES)('%s keeps all bits, and touches nothing else', async (dtype) => {
    for (const shape of [[1], [3, 17], [5, 7, 9], [2, 3000]]) {
      const count = shape.reduce((a, b) => a * b)
      const bits = Uint32Array.from({ length: count }, (_, i) => Math.imul(i + 1, 0x9e3779b1))
      const data =
        dtype === 'uint32'
          ? bits
          : dtype === 'float32'
            ? new Float32Array(bits.buffer)
            : Uint16Array.from(bits)
      const x = device().tensor(dtype, shape, data)
      const wide = device().tensor(dtype, [count + 2])
      using list = device().record((cl) => cl.copy(x, wide.columns(1, count + 1).view(shape)))
      await list.run()
      const bytes = (array: ArrayBufferView) =>
        Buffer.from(array.buffer, array.byteOffset, array.byteLength)
      const result = wide.read()
      expect(bytes(result.subarray(1, count + 1)).equals(bytes(data))).toBe(true)
      expect([result[0], result[count + 1]]).toEqual([0, 0])
    }
  })
})

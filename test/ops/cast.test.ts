import { expect, test } from 'vitest'
import { decodeFloat, encodeFloat, FLOAT_FORMATS } from '../reference/float-formats.js'
import {
  download,
  FLOAT_TYPES,
  rounded,
  runOnce,
  seededNormals,
  upload,
} from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'
import { expectSame } from '../tolerance.js'

const HALF_TYPES = ['float16', 'bfloat16'] as const
const ALL_BITS = Uint16Array.from({ length: 2 ** 16 }, (_, bits) => bits)

test('the reference formats have the values of the standard', () => {
  const { float16, bfloat16 } = FLOAT_FORMATS
  expect(decodeFloat(0x3c00, float16)).toBe(1)
  expect(decodeFloat(0x7bff, float16)).toBe(65504)
  expect(decodeFloat(0x0001, float16)).toBe(2 ** -24)
  expect(decodeFloat(0xfc00, float16)).toBe(-Infinity)
  expect(decodeFloat(0x3f80, bfloat16)).toBe(1)
  expect(decodeFloat(0x4049, bfloat16)).toBe(3.140625)
  expect(encodeFloat(1 / 3, float16)).toBe(0x3555)
  expect(encodeFloat(65519, float16)).toBe(0x7bff)
  expect(encodeFloat(65520, float16)).toBe(0x7c00)
  expect(encodeFloat(2 ** -25, float16)).toBe(0)
  expect(encodeFloat(-(2 ** -24), float16)).toBe(0x8001)
})

describeEachDevice('cast', (device) => {
  test.each(HALF_TYPES)('every %s to float32, and back to the same bits', async (dtype) => {
    const x = device().tensor(dtype, [2 ** 16], ALL_BITS)
    const wide = device().tensor('float32', [2 ** 16])
    const back = device().tensor(dtype, [2 ** 16])
    await runOnce(device(), (cl) => {
      cl.cast(x, wide)
      cl.cast(wide, back)
    })
    const format = FLOAT_FORMATS[dtype]
    expectSame(
      download(wide),
      Array.from(ALL_BITS, (bits) => decodeFloat(bits, format)),
    )
    // Whether a NaN keeps its payload is left open; that it stays one is not.
    const numbers = (bits: ArrayLike<number>) =>
      Array.from(bits, (b) => (Number.isNaN(decodeFloat(b, format)) ? NaN : b))
    expectSame(numbers(back.read()), numbers(ALL_BITS))
  })

  test.each(HALF_TYPES)('float32 to %s rounds to nearest, ties to even', async (dtype) => {
    const format = FLOAT_FORMATS[dtype]
    // Around every representable number and every middle between two: the value and its neighbours.
    const values: number[] = [0, -0, 1e-45, -1e-45, 3.4e38, -3.4e38, Infinity, -Infinity, NaN]
    for (let bits = 0; bits < 2 ** 15 - 1; bits += 7) {
      const value = decodeFloat(bits, format)
      const next = decodeFloat(bits + 1, format)
      if (!Number.isFinite(next)) continue
      for (const exact of [value, (value + next) / 2]) {
        const bitsOf = new Uint32Array(Float32Array.of(exact).buffer)
        for (const step of [-1, 0, 1]) {
          const neighbour = new Float32Array(Uint32Array.of(Math.max(bitsOf[0]! + step, 0)).buffer)
          values.push(neighbour[0]!, -neighbour[0]!)
        }
      }
    }
    const x = upload(device(), 'float32', [values.length], values)
    const out = device().tensor(dtype, [values.length])
    await runOnce(device(), (cl) => cl.cast(x, out))
    expectSame(
      out.read(),
      values.map((value) => encodeFloat(value, format)),
    )
  })

  for (const from of FLOAT_TYPES) {
    test.each(FLOAT_TYPES)(`${from} to %s, odd lengths`, async (to) => {
      for (const shape of [[1], [3, 17], [5, 7, 9]]) {
        const count = shape.reduce((a, b) => a * b)
        const values = rounded(seededNormals(count)(count), from)
        const out = device().tensor(to, shape)
        await runOnce(device(), (cl) => cl.cast(upload(device(), from, shape, values), out))
        expect(download(out)).toEqual(rounded(values, to))
      }
    })
  }
})

import { expect, test } from 'vitest'
import { bytesToFloat32, floatToHalf } from '../../lib/weights/convert.js'

// All float16 numbers, as IEEE 754 defines them.
const halves = Uint16Array.from({ length: 2 ** 16 }, (_, half) => half)
const numbers = Array.from(halves, (half) => {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >> 10) & 0x1f
  const fraction = half & 0x3ff
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return exponent === 0
    ? sign * fraction * 2 ** -24
    : sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
})

test('every float16 becomes the same number', () => {
  expect([...bytesToFloat32('float16', halves.slice().buffer)]).toEqual(numbers)
})

test('every number of float16 becomes the same float16', () => {
  for (const [half, number] of numbers.entries()) {
    if (!Number.isNaN(number)) expect(floatToHalf(number)).toBe(half)
  }
})

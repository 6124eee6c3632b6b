// The product that a device is checked with: that right ones pass, at full size too, and that no wrong
// output escapes.

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createDevice } from '../../lib/operations/create-device.js'
import type { Device } from '../../lib/operations/device.js'
import { Recorder } from '../../lib/operations/recorder.js'
import { CHECK_SIZES } from '../../lib/self-check/checks.js'
import { checkProduct } from '../../lib/self-check/product.js'
import { bytesPerElement, Tensor } from '../../lib/operations/tensor.js'
import { worstElement } from '../../lib/verify/tolerance.js'
import { Inputs, SharedNumbers } from '../../lib/verify/inputs.js'
import { numbersOf } from '../../lib/weights/convert.js'
import { affine } from '../../lib/weights/formats/affine.js'
import { ALL_FORMATS, formatName } from '../../lib/weights/formats/formats.js'
import { plain, type PlainWeight } from '../../lib/weights/formats/plain.js'
import { seededIntegers } from '../unit/random.js'

const named = ALL_FORMATS.map((format) => [formatName(format), format] as const)
const short = CHECK_SIZES.short.product

let device: Device
beforeAll(() => {
  device = createDevice('cpu')
})
afterAll(() => device.dispose())

describe('the host reads what the device reads', () => {
  it.each(named)('%s', async (_, format) => {
    const [rows, cols] = [3, 256]
    const inputs = new Inputs(device, new SharedNumbers(), 'float32', 'float32')
    const weight = inputs.weight(format, rows, cols)
    const out = inputs.result([rows, cols])
    using list = device.record((cl) => {
      if (weight.dequantize) return weight.dequantize(cl, out)
      const { matrix } = weight as PlainWeight
      if (matrix.dtype === 'float32') cl.add(matrix, zeros(rows, cols), out)
      else cl.cast(matrix, out)
    })
    await list.run()
    const read = weight.readRows()
    const row = new Float64Array(cols)
    for (let r = 0; r < rows; r++) {
      read(r, row)
      const expected = numbersOf(out).subarray(r * cols, (r + 1) * cols)
      // float32 rounds scale * q before it adds the bias; neighbours are 0.0003 apart.
      const { error } = worstElement(row, expected, 'float32')!
      expect(error).toBeLessThan(format.kind === 'plain' ? 1e-12 : 1e-7)
    }
    inputs.dispose()
  })
})

const zeros = (rows: number, cols: number) => device.tensor('float32', [rows, cols])

describe('passes on the CPU device', () => {
  it.each(named)('%s', async (_, format) => {
    const outcome = await checkProduct(device, format, 'float32', short)
    expect(outcome).toMatchObject({ passed: true })
    expect(outcome.limit).toBeGreaterThan(0)
  })

  it.each([
    plain.all[0]!,
    plain.all[2]!,
    ...affine.all.filter(({ groupSize, scaleType }) => groupSize === 64 && scaleType === 'float16'),
  ])('at full size: %j', { timeout: 120_000 }, async (format) => {
    const { product } = CHECK_SIZES.full
    expect(product).toEqual({ rows: 1024, inputs: 2048, outputs: 2048, probes: 256 })
    const outcome = await checkProduct(device, format, 'float32', product)
    expect(outcome).toMatchObject({ passed: true })
  })
})

type Matmul = Recorder['matmul']

/** Runs the check with `matmul` recorded in another way. */
async function checkWith(matmul: (original: Matmul, ...given: Parameters<Matmul>) => void) {
  const original = Recorder.prototype.matmul
  const spy = vi.spyOn(Recorder.prototype, 'matmul')
  spy.mockImplementation(function (this: Recorder, ...given) {
    matmul.call(this, original.bind(this), ...given)
  })
  try {
    return await checkProduct(device, plain.all[0]!, 'float32', short)
  } finally {
    spy.mockRestore()
  }
}

describe('finds', () => {
  const integers = seededIntegers(7)
  const places = Array.from({ length: 12 }, () => integers(short.rows * short.outputs))

  it.each(places)('one output that is off by 0.01: %i', async (place) => {
    const nudge = device.tensor('float32', [1], Float32Array.of(0.01))
    const outcome = await checkWith(function (this: Recorder, original, x, weight, out, options) {
      original(x, weight, out, options)
      if (out.rows === 1) return
      const one = new Tensor(out.memory, 'float32', [1], place * bytesPerElement('float32'))
      this.add(one, nudge, one)
    })
    expect(outcome.passed).toBe(false)
    expect(outcome.error).toBeCloseTo(0.01, 4)
    expect(outcome.shape).toMatch(/^64 x 512 to 256, (norm|residual)$/)
  })

  it('an output of the one token that is off by 0.001', async () => {
    const nudge = device.tensor('float32', [1], Float32Array.of(0.001))
    const outcome = await checkWith(function (this: Recorder, original, x, weight, out, options) {
      original(x, weight, out, options)
      if (out.rows > 1) return
      const one = new Tensor(out.memory, 'float32', [1], 77 * bytesPerElement('float32'))
      this.add(one, nudge, one)
    })
    expect(outcome).toMatchObject({ passed: false })
    expect(outcome.error).toBeCloseTo(0.001, 5)
  })

  it('products that keep 11 bits of each number', async () => {
    const outcome = await checkWith(function (this: Recorder, original, x, weight, out, options) {
      const half = device.tensor('float16', weight.shape)
      const rounded = device.tensor('float32', weight.shape)
      this.cast(weight, half)
      this.cast(half, rounded)
      original(x, rounded, out, options)
    })
    expect(outcome).toMatchObject({ passed: false })
    expect(outcome.error).toBeGreaterThan(outcome.limit)
  })

  it('a norm, or a residual, that is left out', async () => {
    for (const option of ['norm', 'residual'] as const) {
      const outcome = await checkWith(function (this: Recorder, original, x, weight, out, options) {
        original(x, weight, out, { ...options, [option]: undefined })
      })
      expect(outcome).toMatchObject({ passed: false, shape: expect.stringContaining(option) })
    }
  })

  it('outputs that are not written', async () => {
    const outcome = await checkWith(() => {})
    expect(outcome).toMatchObject({ passed: false, error: Number.POSITIVE_INFINITY })
  })
})

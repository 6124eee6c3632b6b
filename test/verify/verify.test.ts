// `verify` on the devices of this build, and that it notices what is wrong.

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Device } from '../../lib/operations/device.js'
import { referenceDevice } from '../../lib/operations/create-device.js'
import { operationTable } from '../../lib/operations/table.js'
import { Recorder } from '../../lib/operations/recorder.js'
import { allCases, verifiedOperations, type Verification, verify } from '../../lib/verify/verify.js'
import { devices } from '../support/devices.js'

let reference: Device
beforeAll(() => {
  reference = referenceDevice()
})
afterAll(() => reference.dispose())

async function verified(...given: Parameters<typeof verify>): Promise<Verification[]> {
  const all: Verification[] = []
  for await (const verification of verify(...given)) all.push(verification)
  return all
}

it('has cases for every operation', () => {
  expect(verifiedOperations()).toEqual([...operationTable().keys()].sort())
})

it('names each case once', () => {
  const names = [...allCases(['float32', 'float16'])].map(
    ({ operation, dtype, shape }) => `${operation} ${dtype} ${shape}`,
  )
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([])
})

describe.each(devices)('on $name', ({ create }) => {
  it('every operation is within its limits', async () => {
    using device = create()
    const all = await verified(device, reference, { smallOnly: true })
    expect(all.length).toBeGreaterThan(300)
    expect(all.filter(({ passed }) => !passed)).toEqual([])
  })
})

describe('notices', () => {
  it.each([
    ['an operation that writes nothing', () => {}, Number.POSITIVE_INFINITY],
    [
      'one that computes something else',
      (cl: Recorder, [a, , out]: Parameters<Recorder['add']>) =>
        cl.mlpActivation(a, out, { activation: 'silu' }),
      expect.any(Number),
    ],
  ])('%s', async (_, wrong, error) => {
    using device = devices[0]!.create()
    const { add } = Recorder.prototype
    const spy = vi.spyOn(Recorder.prototype, 'add')
    let calls = 0
    spy.mockImplementation(function (this: Recorder, ...tensors) {
      // The reference records first.
      if (calls++ % 2 === 0 || calls > 2) add.apply(this, tensors)
      else wrong(this, tensors)
    })
    try {
      const [first, ...others] = await verified(device, reference, { operations: ['add'] })
      expect(first).toMatchObject({ passed: false, error })
      expect(first!.error).toBeGreaterThan(first!.limit)
      expect(others.length).toBeGreaterThan(0)
    } finally {
      spy.mockRestore()
    }
  })

  // The first of three outputs, whose limit is 0.
  it('words that are wrong beside scales that are right', async () => {
    using device = devices[0]!.create()
    const { affineQuantize } = Recorder.prototype
    const spy = vi.spyOn(Recorder.prototype, 'affineQuantize')
    let calls = 0
    spy.mockImplementation(function (this: Recorder, weight, out) {
      const isReference = calls++ % 3 === 0 // it records once, the device for two runs
      const words = isReference ? out.words : device.tensor('uint32', out.words.shape)
      affineQuantize.call(this, weight, { ...out, words })
    })
    try {
      const all = await verified(device, reference, { operations: ['affine_quantize'] })
      expect(all.filter(({ passed }) => passed)).toEqual([])
      expect(all.length).toBeGreaterThan(0)
    } finally {
      spy.mockRestore()
    }
  })

  it('an operation that cannot run', async () => {
    using device = devices[0]!.create()
    const spy = vi.spyOn(Recorder.prototype, 'add').mockImplementation(() => {
      throw new Error('[add] no such kernel')
    })
    try {
      const all = await verified(device, reference, { operations: ['add'] })
      for (const one of all) {
        expect(one).toMatchObject({ passed: false, failure: '[add] no such kernel' })
      }
      expect(all.length).toBeGreaterThan(0)
    } finally {
      spy.mockRestore()
    }
  })
})

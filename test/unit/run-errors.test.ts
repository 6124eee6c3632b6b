// What a run that did not end well is rejected with, by how it ended and why.

import { describe, expect, it } from 'vitest'
import { FAILURE_REASON, RUN_STATUS } from '../../lib/addon/contract.js'
import { errorOf, leavesAMixture } from '../../lib/operations/run-errors.js'
import { DeviceLostError, DisposedError, OperationError } from '../../lib/support/errors.js'

const PLACES = { operations: ['add', 'rmsNorm'], layers: [undefined, 'layers.0'] }
const { failed, deviceFailed, deviceLost, abandoned } = RUN_STATUS
const { other, badData, outOfMemory } = FAILURE_REASON

function ended(status: number, reason: number, operation?: number): Error {
  return errorOf('run', PLACES, { status, failure: { reason, operation, message: 'no' } })
}

describe('a run that failed', () => {
  it.each([
    ['an operation refused its data', failed, badData, 'ERR_BAD_DATA', false],
    ['it was never begun', failed, other, 'ERR_OPERATION_FAILED', false],
    ['there was no memory to begin it', failed, outOfMemory, 'ERR_OUT_OF_MEMORY', false],
    ['there was no memory to end it', deviceFailed, outOfMemory, 'ERR_OUT_OF_MEMORY', true],
    ['its device failed', deviceFailed, other, 'ERR_DEVICE_FAILED', true],
  ])('%s', (_, status, reason, code, isMixture) => {
    const error = ended(status, reason, 1)
    expect(error).toBeInstanceOf(OperationError)
    expect({ ...error }).toEqual({ code, operation: 'rmsNorm', layer: 'layers.0' })
    expect(error.message).toBe('no')
    expect(leavesAMixture(error)).toBe(isMixture)
  })

  it('by an operation that nobody can tell', () => {
    expect({ ...ended(deviceFailed, other) }).toEqual({
      code: 'ERR_DEVICE_FAILED',
      operation: undefined,
      layer: undefined,
    })
  })

  it('with its device', () => {
    const error = ended(deviceLost, other)
    expect(error).toBeInstanceOf(DeviceLostError)
    expect(leavesAMixture(error)).toBe(true)
  })
})

it('a run that ends with its device leaves nobody to read what it wrote', () => {
  const error = errorOf('run', PLACES, { status: abandoned, failure: undefined })
  expect(error).toBeInstanceOf(DisposedError)
  expect(leavesAMixture(error)).toBe(false)
})

it('other errors leave no mixture', () => {
  for (const error of [new Error('another'), 'enough', undefined]) {
    expect(leavesAMixture(error)).toBe(false)
  }
})

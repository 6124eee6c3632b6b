// What a failed run says besides its message: a code, the operation, its layer, and who called.

import { describe, expect, test } from 'vitest'
import {
  createDevice,
  type Device,
  type DType,
  OperationError,
  type Recorder,
} from '../../lib/index.js'
import { encodeParams, operationNamed } from '../../lib/operations/table.js'
import { upload } from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'

async function errorOf(run: Promise<unknown>): Promise<OperationError & { cause?: unknown }> {
  return run.then(
    () => expect.unreachable('the run did not fail'),
    (error) => error,
  )
}

/** Records an operation that fails when it is run. */
function recordNaN(device: Device, cl: Recorder): void {
  const weight = upload(device, 'float32', [1, 32], Array(32).fill(Number.NaN))
  const empty = (dtype: DType, cols: number) => device.tensor(dtype, [1, cols])
  const [words, scales, biases] = [empty('uint32', 4), empty('float32', 1), empty('float32', 1)]
  cl.affineQuantize(weight, { words, scales, biases, bits: 4, groupSize: 32 })
}

describeEachDevice('a failed run', (device) => {
  const one = () => upload(device(), 'float32', [1], [1])

  test('says what kind of failure it is and which operation failed', async () => {
    const x = one()
    const list = device().record((cl) => {
      cl.add(x, x, x)
      recordNaN(device(), cl)
      cl.add(x, x, x)
    })
    const error = await errorOf(list.run())
    expect(error).toBeInstanceOf(OperationError)
    expect({ ...error }).toEqual({
      code: 'ERR_BAD_DATA',
      operation: 'affineQuantize',
      layer: undefined,
    })
    expect(error.name).toBe('OperationError')
    expect(error.message).toBe('[affineQuantize] weights hold NaN or infinity')
    expect(error.cause).toBeUndefined()
  })

  test('says which layer that operation belongs to', async () => {
    const x = one()
    const failIn = (layer: 'first' | 'second' | 'none') =>
      device().record((cl) => {
        const part = (name: string) => (name === layer ? recordNaN(device(), cl) : cl.add(x, x, x))
        cl.layer('first', () => {
          cl.add(x, x, x)
          cl.layer('inside', () => cl.add(x, x, x))
          part('first')
        })
        cl.layer('second', () => part('second'))
        part('none')
      })
    for (const layer of ['first', 'second'] as const) {
      expect(await errorOf(failIn(layer).run())).toMatchObject({ layer })
    }
    expect(await errorOf(failIn('none').run())).toMatchObject({ layer: undefined })
  })

  test('says which layer when recording it failed halfway, for the operations after it', async () => {
    const list = device().record((cl) => {
      const refused = () =>
        cl.layer('broken', () => {
          throw new Error('on purpose')
        })
      expect(refused).toThrow('on purpose')
      recordNaN(device(), cl)
    })
    expect(await errorOf(list.run())).toMatchObject({ layer: undefined })
  })

  test('shows who called run, each time anew', async () => {
    const list = device().record((cl) => recordNaN(device(), cl))
    async function firstCaller(): Promise<void> {
      await list.run()
    }
    async function secondCaller(): Promise<void> {
      await list.run()
    }
    const [first, second] = await Promise.all([errorOf(firstCaller()), errorOf(secondCaller())])
    const lead = 'OperationError: [affineQuantize] weights hold NaN or infinity\n    at '
    expect(first.stack).toContain(`${lead}firstCaller`)
    expect(second.stack).toContain(`${lead}secondCaller`)
    expect(first).not.toBe(second)
  })

  test('has no frames where the caller wants none', async () => {
    const list = device().record((cl) => recordNaN(device(), cl))
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    try {
      const { stack } = await errorOf(list.run())
      expect(stack).toBe('OperationError: [affineQuantize] weights hold NaN or infinity')
    } finally {
      Error.stackTraceLimit = stackTraceLimit
    }
  })
})

describe('the API’s spelling leads', () => {
  test('when a parameter is too large for a kernel', () => {
    const encode = () =>
      encodeParams(operationNamed('mlp_activation'), {
        ...{ rows: 2 ** 32, cols: 1, x_stride: 1 },
        ...{ activation: 0, gated: 0 },
      })
    expect(encode).toThrow('[mlpActivation] rows must be below 2^32 but is 4294967296')
  })

  test('when a recording has ended', () => {
    using device = createDevice('cpu', { threads: 1 })
    const x = upload(device, 'float32', [1, 1], [1])
    const weight = upload(device, 'float32', [1], [1])
    let kept: Recorder | undefined
    device.record((cl) => {
      kept = cl
    })
    const late = () => kept!.rmsNorm(x, weight, x, { eps: 0 })
    expect(late).toThrow('[rmsNorm] the recording has ended: record a new command list')
  })
})

test('a token outside the table is bad data too', async () => {
  using device = createDevice('cpu', { threads: 1 })
  const table = upload(device, 'float32', [2, 1], [5, 6])
  const out = device.tensor('float32', [1, 1])
  const list = device.record((cl) =>
    cl.layer('layers.0', () => cl.embedding(upload(device, 'uint32', [1], [9]), table, out)),
  )
  expect({ ...(await errorOf(list.run())) }).toEqual({
    code: 'ERR_BAD_DATA',
    operation: 'embedding',
    layer: 'layers.0',
  })
})

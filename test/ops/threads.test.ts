// The number of threads must not show in results, to the last bit: the largest case that `verify` has of every
// operation, which is large enough to be shared.

import { expect, test } from 'vitest'
import { createDevice } from '../../lib/operations/create-device.js'
import type { Device } from '../../lib/operations/device.js'
import { operationTable } from '../../lib/operations/table.js'
import type { Case } from '../../lib/verify/cases/case.js'
import { Inputs, SharedNumbers } from '../../lib/verify/inputs.js'
import { allCases } from '../../lib/verify/verify.js'

const THREADS = [1, 2, 3]

/** Builds a case with the same numbers on every device; `use` gets what it records. */
async function built<T>(
  { build }: Case,
  device: Device,
  use: (recorded: ReturnType<Case['build']>, bytes: number) => T | Promise<T>,
): Promise<T> {
  const inputs = new Inputs(device, new SharedNumbers(), 'float32', 'float32')
  try {
    return await use(build(inputs), inputs.bytes)
  } finally {
    inputs.dispose()
  }
}

/** Of the cases with the shapes of published models, or else of all, the one with most bytes. */
async function largestCase(operation: string, device: Device): Promise<Case> {
  const cases = [...allCases(['float32'])].filter((each) => each.operation === operation)
  const large = cases.filter(({ shape, large }) => large && !/\b\d{5,}/.test(shape))
  let [largest, most] = [cases[0]!, 0]
  for (const each of large.length > 0 ? large.slice(-1) : cases) {
    const bytes = await built(each, device, (_, bytes) => bytes)
    if (bytes > most) [largest, most] = [each, bytes]
  }
  return largest
}

const devices = THREADS.map((threads) => createDevice('cpu', { threads }))

test.each([...operationTable().keys()])(
  '%s gives the same bits on 1, 2 and 3 threads',
  async (operation) => {
    const largest = await largestCase(operation, devices[0]!)
    const results: Buffer[][] = []
    for (const device of devices) {
      await built(largest, device, async ({ record, outputs }) => {
        using list = device.record(record)
        await list.run()
        results.push(outputs.map((tensor) => Buffer.from(tensor.read().buffer)))
      })
    }
    const [alone, ...shared] = results
    for (const outputs of shared) {
      for (const [i, bytes] of outputs.entries()) {
        expect(bytes.equals(alone![i]!), `output ${i}`).toBe(true)
      }
    }
  },
)

// The number of threads must not show in results, to the last bit: the cases that `verify` has of every operation,
// of which some are large enough to be shared.

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

// Bytes of the largest case of an operation: enough for its loops to be shared (native/cpu/thread_pool.cpp).
const WORTH_SHARING = 100_000
// A few numbers a row, and as few rows as sequences or products: one thread does that whatever the batch.
const NEVER_SHARED = ['group_experts', 'resolve_rows']

/** The small cases of an operation, and of the published sizes the last. */
function casesOf(operation: string): Case[] {
  const cases = [...allCases(['float32'])].filter((each) => each.operation === operation)
  return [...cases.filter(({ large }) => !large), ...cases.filter(({ large }) => large).slice(-1)]
}

const devices = THREADS.map((threads) => createDevice('cpu', { threads }))

test.each([...operationTable().keys()])(
  '%s gives the same bits on 1, 2 and 3 threads',
  async (operation) => {
    let most = 0
    for (const each of casesOf(operation)) {
      const results: Buffer[][] = []
      for (const device of devices) {
        await built(each, device, async ({ record, outputs }, bytes) => {
          using list = device.record(record)
          await list.run()
          results.push(outputs.map((tensor) => Buffer.from(tensor.read().buffer)))
          most = Math.max(most, bytes)
        })
      }
      const [alone, ...shared] = results
      for (const outputs of shared) {
        for (const [i, bytes] of outputs.entries()) {
          expect(bytes.equals(alone![i]!), `${each.shape}: output ${i}`).toBe(true)
        }
      }
    }
    if (!NEVER_SHARED.includes(operation)) expect(most).toBeGreaterThan(WORTH_SHARING)
  },
)

// Runs checks, one after the other, on a device of this process.

import { throwIfAborted, type Signal } from '../support/abort.js'
import type { Device } from '../operations/device.js'
import { referenceDevice } from '../operations/create-device.js'
import type { Outcome } from '../verify/verify.js'
import { type CheckSizeName, checksOf } from './checks.js'
import type { Needs } from './needs.js'

/** Which checks of which model. */
export interface CheckRequest {
  needs: Needs
  size: CheckSizeName
  /** Of `checksOf`: only these. */
  ids: readonly string[]
}

/** Called as checks begin and end. */
export interface CheckProgress {
  begins?(id: string): void
  ended(id: string, outcome: Outcome): void
}

/** Ends with the first check that did not pass: one is enough. Rejects with `signal.reason`. */
export async function runChecks(
  device: Device,
  { needs, size, ids }: CheckRequest,
  progress: CheckProgress,
  signal?: Signal,
): Promise<void> {
  using reference = referenceDevice()
  for (const check of checksOf(needs, size)) {
    if (!ids.includes(check.id)) continue
    throwIfAborted(signal)
    progress.begins?.(check.id)
    const outcome = await check.run(device, reference, signal)
    progress.ended(check.id, outcome)
    if (!outcome.passed) return
  }
}

// Checks the device 'metal' once for a small model, with other limits than those of a user, and prints
// what became of it as one line of JSON:
//   node --import tsx check-once.ts <ms to start> <ms of a check> [<ms until it is aborted>]

import { createDevice } from '../../lib/operations/create-device.js'
import type { Needs } from '../../lib/self-check/needs.js'
import { checkDevice } from '../../lib/self-check/check-device.js'

const [start, check, abort] = process.argv.slice(2).map(Number) as [number, number, number?]
const needs: Needs = {
  activationType: 'float16',
  formats: [{ kind: 'plain', type: 'float16' }],
  mamba2: [],
  attention: [],
  full_attention: [],
  shared_transformer: [],
  short_conv: [],
  experts: [],
}
const controller = new AbortController()
if (abort !== undefined) setTimeout(() => controller.abort(new Error('enough')), abort)
using device = createDevice('metal')
const settings = { size: 'tiny', limits: { start, check } } as const
const result = await checkDevice(device, needs, { signal: controller.signal }, settings).then(
  (failure) => ({ failure: failure ?? null }),
  (error: Error) => ({ rejected: error.message }),
)
process.stdout.write(`${JSON.stringify(result)}\n`)

// The entry point of a process that checks a device: one request comes in as a message, what happens
// goes out as messages. Whatever crashes here crashes nobody else.

import { createDevice } from '../operations/create-device.js'
import type { Outcome } from '../verify/verify.js'
import { type CheckRequest, runChecks } from './run.js'
import type { Tuning } from '../operations/tuning.js'
import { messageOf } from '../support/realms.js'

export interface ProcessRequest extends CheckRequest {
  tuning: Tuning
}

export type ProcessMessage =
  | { kind: 'ready' }
  | { kind: 'begins'; id: string }
  | { kind: 'ended'; id: string; outcome: Outcome }
  | { kind: 'done' }
  | { kind: 'failed'; message: string }

if (process.send) {
  // Control-C reaches every process of a terminal: the one that started this one decides.
  process.on('SIGINT', () => {})
  process.on('disconnect', () => process.exit(1))
  process.once('message', (request: ProcessRequest) => void serve(request))
  tell({ kind: 'ready' })
}

async function serve({ tuning, ...request }: ProcessRequest): Promise<void> {
  try {
    await check(tuning, request)
    tell({ kind: 'done' }, end)
  } catch (error) {
    tell({ kind: 'failed', message: messageOf(error) }, end)
  }
}

// With the device, which must survive being disposed of as well.
async function check(tuning: Tuning, request: CheckRequest): Promise<void> {
  using device = createDevice('metal', { tuning })
  await runChecks(device, request, {
    begins: (id) => tell({ kind: 'begins', id }),
    ended: (id, outcome) => tell({ kind: 'ended', id, outcome }),
  })
}

function tell(message: ProcessMessage, then = () => {}): void {
  process.send!(message, then)
}

// Once the last message is written, whatever else may still be open.
function end(): void {
  process.removeAllListeners('disconnect')
  process.exit(0)
}

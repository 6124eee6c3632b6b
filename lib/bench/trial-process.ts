// The entry point of a trial's process: one request comes in as a message, one reply goes out.

import {
  type BandwidthRequest,
  type BandwidthResult,
  runBandwidth,
  runTrial,
  type TrialRequest,
  type TrialResult,
} from './trial.js'

export type Request = TrialRequest | BandwidthRequest
export type Reply = { result: TrialResult | BandwidthResult } | { error: string; code?: string }

if (process.send) {
  // Control-C reaches every process of a terminal: the one that started this one decides.
  process.on('SIGINT', () => {})
  process.on('disconnect', () => process.exit(1))
  process.once('message', (request: Request) => {
    run(request).then(reply)
  })
}

async function run(request: Request): Promise<Reply> {
  try {
    return {
      result: request.kind === 'trial' ? await runTrial(request) : await runBandwidth(request),
    }
  } catch (error) {
    const { message = String(error), code } = error as NodeJS.ErrnoException
    return code === undefined ? { error: message } : { error: message, code }
  }
}

// Ends once the reply is written, whatever else may still be open.
function reply(reply: Reply): void {
  process.removeAllListeners('disconnect')
  process.send!(reply, () => process.exit(0))
}

// What a run that did not end well is rejected with.

import { RUN_STATUS } from '../addon/contract.js'
import { DeviceLostError, DisposedError } from '../support/errors.js'

const mixtures = new WeakSet<Error>()

/**
 * Whether a run that was rejected with `error` left what it writes half written, so that nothing may read it
 * before it is written whole: the device failed.
 */
export function leavesAMixture(error: unknown): boolean {
  return error instanceof Error && mixtures.has(error)
}

export function errorOf(operation: 'run' | 'prepare', status: number, message: string): Error {
  if (status === RUN_STATUS.failed) return new Error(message)
  if (status === RUN_STATUS.deviceFailed || status === RUN_STATUS.deviceLost) {
    const isLost = status === RUN_STATUS.deviceLost
    const error = isLost ? new DeviceLostError(message) : new Error(message)
    mixtures.add(error)
    return error
  }
  const unfinished = operation === 'run' ? 'the run ended' : 'the list was ready'
  return new DisposedError(`[${operation}] the device was disposed before ${unfinished}`)
}

export function withStack(caller: { stack?: string }, error: Error): Error {
  const frames = caller.stack?.slice(caller.stack.indexOf('\n')) ?? ''
  error.stack = `${error.name}: ${error.message}${frames}`
  return error
}

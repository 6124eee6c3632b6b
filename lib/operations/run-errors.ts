// What a run that did not end well is rejected with.

import { type Failure, FAILURE_REASON, RUN_STATUS } from '../addon/contract.js'
import {
  DeviceLostError,
  DisposedError,
  OperationError,
  type OperationErrorCode,
} from '../support/errors.js'

/** Operation and layer of each operation of a list. */
export interface RecordedPlaces {
  /** As the API spells them. */
  readonly operations: readonly string[]
  readonly layers: readonly (string | undefined)[]
}

const mixtures = new WeakSet<Error>()

/**
 * Whether a run that was rejected with `error` left what it writes half written, so that nothing may read it
 * before it is written whole: the device failed, or had no memory in the middle of the run.
 */
export function leavesAMixture(error: unknown): boolean {
  return error instanceof Error && mixtures.has(error)
}

/** `verb`: what was asked of the list. */
export function errorOf(
  verb: 'run' | 'prepare',
  places: RecordedPlaces,
  { status, failure }: { status: number; failure: Failure | undefined },
): Error {
  if (failure === undefined) {
    const unfinished = verb === 'run' ? 'the run ended' : 'the list was ready'
    return new DisposedError(`[${verb}] the device was disposed before ${unfinished}`)
  }
  if (status === RUN_STATUS.failed) return operationError(places, status, failure)
  const isLost = status === RUN_STATUS.deviceLost
  const error = isLost
    ? new DeviceLostError(failure.message)
    : operationError(places, status, failure)
  mixtures.add(error)
  return error
}

function operationError(
  { operations, layers }: RecordedPlaces,
  status: number,
  { reason, operation: index, message }: Failure,
): OperationError {
  const code = codeOf(status, reason)
  if (index === undefined) return new OperationError(message, { code })
  const operation = operations[index]!
  return new OperationError(message, { code, operation, layer: layers[index] })
}

function codeOf(status: number, reason: number): OperationErrorCode {
  if (reason === FAILURE_REASON.badData) return 'ERR_BAD_DATA'
  if (reason === FAILURE_REASON.outOfMemory) return 'ERR_OUT_OF_MEMORY'
  return status === RUN_STATUS.deviceFailed ? 'ERR_DEVICE_FAILED' : 'ERR_OPERATION_FAILED'
}

// Who called: frames of the stack that are gone when what the call started fails.

import { DeviceLostError, OperationError } from './errors.js'

/** V8 takes notes when one is made, and makes the text when it is asked for. */
export interface Caller {
  readonly stack?: string
}

/**
 * Who called `callee`, which is on the stack.
 *
 * @example const caller = callerOf(this.run)
 */
// biome-ignore lint/complexity/noBannedTypes: any function or class will do
export function callerOf(callee: Function): Caller {
  const caller: Caller = {}
  Error.captureStackTrace(caller, callee)
  return caller
}

/** Gives an error the frames of a caller, in the place of its own. */
export function shownFrom<E extends Error>(caller: Caller, error: E): E {
  const { stack = '' } = caller
  const frames = stack.includes('\n') ? stack.slice(stack.indexOf('\n')) : ''
  error.stack = `${error.name}: ${error.message}${frames}`
  return error
}

/**
 * What whoever waits for something gets where a run failed or drew no token: an error of its own, with its call in the
 * stack and the first one as `cause`, which others may get too. All other errors, and one that was made so before, are
 * as they were.
 */
export function toldTo(caller: Caller, error: unknown): unknown {
  if (!isOfRun(error) || isOfRun(error.cause)) return error
  const told =
    error instanceof OperationError
      ? new OperationError(error.message, { ...placeOf(error), code: error.code, cause: error })
      : new DeviceLostError(error.message, { cause: error })
  return shownFrom(caller, told)
}

function isOfRun(error: unknown): error is OperationError | DeviceLostError {
  return error instanceof OperationError || error instanceof DeviceLostError
}

function placeOf({ operation, layer }: OperationError) {
  return { operation, layer }
}

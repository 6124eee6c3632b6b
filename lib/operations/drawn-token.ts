// Tokens as the `sample` operation reads and reports them.

import { OperationError } from '../support/errors.js'
import { SAMPLE_STATUS } from './arguments.js'
import type { TensorData } from './tensor.js'

/** An empty row of the ring of recent tokens; no vocabulary is so large. */
export const NO_TOKEN = 0xffffffff

/**
 * The token of a row of what `recorder.sample` reports: uint32 (batch, 2). Throws an `OperationError` for a row
 * that drew none.
 *
 * @example const token = drawnToken(outputs.report)
 */
export function drawnToken(report: TensorData, row = 0): number {
  const [token, status] = report.subarray(2 * row) as unknown as [number, number]
  switch (status) {
    case SAMPLE_STATUS.drawn:
      return token
    case SAMPLE_STATUS.nan:
      throw undrawn(`logit ${token} is NaN: the weights or the state hold NaN or overflow`)
    case SAMPLE_STATUS.noneAllowed:
      throw undrawn('the mask allows no token that the model can give: none is drawn')
    default:
      throw undrawn('the largest logit is infinite: no token can be drawn')
  }
}

function undrawn(why: string): OperationError {
  return new OperationError(`[sample] ${why}`, { code: 'ERR_BAD_DATA', operation: 'sample' })
}

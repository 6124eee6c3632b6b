// Tokens as the `sample` operation reads and reports them.

import { SAMPLE_STATUS } from './arguments.js'
import type { TensorData } from './tensor.js'

/** An empty row of the ring of recent tokens; no vocabulary is so large. */
export const NO_TOKEN = 0xffffffff

/**
 * The token of a row of what `recorder.sample` reports: uint32 (batch, 2). Throws for a row that drew none.
 *
 * @example const token = drawnToken(outputs.report)
 */
export function drawnToken(report: TensorData, row = 0): number {
  const [token, status] = report.subarray(2 * row) as unknown as [number, number]
  switch (status) {
    case SAMPLE_STATUS.drawn:
      return token
    case SAMPLE_STATUS.nan:
      throw new Error(
        `[sample] logit ${token} is NaN: the weights or the state hold NaN or overflow`,
      )
    case SAMPLE_STATUS.noneAllowed:
      throw new Error('[sample] the mask allows no token that the model can give: none is drawn')
    default:
      throw new Error('[sample] the largest logit is infinite: no token can be drawn')
  }
}

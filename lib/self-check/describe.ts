// A check that did not pass, in words.

import { operationNamed } from '../operations/table.js'
import type { Outcome } from '../verify/verify.js'

/** The operation, what it computed with, and how far off it is. */
export function describeFailure(outcome: Outcome): string {
  const { operation, dtype, shape, error, limit, failure } = outcome
  const what = failure === undefined ? figures(error, limit) : firstLine(failure)
  return `[${operationNamed(operation).apiName}] ${dtype}, ${shape}: ${what}`
}

// A compiler's message has many.
function firstLine(text: string): string {
  const line = text.trim().split('\n')[0]!
  return line.length > 300 ? `${line.slice(0, 300)}…` : line
}

function figures(error: number, limit: number): string {
  if (!Number.isFinite(error)) return 'a result is not a finite number'
  const off = `a result is off by ${error.toPrecision(2)}`
  return limit === 0 ? `${off}, where none may be` : `${off}, more than ${limit.toPrecision(2)}`
}

// Notices of the library, as the command line shows them.

import type { Notice } from '../notices.js'

/** Writes a notice to standard error. */
export function showNotice({ message }: Notice): void {
  process.stderr.write(`ssm-metal: ${message}\n`)
}

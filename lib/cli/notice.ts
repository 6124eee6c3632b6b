// Notices of the library, as the command line shows them.

import type { Notice } from '../support/notices.js'

const shown = new Set<string>()

/** Writes a notice to standard error, the same one once. */
export function showNotice({ message }: Notice): void {
  if (shown.has(message)) return
  shown.add(message)
  process.stderr.write(`ssm-metal: ${message}\n`)
}

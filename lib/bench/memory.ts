// How much memory a process needed.

import { readFileSync } from 'node:fs'

/** The most memory of this process that was resident at one time, in bytes; mapped files count. */
export function peakMemoryBytes(): number {
  if (process.platform === 'linux') {
    // What getrusage reports also counts the process that started this one, before it became another.
    const kilobytes = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
    if (kilobytes !== undefined) return Number(kilobytes) * 1024
  }
  return process.resourceUsage().maxRSS * 1024
}

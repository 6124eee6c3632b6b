// How fast this machine reads memory: the measure for how well decoding uses it.

import { totalmem } from 'node:os'
import { addon } from '../operations/addon.js'
import { RUN_STATUS } from '../addon/contract.js'
import { integerOption } from '../support/option-checks.js'
import { availableThreads, MOST_THREADS } from '../machine/threads.js'

// Several times any cache, and not so much that it pushes the model out of memory.
const LARGEST_BUFFER = 512 * 2 ** 20
const SMALLEST_BUFFER = 64 * 2 ** 20

/**
 * Bytes that threads together read from memory in a second, the median of several samples. Takes about
 * half a second on native threads.
 *
 * @example const gigabytes = (await measureReadBandwidth(2)) / 1e9
 */
export async function measureReadBandwidth(threads: number = availableThreads()): Promise<number> {
  integerOption('measureReadBandwidth', 'threads', threads, { min: 1, max: MOST_THREADS })
  return new Promise((resolve, reject) => {
    addon().measureReadBandwidth(threads, bufferBytes(), (status, failure, bytesPerSecond) => {
      if (status === RUN_STATUS.done) resolve(bytesPerSecond)
      else reject(new Error(`[measureReadBandwidth] ${failure!.message}`))
    })
  })
}

function bufferBytes(): number {
  // macOS keeps little memory free, and gives more when asked.
  const available = process.platform === 'darwin' ? totalmem() / 4 : process.availableMemory()
  return Math.max(SMALLEST_BUFFER, Math.min(LARGEST_BUFFER, Math.floor(available / 4)))
}

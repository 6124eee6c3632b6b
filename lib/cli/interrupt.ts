// Control-C and a reader that went away.

/**
 * Runs `work` with a signal that the first Control-C (or SIGTERM) aborts, so that native work ends
 * cleanly; a second one ends the process. Also aborts when standard output is closed, as by `head`.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const abort = () => controller.abort()
  const closed = (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    controller.abort()
  }
  process.once('SIGINT', abort)
  process.once('SIGTERM', abort)
  process.stdout.on('error', closed)
  try {
    return await work(controller.signal)
  } finally {
    process.off('SIGINT', abort)
    process.off('SIGTERM', abort)
    process.stdout.off('error', closed)
  }
}

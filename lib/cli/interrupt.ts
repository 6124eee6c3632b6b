// Control-C, and an output that cannot be written.

import { exitCodes } from './program.js'

/** The signal's reason when standard output was closed, as by `head`: whoever reads has had enough. */
export class OutputClosedError extends Error {
  override readonly name = 'OutputClosedError'
}

/**
 * Runs `work` with a signal that the first Control-C (or SIGTERM) aborts, so that native work ends
 * cleanly; a second one ends the process. Also aborts when standard output is closed.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const abort = () => controller.abort()
  const closed = (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE')
      controller.abort(new OutputClosedError('standard output was closed'))
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

/** Lets a closed pipe end the program without a complaint, and any other failure to write with one line. */
export function handleOutputErrors(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') return
      process.stderr.write(`ssm-metal: cannot write the output: ${error.message}\n`)
      process.exit(exitCodes.failure)
    })
  }
}

// Ways for a process or a worker to end while the device computes. Each must end cleanly: with its
// own exit code, not by a signal, and soon.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { programWords } from '../support/compiled.js'

const script = fileURLToPath(new URL('../support/environment-exit.ts', import.meta.url))

interface Ending {
  code: number | null
  signal: string | null
  stdout: string
  stderr: string
}

function endingOf(mode: string): Promise<Ending> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [...programWords(script), mode],
      // Far less than the runs last, far more than ending should take.
      { timeout: 20_000, killSignal: 'SIGKILL' },
      (_error, stdout, stderr) => {
        resolve({ code: child.exitCode, signal: child.signalCode, stdout, stderr })
      },
    )
  })
}

describe.sequential('a process that ends while a list runs', () => {
  test.each([
    { mode: 'exit', what: 'process.exit()' },
    { mode: 'exitAtOnce', what: 'process.exit() right after the start' },
    { mode: 'exitWithTwoDevices', what: 'process.exit() with several devices' },
    { mode: 'terminateRunningWorker', what: 'worker.terminate() during a run' },
    { mode: 'terminateRecordingWorker', what: 'worker.terminate() while a list is recorded' },
    { mode: 'terminateChurningWorkers', what: 'worker.terminate() while runs end' },
    { mode: 'idle', what: 'the end of the script, with a device that was not disposed' },
  ])('ends with code 0: $what', async ({ mode }) => {
    expect(await endingOf(mode)).toEqual({ code: 0, signal: null, stdout: '', stderr: '' })
  })

  test('ends with code 1 and the error after an uncaught exception', async () => {
    const { code, signal, stderr } = await endingOf('throw')
    expect({ code, signal }).toEqual({ code: 1, signal: null })
    expect(stderr).toContain('thrown on purpose')
  })

  test('waits for a run that nobody awaits', async () => {
    const expected = { code: 0, signal: null, stdout: 'run ended\n', stderr: '' }
    expect(await endingOf('pending')).toEqual(expected)
  })

  test('goes on after device.dispose()', async () => {
    const expected = { code: 0, signal: null, stdout: 'ERR_DISPOSED\n', stderr: '' }
    expect(await endingOf('dispose')).toEqual(expected)
  })
})

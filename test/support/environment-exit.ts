// Run as a child process by environment-exit.test.ts: starts a long run, then ends in the way that
// the first argument names.

import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { createDevice } from '../../lib/operations/create-device.js'
import type { Device } from '../../lib/operations/device.js'

/** A run of `operations` times about ten milliseconds. */
function startRun(device: Device, operations: number): Promise<unknown> {
  const x = device.tensor('float32', [128, 1024])
  const weight = device.tensor('float32', [1024, 1024])
  const out = device.tensor('float32', [128, 1024])
  const list = device.record((cl) => {
    for (let i = 0; i < operations; i++) cl.matmul(x, weight, out)
  })
  return list.run()
}

/** Runs so short that some are always just ending. */
async function churn(device: Device): Promise<never> {
  const x = device.tensor('float32', [1])
  const list = device.record((cl) => cl.add(x, x, x))
  while (true) await Promise.all(Array.from({ length: 20 }, () => list.run()))
}

async function terminateWorker(mode: string): Promise<void> {
  // A worker's entry point must be JavaScript; from there on tsx takes TypeScript.
  const entry = `import('tsx/esm/api').then((tsx) => {
    tsx.register()
    return import(${JSON.stringify(import.meta.url)})
  })`
  const worker = new Worker(entry, { eval: true, workerData: mode })
  await new Promise((resolve) => worker.once('message', resolve))
  await sleep(20 * Math.random())
  await worker.terminate()
}

// Far longer than the test waits.
const FOREVER = 5_000

if (!isMainThread) {
  const device = createDevice('cpu', { threads: 2 })
  // Before a list is recorded, or once it runs: worker.terminate() then hits the one or the other.
  if (workerData !== 'run') parentPort?.postMessage('started')
  if (workerData === 'churn') await churn(device)
  const run = startRun(device, FOREVER)
  parentPort?.postMessage('started')
  await run
}

const modes: Record<string, () => Promise<void>> = {
  async exit() {
    startRun(createDevice(), FOREVER)
    await sleep(100)
    process.exit(0)
  },
  async exitAtOnce() {
    startRun(createDevice(), FOREVER)
    process.exit(0)
  },
  async exitWithTwoDevices() {
    startRun(createDevice(), FOREVER)
    for (let i = 0; i < 10; i++) startRun(createDevice('cpu', { threads: 3 }), FOREVER)
    await sleep(100)
    process.exit(0)
  },
  async throw() {
    startRun(createDevice(), FOREVER)
    await sleep(100)
    setImmediate(() => {
      throw new Error('thrown on purpose')
    })
  },
  async pending() {
    // Nobody awaits this; Node waits for it all the same.
    startRun(createDevice(), 10).then(() => process.stdout.write('run ended\n'))
  },
  async idle() {
    // A device without a run in flight keeps no process alive.
    const device = createDevice()
    await startRun(device, 1)
  },
  async dispose() {
    const device = createDevice()
    const run = startRun(device, FOREVER)
    device.dispose()
    await run.catch((error) => process.stdout.write(`${error.code}\n`))
  },
  terminateRunningWorker: () => terminateWorker('run'),
  // These two end calls into the addon and out of it half-way.
  terminateRecordingWorker: () => terminateWorker('record'),
  async terminateChurningWorkers() {
    for (let i = 0; i < 5; i++) await terminateWorker('churn')
  },
}

if (isMainThread) await modes[process.argv[2]!]!()

// Run as a child process by read-bandwidth.test.ts: ends while a measurement runs.

import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { measureReadBandwidth } from '../../lib/bench/bandwidth.js'

if (!isMainThread) {
  void measureReadBandwidth(2)
  parentPort!.postMessage('started')
} else if (process.argv[2] === 'terminate') {
  // A worker's entry point must be JavaScript; from there on tsx takes TypeScript.
  const entry = `import('tsx/esm/api').then((tsx) => {
    tsx.register()
    return import(${JSON.stringify(import.meta.url)})
  })`
  const worker = new Worker(entry, { eval: true })
  await new Promise((resolve) => worker.once('message', resolve))
  await sleep(50)
  await worker.terminate()
} else {
  void measureReadBandwidth(2)
  await sleep(50)
  process.exit(0)
}

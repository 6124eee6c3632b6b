// Run as a child process by event-loop.test.ts: generates without end from the model that the second
// argument names, in the way that the first names.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { loadModel } from '../../lib/load-model.js'

const ENDLESS = { maxTokens: 1_000_000, ignoreEos: true }

// Node 20 does not hand on to its workers that tsx reads TypeScript.
const START_WORKER = `
  import('tsx/esm/api').then(({ tsImport }) =>
    tsImport(${JSON.stringify(import.meta.url)}, ${JSON.stringify(import.meta.url)}))`

/** Starts a generation; resolves when the first token is there. */
async function startGenerating(path: string): Promise<void> {
  const model = await loadModel(path, { device: 'cpu' })
  const stream = model.stream([1, 2, 3], ENDLESS)
  await stream.next()
  // Nobody awaits it: how the process ends is what matters.
  void stream.result
  for (let i = 0; i < 3; i++) void model.generate([4, 5], ENDLESS).catch(() => {})
  void (async () => {
    for await (const _ of stream);
  })().catch(() => {})
}

const modes: Record<string, (path: string) => Promise<void>> = {
  /** Prints how late the event loop was during a prompt and some dozen tokens. */
  async delay(path) {
    const model = await loadModel(path, { device: 'cpu', threads: Number(process.argv[4]) })
    // Once to load and compile everything, which is not what is measured.
    await model.generate([1, 2, 3], { maxTokens: 2, ignoreEos: true })
    const histogram = monitorEventLoopDelay({ resolution: 2 })
    histogram.enable()
    const prompt = Array.from({ length: 60 }, (_, i) => i)
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 2500)
    const stream = model.stream(prompt, { ...ENDLESS, temperature: 1, signal: controller.signal })
    try {
      for await (const _ of stream);
    } catch {
      // Aborted, as planned.
    }
    histogram.disable()
    const { timings, tokens } = stream.partial
    process.stdout.write(
      JSON.stringify({
        p99: histogram.percentile(99) / 1e6,
        samples: histogram.count,
        promptMs: timings.promptMs,
        tokens: tokens.length,
        tokenMs: timings.generationMs / (tokens.length - 1),
      }),
    )
    model.dispose()
  },

  async exit(path) {
    await startGenerating(path)
    await sleep(50)
    process.exit(3)
  },

  async throw(path) {
    await startGenerating(path)
    setTimeout(() => {
      throw new Error('thrown on purpose')
    }, 50)
  },

  async unhandled(path) {
    await startGenerating(path)
    setTimeout(() => void Promise.reject(new Error('rejected on purpose')), 50)
  },

  async worker(path) {
    for (const wait of [0, 10, 50]) {
      const worker = new Worker(START_WORKER, { eval: true, workerData: path })
      await new Promise((resolve, reject) => {
        worker.once('message', resolve)
        worker.once('error', reject)
      })
      await sleep(wait)
      await worker.terminate()
    }
    // The main thread still works.
    const model = await loadModel(path, { device: 'cpu' })
    const { tokens } = await model.generate([1], { maxTokens: 2, ignoreEos: true })
    process.stdout.write(`terminated, then ${tokens.length} tokens\n`)
    model.dispose()
  },

  /** Nothing ends it: the process must end by itself when the generation does. */
  async end(path) {
    const model = await loadModel(path, { device: 'cpu' })
    const { tokens } = await model.generate([1], { maxTokens: 5, ignoreEos: true })
    process.stdout.write(`${tokens.length} tokens\n`)
  },
}

if (isMainThread) {
  await modes[process.argv[2]!]!(process.argv[3]!)
} else {
  await startGenerating(workerData)
  parentPort!.postMessage('generating')
}

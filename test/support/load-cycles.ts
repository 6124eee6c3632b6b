// Run as a child process by memory.test.ts with --expose-gc: loads, generates and disposes many times
// and prints what the process holds before and after. Arguments: model, cycles, and `leak` to forget
// about disposal, which shows that the measurement would notice.

import { readdirSync, readFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { loadModel } from '../../lib/load-model.js'
import type { Model } from '../../lib/model.js'

const [path, cycles, leak] = process.argv.slice(2) as [string, string, string?]
// Node's own memory grows to its usual size first.
const WARM_UP = 50

export interface Holdings {
  residentBytes: number
  /** The others only where /proc has them. */
  files?: number
  mappings?: number
  threads?: number
}

const leaked: Model[] = []
// Its first use may open a file.
const { stdout } = process

async function cycle(): Promise<void> {
  const model = await loadModel(path, { device: 'cpu', threads: 2 })
  await model.generate([1, 2, 3, 4, 5], { maxTokens: 3, ignoreEos: true })
  for await (const _ of model.stream([1, 2, 3], { temperature: 1 })) break
  await model.logits([1, 2, 3, 4, 5, 6, 7])
  await model.generate([1, 999]).catch(() => {})
  if (leak) leaked.push(model)
  else model.dispose()
}

async function holdings(): Promise<Holdings> {
  // Finalizers of what was collected run in later turns.
  for (let i = 0; i < 5; i++) {
    globalThis.gc!()
    await nextTurn()
  }
  const residentBytes = process.memoryUsage.rss()
  if (process.platform !== 'linux') return { residentBytes }
  return {
    residentBytes,
    files: readdirSync('/proc/self/fd').length,
    mappings: readFileSync('/proc/self/maps', 'utf8').split('\n').length,
    threads: readdirSync('/proc/self/task').length,
  }
}

for (let i = 0; i < WARM_UP; i++) await cycle()
const before = await holdings()
for (let i = 0; i < Number(cycles); i++) await cycle()
const after = await holdings()
stdout.write(JSON.stringify({ before, after }))
process.exit(0)

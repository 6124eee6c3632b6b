// What the processes of trials share.

import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'

/** Random tokens; the same seed gives the same ones. */
export function randomTokens(seed, vocabulary, count) {
  let state = seed >>> 0
  return Uint32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    // The last token ends a text in llama.cpp's file.
    return Math.floor((state / 2 ** 32) * (vocabulary - 1))
  })
}

/**
 * Starts to look at how busy others are. The function that it gives tells the share of the machine's processors that
 * other processes used since, undefined where the system does not say.
 */
export function watchOthers() {
  const before = cpuSeconds()
  const start = performance.now()
  return () => {
    const after = cpuSeconds()
    if (!before || !after) return undefined
    const seconds = (performance.now() - start) / 1000
    const others = after.all - before.all - (after.own - before.own)
    return Math.max(0, others / seconds / availableParallelism())
  }
}

/** Seconds of processor time: of the whole machine, and of this process. */
function cpuSeconds() {
  const { user, system } = process.cpuUsage()
  const own = (user + system) / 1e6
  try {
    const fields = readFileSync('/proc/stat', 'utf8')
      .split('\n')[0]
      .split(/\s+/)
      .slice(1)
      .map(Number)
    const [userTicks, nice, systemTicks, , , irq, softirq, steal] = fields
    return { all: (userTicks + nice + systemTicks + irq + softirq + steal) / 100, own }
  } catch {
    return undefined
  }
}

/** Prints the answer of a trial and ends its process, whatever else may still be open. */
export function answer(result) {
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0))
}

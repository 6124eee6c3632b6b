// What test/unit/isolated-thread.test.ts has a thread do.

import { answerRequests } from '../../lib/support/isolated-answers.js'

/** How often this thread was asked, and what it is to do. */
let asked = 0

export type Work =
  | { echo: unknown; afterMs?: number }
  | { spin: true }
  | { allocate: true }
  | { throws: { name: string; message: string } }
  | { exits: true }
  | { environment: true }

answerRequests(async (work: Work): Promise<unknown> => {
  asked += 1
  if ('spin' in work) for (;;);
  if ('allocate' in work) {
    const kept: number[][] = []
    for (;;) kept.push(new Array(100_000).fill(kept.length + 0.5))
  }
  if ('throws' in work)
    throw Object.assign(new Error(work.throws.message), { name: work.throws.name })
  if ('exits' in work) process.exit(3)
  if ('environment' in work) return { env: { ...process.env }, argv: process.execArgv }
  if (work.afterMs) await new Promise((resolve) => setTimeout(resolve, work.afterMs))
  return { echo: work.echo, asked }
})

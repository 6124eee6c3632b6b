// Processes of the comparison: trials and other scripts, and waiting until the machine is idle.

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** What trial.mjs is asked, and what it answers. */
export interface TrialRequest {
  engine: 'ssm-metal' | 'node-llama-cpp'
  model: string
  threads: number
  prompt: number
  generate: number
  repetitions: number
  seed: number
  /** Whether llama.cpp maps the file. */
  mmap: boolean
}

export interface TrialResult {
  /** Tokens a second of each repetition. */
  prefill: number[]
  decode: number[]
  startupMs: number
  loadMs: number
  firstTokenMs: number
  peakMemoryBytes: number
  weightBytes: number
  stateBytes?: number
  otherCpu?: number
}

/** Runs trial.mjs in a process of its own. */
export async function runTrial(request: TrialRequest): Promise<TrialResult> {
  return (await runTrialScript('trial.mjs', request)) as TrialResult
}

export async function runLogits(
  request: Pick<TrialRequest, 'engine' | 'model'>,
  logits: readonly number[],
): Promise<{ asPrompt: number[]; oneByOne: number[] }> {
  const whole = { ...request, threads: 2, mmap: true, exact: true, logits }
  const answer = await runTrialScript('trial.mjs', whole)
  return answer as { asPrompt: number[]; oneByOne: number[] }
}

export async function runBandwidth(threads: number): Promise<number> {
  const answer = await runTrialScript('trial.mjs', { bandwidth: true, threads })
  return (answer as { bytesPerSecond: number }).bytesPerSecond
}

/** Runs a script in a process of its own, with a request, and gives the last line that it prints. */
export async function runTrialScript(file: string, request: object): Promise<unknown> {
  const script = fileURLToPath(new URL(file, import.meta.url))
  const options = { maxBuffer: 2 ** 28 }
  const { stdout } = await run(process.execPath, [script, JSON.stringify(request)], options)
  return JSON.parse(stdout.trimEnd().split('\n').at(-1)!)
}

/** Waits until other processes leave the machine nearly alone, at most `seconds`. Linux only. */
export async function waitForQuiet(seconds: number): Promise<void> {
  const end = performance.now() + 1000 * seconds
  let before = processorTicks()
  while (before && performance.now() < end) {
    await sleep(1000)
    const after = processorTicks()!
    if (after.busy - before.busy < 0.05 * (after.total - before.total)) return
    before = after
  }
}

function processorTicks(): { busy: number; total: number } | undefined {
  let line: string
  try {
    line = readFileSync('/proc/stat', 'utf8').split('\n')[0]!
  } catch {
    return undefined
  }
  // user nice system idle iowait irq softirq steal
  const ticks = line.split(/\s+/).slice(1, 9).map(Number)
  const total = ticks.reduce((sum, value) => sum + value, 0)
  return { busy: total - ticks[3]! - ticks[4]!, total }
}

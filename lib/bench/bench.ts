// The benchmark: rounds in which every trial is run once, each in a process of its own, so that a
// machine that slows down for a while slows all rows alike.

import { randomInt } from 'node:crypto'
import { addon } from '../operations/addon.js'
import { defaultModel } from '../default-model.js'
import { MOST_ROWS } from '../engine/lists.js'
import { UnsupportedOptionError } from '../support/errors.js'
import { describeMachine, type Machine } from '../machine/machine.js'
import { BENCH, type BenchOptions } from '../options/bench.js'
import { withoutBlanks } from '../options/loading.js'
import { checkOptions, describe } from '../support/option-checks.js'
import { optionNames, type OptionValues, optionValues } from '../support/option-table.js'
import { usableSavedTuning } from '../operations/saved-tuning.js'
import { runInChild } from './child.js'
import { type BenchModel, describeModel } from './model.js'
import {
  type BenchTest,
  planSweep,
  planTrials,
  SWEEP_DEPTHS,
  type TrialPlan,
  testName,
} from './plan.js'
import { deviation, mean, median } from './statistics.js'
import type { TestResult, TrialResult } from './trial.js'

/** One test of one model: what was measured, over all repetitions. */
export interface BenchRow {
  model: BenchModel
  /** `pp512`, `tg128`, `tg128 @ d4096`. */
  name: string
  test: BenchTest
  device: 'cpu' | 'metal'
  threads: number
  /** Of each repetition. */
  milliseconds: number[]
  /** Of each repetition, over all streams. */
  tokensPerSecond: number[]
  mean: number
  /** Standard deviation of the repetitions. */
  deviation: number
  median: number
  /** Median time to load the model. */
  loadMs: number
  /** Median time from a prompt of `test.tokens` to its first token; only for `pp`. */
  timeToFirstTokenMs: number | undefined
  /** The most resident memory of any repetition's process. */
  peakMemoryBytes: number
  weightBytes: number
  /** Of all streams. */
  stateBytes: number
  /** What one decoded token of each stream needs: its state, and the weights once for every 32 streams; only for `tg`. */
  bytesPerStep: number | undefined
  /** `bytesPerStep` over the median time of a step; only for `tg`. */
  bytesPerSecond: number | undefined
  /** Median of what these threads read, measured once a repetition. */
  readBandwidth: number
  /** Median over the repetitions of bytes per second over the bandwidth of the same repetition. */
  bandwidthShare: number | undefined
}

export interface BenchReport {
  startedAt: string
  seconds: number
  machine: Machine
  seed: number
  repetitions: number
  sweep: boolean
  rows: BenchRow[]
}

// What one process measures in a round: tests of one model with some number of threads.
interface Trial {
  model: BenchModel
  threads: number | undefined
  plan: TrialPlan
  results: TrialResult[]
  /** Read bandwidth, bytes a second, in each round. */
  bandwidths: number[]
}

/**
 * Measures how fast models read prompts and generate text, as `ssm-metal bench` does. Each trial runs
 * in a process of its own, with a fresh random prompt; in each repetition all trials take their turn.
 *
 * @example
 * const { rows } = await bench({ models: ['./mamba2-130m'], depths: [0, 4096] })
 * for (const { name, median } of rows) console.log(name, median, 'tok/s')
 */
export async function bench(options: BenchOptions = {}): Promise<BenchReport> {
  const values = checkedOptions(options)
  const { device, dtype, quantize, warmup, sweep, repetitions: rounds } = values
  const { signal, onProgress, onNotice } = options
  const seed = values.seed ?? randomInt(2 ** 32)
  const names = options.models ?? [defaultModel(onNotice)]
  if (!Array.isArray(names) || names.length === 0) {
    throw new TypeError(`[bench] models must be a list of names but is ${describe(names)}`)
  }
  const models: BenchModel[] = []
  for (const name of names) models.push(await describeModel(name, values))
  // Nobody hears what the processes of the trials have to say.
  if (device !== 'cpu' && addon().deviceNames().includes('metal')) {
    usableSavedTuning(onNotice)
  }

  const plans = sweep ? planSweep(values) : planTrials(values)
  if (plans.every((plan) => plan.length === 0)) {
    throw new RangeError('[bench] nothing to measure: both prompt and generation have 0 tokens')
  }
  const trials = models.flatMap((model) =>
    (values.threads ?? [undefined]).flatMap((threads) =>
      plans.map((plan): Trial => ({ model, threads, plan, results: [], bandwidths: [] })),
    ),
  )

  const startedAt = new Date()
  const start = performance.now()
  const total = rounds * trials.length
  for (let done = 0; done < total; ) {
    const round = Math.floor(done / trials.length)
    const bandwidths = new Map<number | undefined, number>()
    for (const trial of trials) {
      const { model, threads, plan } = trial
      const label = `${model.label} ${sweep ? 'sweep' : testName(plan[0]!)}`
      onProgress?.({ label, round: round + 1, rounds, done, total })
      let bandwidth = bandwidths.get(threads)
      if (bandwidth === undefined) {
        const measured = await runInChild({ kind: 'bandwidth', device, threads }, signal)
        bandwidth = measured.bytesPerSecond
        bandwidths.set(threads, bandwidth)
      }
      trial.bandwidths.push(bandwidth)
      const load = { device, threads, dtype, quantize }
      const request = { kind: 'trial', model: model.path, load, plan, warmup } as const
      trial.results.push(await runInChild({ ...request, seed: (seed + done) % 2 ** 32 }, signal))
      done += 1
    }
  }
  return {
    startedAt: startedAt.toISOString(),
    seconds: (performance.now() - start) / 1000,
    machine: describeMachine(),
    seed,
    repetitions: rounds,
    sweep,
    rows: trials.flatMap((trial) => trial.plan.map((test, i) => summarise(trial, test, i))),
  }
}

/** What the repetitions of the test at `index` of a trial's plan amount to. */
function summarise(
  { model, results, bandwidths }: Trial,
  test: BenchTest,
  index: number,
): BenchRow {
  const { device, threads, weightBytes, stateBytes } = results[0]!
  const tests = results.map((result): TestResult => result.tests[index]!)
  const milliseconds = tests.map((result) => result.milliseconds)
  const tokensPerSecond = milliseconds.map((ms) => (1000 * test.tokens * test.batch) / ms)
  const isDecode = test.kind === 'tg'
  const passes = Math.ceil(test.batch / MOST_ROWS)
  const bytesPerStep = passes * (weightBytes - model.unreadBytes) + test.batch * stateBytes
  const rates = milliseconds.map((ms) => (1000 * test.tokens * bytesPerStep) / ms)
  return {
    model,
    name: testName(test),
    test,
    device,
    threads,
    milliseconds,
    tokensPerSecond,
    mean: mean(tokensPerSecond),
    deviation: deviation(tokensPerSecond),
    median: median(tokensPerSecond),
    loadMs: median(results.map(({ loadMs }) => loadMs)),
    timeToFirstTokenMs: isDecode ? undefined : median(milliseconds),
    peakMemoryBytes: Math.max(...tests.map((result) => result.peakMemoryBytes)),
    weightBytes,
    stateBytes: test.batch * stateBytes,
    bytesPerStep: isDecode ? bytesPerStep : undefined,
    bytesPerSecond: isDecode ? median(rates) : undefined,
    readBandwidth: median(bandwidths),
    bandwidthShare: isDecode ? median(rates.map((rate, i) => rate / bandwidths[i]!)) : undefined,
  }
}

function checkedOptions(options: BenchOptions): OptionValues<typeof BENCH> {
  checkOptions('bench', options, optionNames(BENCH))
  const values = optionValues('bench', BENCH, withoutBlanks(options))
  if (!values.sweep) return values
  for (const name of ['promptTokens', 'generationTokens'] as const) {
    if (values[name].length === 1) continue
    throw new UnsupportedOptionError(
      `[bench] sweep takes one number for ${name} but has ${values[name].length}`,
    )
  }
  return options.depths === undefined ? { ...values, depths: SWEEP_DEPTHS } : values
}

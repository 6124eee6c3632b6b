// The benchmark: rounds in which every trial is run once, each in a process of its own, so that a
// machine that slows down for a while slows all rows alike.

import type { Signal } from '../support/abort.js'
import { randomInt } from 'node:crypto'
import { addon } from '../operations/addon.js'
import { defaultModel } from '../default-model.js'
import type { DeviceName } from '../operations/create-device.js'
import { MOST_ROWS } from '../engine/lists.js'
import { UnsupportedOptionError } from '../support/errors.js'
import { describeMachine, type Machine } from '../machine/machine.js'
import { type LoadOptions, MOST_STREAMS } from '../load-model.js'
import { checkOptions, checkSignal, describe, integerOption } from '../support/option-checks.js'
import { checkOnNotice, type OnNotice } from '../support/notices.js'
import { MOST_THREADS } from '../machine/threads.js'
import { usableSavedTuning } from '../operations/saved-tuning.js'
import { runInChild } from './child.js'
import { type BenchModel, describeModel } from './model.js'
import {
  type BenchTest,
  planSweep,
  planTrials,
  type Sizes,
  SWEEP_DEPTHS,
  type TrialPlan,
  testName,
} from './plan.js'
import { deviation, mean, median } from './statistics.js'
import type { TestResult, TrialResult } from './trial.js'

export interface BenchOptions {
  /** Paths or Hub names. Defaults to the model that ships in the package. */
  models?: readonly string[] | undefined
  /** Lengths of prompts to read; 0 for none. Defaults to 512. */
  promptTokens?: readonly number[] | undefined
  /** Numbers of tokens to generate; 0 for none. Defaults to 128. */
  generationTokens?: readonly number[] | undefined
  /** Tokens that a sequence has seen before. Defaults to 0. */
  depths?: readonly number[] | undefined
  /** Streams that run together, each with a sequence of its own: 256 at most. Defaults to 1. */
  batchSizes?: readonly number[] | undefined
  /** Defaults to 5. */
  repetitions?: number | undefined
  /** Walk through depths up to 65,536 along one sequence a repetition. Defaults to false. */
  sweep?: boolean | undefined
  /** Let each process run a few tokens before it measures. Defaults to true. */
  warmup?: boolean | undefined
  device?: DeviceName | undefined
  /** Numbers of threads of the CPU device. Defaults to the CPUs that this process may use. */
  threads?: readonly number[] | undefined
  dtype?: LoadOptions['dtype']
  quantize?: LoadOptions['quantize']
  cacheDir?: string | undefined
  revision?: string | undefined
  /** Of the random prompts, of which every repetition has its own. Defaults to a random one. */
  seed?: number | undefined
  signal?: Signal | undefined
  /** Called before each trial. */
  onProgress?: ((progress: BenchProgress) => void) | undefined
  /** As in `loadModel`. */
  onNotice?: OnNotice | undefined
}

export interface BenchProgress {
  /** What runs now: a model and a test. */
  label: string
  /** The current repetition, from 1. */
  round: number
  rounds: number
  /** Trials done, of `total`. */
  done: number
  total: number
}

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

const OPTIONS = [
  'models',
  'promptTokens',
  'generationTokens',
  'depths',
  'batchSizes',
  'repetitions',
  'sweep',
  'warmup',
  'device',
  'threads',
  'dtype',
  'quantize',
  'cacheDir',
  'revision',
  'seed',
  'signal',
  'onProgress',
  'onNotice',
] as const satisfies readonly (keyof BenchOptions)[]

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
  checkOptions('bench', options, OPTIONS)
  const { signal, device, dtype, quantize, warmup = true, sweep = false } = options
  checkSignal('bench', signal)
  const sizes = checkSizes(options, sweep)
  const threadCounts = counts('threads', options.threads, undefined, 1, MOST_THREADS)
  const rounds = integerOption('bench', 'repetitions', options.repetitions, { min: 1 }) ?? 5
  const seed =
    integerOption('bench', 'seed', options.seed, { min: 0, max: 2 ** 32 - 1 }) ?? randomInt(2 ** 32)
  if (device !== undefined && !['auto', 'cpu', 'metal'].includes(device)) {
    throw new UnsupportedOptionError(
      `[bench] device must be 'auto', 'cpu' or 'metal' but is ${describe(device)}`,
    )
  }
  checkOnNotice('bench', options.onNotice)
  const names = options.models ?? [defaultModel(options.onNotice)]
  if (!Array.isArray(names) || names.length === 0) {
    throw new TypeError(`[bench] models must be a list of names but is ${describe(names)}`)
  }
  const models: BenchModel[] = []
  for (const name of names) models.push(await describeModel(name, options))
  // Nobody hears what the processes of the trials have to say.
  if (device !== 'cpu' && addon().deviceNames().includes('metal')) {
    usableSavedTuning(options.onNotice)
  }

  const plans = sweep ? planSweep(sizes) : planTrials(sizes)
  if (plans.every((plan) => plan.length === 0)) {
    throw new RangeError('[bench] nothing to measure: both prompt and generation have 0 tokens')
  }
  const trials = models.flatMap((model) =>
    (threadCounts ?? [undefined]).flatMap((threads) =>
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
      options.onProgress?.({ label, round: round + 1, rounds, done, total })
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

// Far more tokens than anybody would wait for.
const LONGEST = 2 ** 24

function checkSizes(options: BenchOptions, sweep: boolean): Sizes {
  const sizes = {
    promptTokens: counts('promptTokens', options.promptTokens, [512], 0, LONGEST),
    generationTokens: counts('generationTokens', options.generationTokens, [128], 0, LONGEST),
    depths: counts('depths', options.depths, sweep ? SWEEP_DEPTHS : [0], 0, LONGEST),
    batchSizes: counts('batchSizes', options.batchSizes, [1], 1, MOST_STREAMS),
  }
  if (!sweep) return sizes
  for (const name of ['promptTokens', 'generationTokens'] as const) {
    if (sizes[name].length === 1) continue
    throw new UnsupportedOptionError(
      `[bench] sweep takes one number for ${name} but has ${sizes[name].length}`,
    )
  }
  return sizes
}

/** A list of whole numbers without duplicates, or the default. */
function counts(
  name: string,
  list: unknown,
  byDefault: readonly number[],
  min: number,
  max: number,
): readonly number[]
function counts(
  name: string,
  list: unknown,
  byDefault: undefined,
  min: number,
  max: number,
): readonly number[] | undefined
function counts(
  name: string,
  list: unknown,
  byDefault: readonly number[] | undefined,
  min: number,
  max: number,
) {
  if (list === undefined) return byDefault
  if (!Array.isArray(list) || list.length === 0) {
    throw new TypeError(`[bench] ${name} must be a list of whole numbers but is ${describe(list)}`)
  }
  for (const value of list) integerOption('bench', `each of ${name}`, value, { min, max })
  return [...new Set<number>(list)]
}

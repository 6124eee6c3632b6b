// One trial: loads a model and measures the tests of a plan along one sequence. Runs in a process of
// its own (trial-process.ts).

import { createDevice, type DeviceName } from '../device.js'
import { type LoadOptions, loadModel } from '../load-model.js'
import type { Model } from '../model.js'
import { RUNS_IN_FLIGHT, Sequence } from '../models/sequence.js'
import { Sampler } from '../sampler.js'
import { availableThreads } from '../threads.js'
import { measureReadBandwidth } from './bandwidth.js'
import { SequenceBatch } from './batch.js'
import { peakMemoryBytes } from './memory.js'
import type { TrialPlan } from './plan.js'
import { randomTokens } from './random-prompt.js'

/** What a trial is asked to do. Crosses the boundary between processes as JSON. */
export interface TrialRequest {
  kind: 'trial'
  /** A path. */
  model: string
  load: Pick<LoadOptions, 'device' | 'threads' | 'dtype' | 'quantize'>
  plan: TrialPlan
  /** Of the random prompt. */
  seed: number
  warmup: boolean
}

export interface TestResult {
  milliseconds: number
  /** Of the process, when the test had ended. */
  peakMemoryBytes: number
}

export interface TrialResult {
  device: 'cpu' | 'metal'
  threads: number
  loadMs: number
  weightBytes: number
  /** Of one sequence. */
  stateBytes: number
  /** One for each test of the plan. */
  tests: TestResult[]
}

/** Measures how fast the threads that a device would have read memory. */
export interface BandwidthRequest {
  kind: 'bandwidth'
  device: DeviceName | undefined
  threads: number | undefined
}

export interface BandwidthResult {
  threads: number
  bytesPerSecond: number
}

// Enough to touch all weights, start all threads and let the compiler of JavaScript settle.
const WARMUP_PROMPT = 32
const WARMUP_TOKENS = 4

export async function runTrial(request: TrialRequest): Promise<TrialResult> {
  const start = performance.now()
  using model = await loadModel(request.model, request.load)
  const loadMs = performance.now() - start
  const { device, stateBytes } = model
  const batch = request.plan[0]?.batch ?? 1
  const tokens = randomTokens(request.seed, model.config.vocabSize)
  if (request.warmup) {
    const walk = new Walk(model, batch, tokens)
    await walk.prefill(WARMUP_PROMPT)
    await walk.decode(WARMUP_TOKENS)
    walk.dispose()
  }
  const walk = new Walk(model, batch, tokens)
  const tests: TestResult[] = []
  for (const test of request.plan) {
    if (test.depth > walk.position) await walk.prefill(test.depth - walk.position)
    const milliseconds = await walk[test.kind === 'pp' ? 'prefill' : 'decode'](test.tokens)
    tests.push({ milliseconds, peakMemoryBytes: peakMemoryBytes() })
  }
  walk.dispose()
  const { weightBytes } = model
  return { device: device.name, threads: device.threads, loadMs, weightBytes, stateBytes, tests }
}

export async function runBandwidth(request: BandwidthRequest): Promise<BandwidthResult> {
  // What a GPU reaches is measured with all cores: they share its memory.
  using device = createDevice(request.device, { threads: request.threads })
  const threads = device.name === 'cpu' ? device.threads : availableThreads()
  return { threads: device.threads, bytesPerSecond: await measureReadBandwidth(threads) }
}

/** Sequences that move on together over random tokens; each step returns its milliseconds. */
class Walk {
  /** Tokens that each sequence has seen. */
  position = 0
  readonly #batch: number
  readonly #tokens: (count: number) => Uint32Array
  readonly #runs: {
    prefill(tokens: Uint32Array): Promise<unknown>
    decode(count: number): Promise<unknown>
    setTokens(tokens: Uint32Array): void
    dispose(): void
  }

  constructor(model: Model, batch: number, tokens: (count: number) => Uint32Array) {
    this.#batch = batch
    this.#tokens = tokens
    this.#runs = batch === 1 ? single(model) : together(model, batch)
  }

  async prefill(count: number): Promise<number> {
    const prompts = this.#tokens(this.#batch * count)
    const start = performance.now()
    await this.#runs.prefill(prompts)
    this.position += count
    return performance.now() - start
  }

  /** Greedy. Choosing the token is part of each step. */
  async decode(count: number): Promise<number> {
    // With no prompt before, no token was chosen yet.
    if (this.position === 0) this.#runs.setTokens(this.#tokens(this.#batch))
    const start = performance.now()
    await this.#runs.decode(count)
    this.position += count
    return performance.now() - start
  }

  dispose(): void {
    this.#runs.dispose()
  }
}

// What generation uses.
function single(model: Model) {
  const sampler = new Sampler(model.device, 'bench', {})
  const sequence = new Sequence(model.languageModel, sampler)
  return {
    prefill: (tokens: Uint32Array) => sequence.prefill(tokens),
    async decode(count: number) {
      const running: Promise<unknown>[] = []
      for (let i = 0; i < count; i++) {
        running.push(sequence.decode())
        if (running.length === RUNS_IN_FLIGHT) await running.shift()
      }
      await Promise.all(running)
    },
    setTokens(tokens: Uint32Array) {
      sequence.token = tokens[0]!
    },
    dispose() {
      sequence.dispose()
      sampler.dispose()
    },
  }
}

function together(model: Model, size: number) {
  const batch = new SequenceBatch(model.languageModel, size)
  return {
    prefill: (tokens: Uint32Array) => batch.prefill(tokens),
    async decode(count: number) {
      for (let i = 0; i < count; i++) await batch.decode()
    },
    setTokens(tokens: Uint32Array) {
      batch.tokens = tokens
    },
    dispose: () => batch.dispose(),
  }
}

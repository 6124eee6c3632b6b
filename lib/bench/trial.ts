// One trial: loads a model and measures the tests of a plan along one stream, or several that run together. Runs in a
// process of its own (trial-process.ts).

import { createDevice } from '../operations/create-device.js'
import type { DeviceName } from '../operations/device-options.js'
import type { Engine } from '../engine/engine.js'
import type { EngineStream } from '../engine/stream.js'
import { MOST_AHEAD } from '../generation/generate.js'
import { loadModel } from '../load-model.js'
import type { LoadOptions } from '../options/loading.js'
import { availableThreads } from '../machine/threads.js'
import { measureReadBandwidth } from './bandwidth.js'
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
  /** Of one stream. */
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
  const batch = request.plan[0]?.batch ?? 1
  const start = performance.now()
  using model = await loadModel(request.model, { ...request.load, maxStreams: batch })
  const loadMs = performance.now() - start
  const tokens = randomTokens(request.seed, model.config.vocabSize)
  if (request.warmup) {
    using walk = await Walk.begin(model.engine, batch, tokens)
    await walk.prefill(WARMUP_PROMPT)
    await walk.decode(WARMUP_TOKENS)
  }
  using walk = await Walk.begin(model.engine, batch, tokens)
  const tests: TestResult[] = []
  for (const test of request.plan) {
    if (test.depth > walk.position) await walk.prefill(test.depth - walk.position)
    const milliseconds = await walk[test.kind === 'pp' ? 'prefill' : 'decode'](test.tokens)
    tests.push({ milliseconds, peakMemoryBytes: peakMemoryBytes() })
  }
  const { device, weightBytes, stateBytes } = model
  return { device: device.name, threads: device.threads, loadMs, weightBytes, stateBytes, tests }
}

export async function runBandwidth(request: BandwidthRequest): Promise<BandwidthResult> {
  // What a GPU reaches is measured with all cores: they share its memory.
  using device = createDevice(request.device, { threads: request.threads })
  const threads = device.name === 'cpu' ? device.threads : availableThreads()
  return { threads: device.threads, bytesPerSecond: await measureReadBandwidth(threads) }
}

// What a stream may draw: no test comes near.
const NO_END = 2 ** 31

/** Streams that advance together. Greedy: choosing a token is part of each step and of the end of a prompt. */
class Walk {
  /** Tokens that each stream has consumed. */
  position = 0
  readonly #streams: readonly EngineStream[]
  readonly #tokens: (count: number) => Uint32Array

  private constructor(streams: EngineStream[], tokens: (count: number) => Uint32Array) {
    this.#streams = streams
    this.#tokens = tokens
  }

  /** `tokens` gives those of prompts. A walk without a prompt consumes one of them first. */
  static async begin(
    engine: Engine,
    batch: number,
    tokens: (count: number) => Uint32Array,
  ): Promise<Walk> {
    const streams = Array.from({ length: batch }, () =>
      engine.open('bench', {
        position: 0,
        token: tokens(1)[0]!,
        history: new Uint32Array(0),
        maxTokens: NO_END,
        stopTokens: new Set(),
        generated: 0,
        alternatives: undefined,
      }),
    )
    return new Walk(await Promise.all(streams), tokens)
  }

  /** Milliseconds until each stream has consumed so many tokens, and drawn the one after them. */
  async prefill(count: number): Promise<number> {
    const prompts = this.#streams.map(() => this.#tokens(count))
    const start = performance.now()
    await Promise.all(this.#streams.map((stream, i) => stream.prefill(prompts[i]!)))
    this.position += count
    return performance.now() - start
  }

  /** Milliseconds until each stream has consumed the token that it drew last, and drawn the next, so many times. */
  async decode(count: number): Promise<number> {
    const start = performance.now()
    await Promise.all(this.#streams.map((stream) => decode(stream, count)))
    this.position += count
    return performance.now() - start
  }

  [Symbol.dispose](): void {
    for (const stream of this.#streams) stream.close()
  }
}

async function decode(stream: EngineStream, count: number): Promise<void> {
  const steps: Promise<unknown>[] = []
  for (let i = 0; i < count; i++) {
    const step = stream.decode()
    step.catch(() => {}) // it is awaited later, unless one before it fails
    steps.push(step)
    // As many are asked for as a generation does.
    if (steps.length === MOST_AHEAD) await steps.shift()
  }
  await Promise.all(steps)
}

// One trial: loads a model and measures the tests of a plan along one sequence. Runs in a process of
// its own (trial-process.ts).

import { createDevice, type DeviceName } from '../device.js'
import type { EngineStream } from '../engine/stream.js'
import { type LoadOptions, loadModel } from '../load-model.js'
import type { Model } from '../model.js'
import { availableThreads } from '../threads.js'
import { measureReadBandwidth } from './bandwidth.js'
import { peakMemoryBytes } from './memory.js'
import type { TrialPlan } from './plan.js'
import type { Session } from '../session.js'
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

// Steps that are asked for before the first has ended: as many as a generation does.
const STEPS_AHEAD = 32

/** Sequences that are there together: sessions, which read prompts, and streams that go on from them. */
class Walk {
  /** Tokens that each session has seen. */
  position = 0
  readonly #model: Model
  readonly #sessions: readonly Session[]
  readonly #tokens: (count: number) => Uint32Array

  constructor(model: Model, batch: number, tokens: (count: number) => Uint32Array) {
    this.#model = model
    this.#sessions = Array.from({ length: batch }, () => model.createSession())
    this.#tokens = tokens
  }

  async prefill(count: number): Promise<number> {
    const prompts = this.#sessions.map(() => this.#tokens(count))
    const start = performance.now()
    await Promise.all(this.#sessions.map((session, i) => session.prefill(prompts[i]!)))
    this.position += count
    return performance.now() - start
  }

  /** Greedy, from where the sessions stand. Choosing the token is part of each step. */
  async decode(count: number): Promise<number> {
    const streams = await Promise.all(this.#sessions.map((session) => this.#stream(session, count)))
    const start = performance.now()
    await Promise.all(streams.map((stream) => decode(stream, count)))
    const milliseconds = performance.now() - start
    for (const stream of streams) stream.close()
    return milliseconds
  }

  dispose(): void {
    for (const session of this.#sessions) session.dispose()
  }

  // What a generation runs after its prompt.
  #stream(session: Session, count: number): Promise<EngineStream> {
    return session.withSnapshot('bench', (from) =>
      this.#model.engine.open('bench', {
        from,
        position: this.position,
        token: this.#tokens(1)[0]!,
        history: new Uint32Array(0),
        maxTokens: count,
        stopTokens: new Set(),
        readsLogits: false,
      }),
    )
  }
}

async function decode(stream: EngineStream, count: number): Promise<void> {
  const steps: Promise<unknown>[] = []
  for (let i = 0; i < count; i++) {
    steps.push(stream.decode())
    if (steps.length === STEPS_AHEAD) await steps.shift()
  }
  await Promise.all(steps)
}

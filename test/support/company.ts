// Streams and sessions that run beside one another on one model, as seeds say.

import { setTimeout as sleep } from 'node:timers/promises'
import { expect, vi } from 'vitest'
import { CommandList } from '../../lib/operations/device.js'
import { type GenerateOptions, loadModel, type LoadOptions, type Model } from '../../lib/index.js'
import { fixture } from './checkpoints.js'
import { type Draw, fingerprint } from './session-cases.js'

/** How a reader ends a stream after `tokens` of them. */
export interface Leaving {
  by: 'break' | 'abort' | 'return'
  tokens: number
}

/** One stream and its reader. */
export interface Call {
  prompt: number[]
  options: GenerateOptions
  leaving: Leaving | undefined
  /** Milliseconds before it starts. */
  delay: number
  /** Milliseconds that the reader sleeps after each token. */
  pause: number
}

/** What a reader got. */
export interface Heard {
  chunks: unknown[]
  ended: string
}

const VOCABULARY = 250
// Around the sizes at which prompts are cut, and long ones.
const LENGTHS = [1, 7, 63, 64, 65, 72, 130, 200, 203, 256, 257, 325, 500, 777, 1025, 2049]

export const tokensOf = (length: number, draw: Draw): number[] =>
  Array.from({ length }, () => draw(VOCABULARY))

// Few enough to fit a slot, or so many that the pool has to make room.
const BIASES = [1, 3, 40]

/** Penalties of what was generated, and biases: each, some or none. */
export function drawPreferences(draw: Draw): GenerateOptions {
  return {
    ...(draw(3) === 0 ? { presencePenalty: (draw(40) - 20) / 10 } : {}),
    ...(draw(3) === 0 ? { frequencyPenalty: (draw(40) - 20) / 10 } : {}),
    ...(draw(4) === 0 ? { logitBias: drawBiases(draw) } : {}),
  }
}

function drawBiases(draw: Draw): ReadonlyMap<number, number> {
  const tokens = tokensOf(BIASES[draw(BIASES.length)]!, draw)
  return new Map(tokens.map((token) => [token, draw(20) - 10]))
}

/** A call with any of the options that change what is drawn. */
export function drawCall(draw: Draw): Call {
  const samples = draw(3) > 0
  const penalty = draw(2) === 0
  return {
    prompt: tokensOf(LENGTHS[draw(LENGTHS.length)]!, draw),
    options: {
      ignoreEos: true,
      maxTokens: 1 + draw(60),
      ...(samples ? { temperature: 0.5 + draw(20) / 10, seed: draw(1e6) } : {}),
      ...(samples && draw(2) === 0 ? { topK: 1 + draw(80), topP: 0.9, minP: 0.01 } : {}),
      ...(penalty ? { repetitionPenalty: 1.3, repetitionContextSize: 1 + draw(300) } : {}),
      ...drawPreferences(draw),
      ...(draw(4) === 0 ? { prefillChunkSize: [1, 50, 64, 200, 960][draw(5)]! } : {}),
      ...(draw(2) === 0 ? { logprobs: draw(4) } : {}),
      ...(draw(3) === 0 ? { stopTokens: tokensOf(1 + draw(24), draw) } : {}),
    },
    leaving:
      draw(4) === 0
        ? { by: (['break', 'abort', 'return'] as const)[draw(3)]!, tokens: 1 + draw(20) }
        : undefined,
    delay: draw(30),
    pause: draw(6) === 0 ? 1 + draw(3) : 0,
  }
}

/** Runs a call. Rejects with an error that nobody meant. */
export async function hear(model: Model, call: Call): Promise<Heard> {
  const enough = new Error('enough')
  const controller = new AbortController()
  const stream = model.stream(call.prompt, { ...call.options, signal: controller.signal })
  const chunks: unknown[] = []
  let ended = ''
  try {
    for await (const { token, logprob, topLogprobs } of stream) {
      chunks.push([token, logprob, topLogprobs])
      if (call.pause > 0) await sleep(call.pause)
      if (chunks.length !== call.leaving?.tokens) continue
      ended = call.leaving.by
      if (ended === 'break') break
      if (ended === 'abort') controller.abort(enough)
      else await stream.return()
    }
  } catch (error) {
    if (error !== enough) throw error
  }
  return { chunks, ended: ended || stream.partial.finishReason }
}

/** The same call with a model for itself. */
export async function alone(
  name: string,
  call: Call,
  options: LoadOptions = { device: 'cpu' },
): Promise<Heard> {
  using model = await loadModel(fixture(name), options)
  return await hear(model, { ...call, delay: 0, pause: 0 })
}

/** A session's life: what it is asked for one after another, and what it remembers each time. */
export async function live(model: Model, draw: Draw, pause = 0): Promise<string[]> {
  using session = model.createSession()
  await session.prefill(tokensOf(1 + draw(400), draw))
  using moment = await session.checkpoint()
  const told = [await fingerprint(session)]
  for (let turn = 0; turn < 4; turn++) {
    if (pause > 0) await sleep(pause)
    const options: GenerateOptions = {
      ignoreEos: true,
      maxTokens: 1 + draw(20),
      ...(draw(2) === 0 ? { temperature: 0.8, seed: draw(1000) } : {}),
      ...(draw(3) === 0 ? { repetitionPenalty: 1.2, repetitionContextSize: 1 + draw(200) } : {}),
      ...drawPreferences(draw),
      ...(draw(3) === 0 ? { stopTokens: tokensOf(1 + draw(12), draw) } : {}),
      ...(draw(3) === 0 ? { logprobs: 1 } : {}),
    }
    const prompt = draw(2) === 0 ? '' : tokensOf(1 + draw(100), draw)
    const way = draw(4)
    if (way === 0) {
      const most = 1 + draw(8)
      let seen = 0
      for await (const { token, logprob } of session.stream(prompt, options)) {
        told.push(`${token} ${logprob}`)
        if (++seen === most) break
      }
    } else if (way === 1) {
      using fork = await session.fork()
      const [own, other] = await Promise.all([
        session.generate(prompt, options),
        fork.generate(prompt, { ...options, maxTokens: 5 }),
      ])
      told.push(String(own.tokens), String(other.tokens), await fingerprint(fork))
    } else {
      const { tokens, logprobs } = await session.generate(prompt, options)
      told.push(JSON.stringify([tokens, logprobs]))
    }
    told.push(await fingerprint(session))
    if (draw(4) === 0) await session.rewind(moment)
  }
  return told
}

/** The load of an engine that serves nobody. */
export const IDLE = { streams: 0, waiting: 0, runs: 0 }

/** Nobody is served any more: a run that was started ahead, or cut short, ends a little after its stream. */
export async function expectIdle({ engine }: Pick<Model, 'engine'>): Promise<void> {
  await vi.waitFor(() => expect(engine.load).toMatchObject(IDLE), { interval: 1, timeout: 10_000 })
}

/** The inputs of a run: whose rows it has, and the tokens of a piece of a prompt. */
export interface RunOfEngine {
  slots: number[]
  tokens: number | undefined
}

/** Counts the steps and pieces that engines run, until `restore`. */
export function watchRuns(): { runs: RunOfEngine[]; restore(): void } {
  const runs: RunOfEngine[] = []
  const { run } = CommandList.prototype
  const spy = vi.spyOn(CommandList.prototype, 'run').mockImplementation(function (
    this: CommandList,
    options,
  ) {
    const { slots, tokens } = options?.inputs ?? {}
    if (slots) runs.push({ slots: [...slots].filter(isSlot), tokens: tokens?.length })
    return run.call(this, options)
  })
  return { runs, restore: () => spy.mockRestore() }
}

const isSlot = (slot: number) => slot !== 0xffffffff

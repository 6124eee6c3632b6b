// Streams of this package, as it is built (npm run build): streams-trial.mjs says what is asked of them.

import { measureReadBandwidth } from '../../../dist/bench/bandwidth.js'
import { loadModel } from '../../../dist/load-model.js'
import { openStream } from './engine-ssm-metal.mjs'
import { Steps } from './steps.mjs'

const PREFILL_TOKENS = 512

export async function measureTogether({ model: path, threads, prompts, generate, tokens }) {
  const model = await loadModel(path, { device: 'cpu', threads })
  await drawTogether(model, prompts, 4) // touches all weights, starts all threads
  const before = await measureRates(model, threads, tokens)
  const figures = await drawTogether(model, prompts, generate)
  // A neighbour may have come, or left.
  const after = await measureRates(model, threads, tokens)
  const rates = {
    prefill: (before.prefill + after.prefill) / 2,
    bandwidth: (before.bandwidth + after.bandwidth) / 2,
  }
  const floor = floorRate(model, prompts.length, rates)
  model.dispose()
  return { ...figures, ...rates, floor }
}

/** Tokens a second of a prompt, and bytes a second that the threads read. */
async function measureRates(model, threads, tokens) {
  const start = performance.now()
  await model.generate(tokens(PREFILL_TOKENS), { maxTokens: 1, ignoreEos: true })
  const prefill = (1000 * PREFILL_TOKENS) / (performance.now() - start)
  return { prefill, bandwidth: await measureReadBandwidth(threads) }
}

/**
 * Tokens a second where each costs the arithmetic that it costs in a prompt, its share of a pass over the weights, and
 * its state, read and written.
 */
function floorRate({ weightBytes, stateBytes }, streams, { prefill, bandwidth }) {
  return 1 / (1 / prefill + (weightBytes / streams + 2 * stateBytes) / bandwidth)
}

async function drawTogether(model, prompts, count) {
  const steps = new Steps(prompts.length, count)
  // The first streams draw tokens while the prompts of the others are read, and go on until the last has its own.
  const maxTokens = 4 * (count + prompts.length)
  const draw = async (prompt, index) => {
    for await (const { token } of model.stream(prompt, { maxTokens, ignoreEos: true })) {
      if (token !== undefined && steps.drawn(index)) return
    }
    throw new Error(`stream ${index} has ended before the others have drawn their tokens`)
  }
  await Promise.all(prompts.map(draw))
  return steps.figures()
}

/** Streams that decode, and a long prompt that is read beside them. Milliseconds. */
export async function measureJoining({ model: path, threads, prompts, long }) {
  const model = await loadModel(path, { device: 'cpu', threads })
  const drawnAt = prompts.map(() => [])
  const pieces = []
  let isOver = false
  const waiting = new Set(prompts.keys())
  let allDecode
  const begun = new Promise((resolve) => {
    allDecode = resolve
  })
  const draw = async (prompt, index) => {
    for await (const _ of model.stream(prompt, { maxTokens: 2 ** 20, ignoreEos: true })) {
      drawnAt[index].push(performance.now())
      if (drawnAt[index].length === 8 && waiting.delete(index) && waiting.size === 0) allDecode()
      if (isOver) return
    }
  }
  const drawing = Promise.all(prompts.map(draw))
  await begun
  const stream = await openStream(model)
  const start = performance.now()
  await stream.prefill(long, {
    onConsumed: (tokens) => pieces.push({ tokens, end: performance.now() }),
  })
  const end = performance.now()
  isOver = true // each draws one token more
  await drawing
  stream.close()
  model.dispose()
  return { readMs: end - start, ...betweenTokens(drawnAt, start, end), ...runs(drawnAt, pieces) }
}

/** The times between two tokens of a stream that fall, in part at least, between `start` and `end`. */
function betweenTokens(drawnAt, start, end) {
  const gaps = drawnAt.flatMap((times) =>
    times.slice(1).flatMap((time, i) => (time > start && times[i] < end ? time - times[i] : [])),
  )
  return { gaps }
}

/** How long each piece of the prompt and each step took: all run one after the other. */
function runs([first], pieces) {
  const ends = [
    ...first.map((end) => ({ end, kind: 'stepMs' })),
    ...pieces.map(({ end }) => ({ end, kind: 'pieceMs' })),
  ].sort((a, b) => a.end - b.end)
  const result = { stepMs: [], pieceMs: [], pieceTokens: pieces.map(({ tokens }) => tokens) }
  for (const [i, { end, kind }] of ends.entries()) {
    if (i > 0) result[kind].push(end - ends[i - 1].end)
  }
  return result
}

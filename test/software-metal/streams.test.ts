// Streams beside one another on the Metal device over its stand-in: each gets to the bit what it gets alone.

import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, test, vi } from 'vitest'
import { loadModel } from '../../lib/index.js'
import { fixture } from '../support/checkpoints.js'
import { alone, type Call, drawCall, hear, IDLE, tokensOf, watchRuns } from '../support/company.js'
import { seededIntegers } from '../unit/random.js'

process.env.SSM_METAL_ADDON = fileURLToPath(
  new URL('build/Release/metal_device.node', import.meta.url),
)

// The emulated GPU reads some hundred tokens a second.
const LENGTHS = [1, 3, 8, 9, 63, 64, 65, 72, 130]

/** Calls as on the CPU, with shorter prompts and fewer tokens; some come while others run. */
function drawCalls(seed: number, count: number): Call[] {
  const draw = seededIntegers(seed)
  return Array.from({ length: count }, () => {
    const call = drawCall(draw)
    const { prefillChunkSize: _, ...options } = call.options
    const prompt = tokensOf(LENGTHS[draw(LENGTHS.length)]!, draw)
    return { ...call, prompt, options: { ...options, maxTokens: 2 + draw(14) }, delay: draw(400) }
  })
}

test.each([
  ['rene', 12, 'float32'],
  ['mamba2-hf', 5, 'float16'],
  ['edge-mlx-4bit', 9, 'float32'],
  ['mamba2-mlx-lm-groups-8bit', 6, 'float32'],
] as const)('%s: %i streams, %s', { timeout: 900_000 }, async (name, count, dtype) => {
  const calls = drawCalls(count, count)
  const watch = watchRuns()
  using model = await loadModel(fixture(name), { device: 'metal', dtype })
  expect(model.device.batchInvariant).toBe(true)
  const company = await Promise.all(
    calls.map(async (call) => {
      await sleep(call.delay)
      return hear(model, call)
    }),
  )
  watch.restore()
  // A stream that was left may have a run under way.
  await vi.waitFor(() => expect(model.engine.load).toMatchObject(IDLE), 10_000)
  // They did run together, in lists of several widths.
  const widths = new Set(
    watch.runs.filter(({ tokens }) => !tokens).map(({ slots }) => slots.length),
  )
  expect(Math.max(...widths)).toBeGreaterThan(count / 3)
  for (const [i, call] of calls.entries()) {
    expect(company[i], `call ${i}: ${JSON.stringify(call)}`).toEqual(
      await alone(name, call, { device: 'metal', dtype }),
    )
  }
})

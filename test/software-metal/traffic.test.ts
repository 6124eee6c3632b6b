// What kernels move, counted by the checked build: no time can be measured here, but passes and bytes
// can. A number that grows is a kernel that got worse.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDevice, type Device } from '../../lib/device.js'
import type { Recorder } from '../../lib/recorder.js'
import { runOnce, seededNormals, upload } from '../support/arrays.js'
import { readTrace, type TracedDispatch } from './trace.js'

const folder = mkdtempSync(join(tmpdir(), 'traffic-'))
const trace = join(folder, 'trace.jsonl')
let device: Device

beforeAll(() => {
  process.env.SSM_METAL_ADDON = fileURLToPath(
    new URL('build/Release/metal_device_checked.node', import.meta.url),
  )
  process.env.SSM_SOFTWARE_METAL_TRACE = trace
  device = createDevice('metal')
})
afterAll(() => {
  device.dispose()
  rmSync(folder, { recursive: true })
})

/** The dispatches of a list. */
async function dispatchesOf(record: (cl: Recorder) => void): Promise<TracedDispatch[]> {
  writeFileSync(trace, '')
  await runOnce(device, record)
  return readTrace(trace)[0]!.dispatches
}

describe('sample', () => {
  const VOCABULARY = 3000

  /** How often the scores are read from memory. */
  async function passes(topK: number, topP: number): Promise<number> {
    const logits = upload(device, 'float32', [1, VOCABULARY], seededNormals(1)(VOCABULARY, 3))
    const dispatches = await dispatchesOf((cl) =>
      cl.sample({
        logits,
        settings: upload(device, 'float32', [1, 4], [1, topP, 0, 1]),
        selection: upload(device, 'uint32', [1, 4], [topK, 1, 2, 0]),
        history: upload(device, 'uint32', [1, 1], [0xffffffff]),
        position: upload(device, 'uint32', [1], [0]),
        out: device.tensor('uint32', [1]),
      }),
    )
    const scores = dispatches[0]!.buffers.find(({ index }) => index === 7)!
    return Math.round(scores.read / (4 * VOCABULARY))
  }

  // The largest, the draw, and four passes for each threshold. (The checked build does not see the read
  // before a write: the division by the temperature.)
  test.each([
    { topK: 0, topP: 1, expected: 2 },
    { topK: 50, topP: 1, expected: 6 },
    { topK: 0, topP: 0.9, expected: 6 },
    { topK: 50, topP: 0.9, expected: 10 },
  ])('reads the logits $expected times with top-k $topK and top-p $topP', async (given) => {
    expect(await passes(given.topK, given.topP)).toBe(given.expected)
  })
})

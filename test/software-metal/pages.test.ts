// Models that attend to all positions, on the Metal device over its stand-in: the cases of test/models/pages.test.ts,
// some of them.

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { loadModel, type LoadOptions, type Model } from '../../lib/index.js'
import { temporaryFolder } from '../support/checkpoints.js'
import { writeHybrid } from '../support/hybrid.js'
import { fingerprint, promptOf, SESSION_CASES } from '../support/session-cases.js'
import { seededIntegers } from '../unit/random.js'

process.env.SSM_METAL_ADDON = fileURLToPath(
  new URL('build/Release/metal_device.node', import.meta.url),
)

async function load(options: LoadOptions): Promise<Model> {
  const folder = await temporaryFolder()
  await writeHybrid(folder)
  const model = await loadModel(folder, { promptCache: false, ...options })
  onTestFinished(() => model.dispose())
  return model
}

test.each(Object.entries(SESSION_CASES))('%s, equal to the bit', async (_, play) => {
  const model = await load({ device: 'metal' })
  for (let seed = 1; seed <= 2; seed++) await play(model, seededIntegers(seed * 104729), 300)
  expect(model.memory().pages!.pagesInUse).toBe(0)
})

describe.each(['float32', 'float16'] as const)('keys and values in %s', (kvDtype) => {
  const options = { maxTokens: 4, ignoreEos: true, temperature: 1, seed: 2, logprobs: 1 }

  test('no company changes the bits, also while the pool grows', async () => {
    const model = await load({ device: 'metal', kvDtype })
    const prompts = [254, 3, 257].map((length) => promptOf(model, length, seededIntegers(length)))
    const alone = []
    for (const prompt of prompts) {
      const { tokens, logprobs } = await model.generate(prompt, options)
      alone.push({ tokens, logprobs })
    }
    const together = await Promise.all(prompts.map((prompt) => model.generate(prompt, options)))
    expect(together.map(({ tokens, logprobs }) => ({ tokens, logprobs }))).toEqual(alone)
    expect(model.memory().pages!.pages).toBeGreaterThan(1)
  })

  test('saved, loaded and scored as on the CPU', async () => {
    const path = join(await temporaryFolder(), 'session')
    const [metal, cpu] = [
      await load({ device: 'metal', kvDtype }),
      await load({ device: 'cpu', kvDtype }),
    ]
    const prompt = promptOf(metal, 259, seededIntegers(1))
    using session = metal.createSession()
    await session.prefill(prompt)
    await session.save(path)
    using loaded = await metal.loadSession(path)
    await session.prefill([1, 2])
    await loaded.prefill([1, 2])
    expect(await fingerprint(loaded)).toBe(await fingerprint(session))
    const rests = [[1], [2, 3, 4], [5, 6, 7, 8, 9]]
    const [a, b] = [await metal.score(prompt, rests), await cpu.score(prompt, rests)]
    const tolerance = kvDtype === 'float16' ? 1e-3 : 1e-5
    for (const [i, { logprob }] of a.entries()) {
      expect(Math.abs(logprob / b[i]!.logprob - 1)).toBeLessThan(tolerance)
    }
  })
})

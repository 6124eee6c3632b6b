// Sessions on the Metal device over its stand-in: the cases of test/models/sessions.test.ts, some of them.

import { fileURLToPath } from 'node:url'
import { describe, test } from 'vitest'
import { loadModel } from '../../lib/index.js'
import { SESSION_CASES } from '../support/session-cases.js'
import { seededIntegers } from '../unit/random.js'

process.env.SSM_METAL_ADDON = fileURLToPath(
  new URL('build/Release/metal_device.node', import.meta.url),
)
const MODELS = ['mamba2-hf', 'rene']
const CASES = 5 // of each kind and model: 30

describe.each(MODELS)('%s', (name) => {
  test.each(Object.entries(SESSION_CASES))(
    '%s, equal to the bit',
    { timeout: 300_000 },
    async (_, play) => {
      const folder = fileURLToPath(new URL(`../fixtures/reference/${name}`, import.meta.url))
      using model = await loadModel(folder, { device: 'metal' })
      for (let seed = 1; seed <= CASES; seed++)
        await play(model, seededIntegers(seed * 104729), 150)
    },
  )
})

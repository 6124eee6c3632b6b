// Reference models on the Metal device, their kernels compiled from the very texts that a Mac gets:
// constants are literals there, and absent buffers no parameters.

import { mkdirSync } from 'node:fs'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Addon } from '../../lib/addon/contract.js'
import { addon } from '../../lib/operations/addon.js'
import { createDevice } from '../../lib/operations/create-device.js'
import { Scorer } from '../../lib/engine/scoring.js'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import { LanguageModel } from '../../lib/models/language-model.js'
import { fixture, readGolden } from '../support/checkpoints.js'
import { ForcedTokens } from '../support/forced-tokens.js'
import { relativeL2 } from '../tolerance.js'
import { builtIn } from './clang.js'

beforeAll(() => {
  process.env.SSM_METAL_ADDON = builtIn('Release/metal_device.node')
  process.env.SSM_STAND_IN_TEXTS = builtIn('texts')
  mkdirSync(builtIn('texts'), { recursive: true })
})

const PROMPT = 20 // by mat-mat kernels
const DECODED = 4

describe.each(['rene', 'mamba2-state-spaces', 'edge-mlx-4bit'])('%s', (name) => {
  test.each([
    ['float32', {}, 1e-4],
    ['float16', { dtype: 'float16' }, 2e-2],
  ] as const)(
    'gives the reference logits in %s',
    { timeout: 900_000 },
    async (_, options, limit) => {
      const { tokens, logits: expected } = await readGolden(name)
      using device = createDevice('metal')
      const model = await LanguageModel.load(device, await openCheckpoint(fixture(name)), options)
      using scorer = new Scorer(model)
      using sequence = new ForcedTokens(model)
      const vocabulary = model.config.paddedVocabSize
      const logits = new Float32Array((PROMPT + DECODED) * vocabulary)
      const prompt = Uint32Array.from(tokens.slice(0, PROMPT))
      await scorer.logits(prompt, (rows, at) => logits.set(rows, at * vocabulary))
      await sequence.prefill(prompt)
      for (let i = PROMPT; i < PROMPT + DECODED; i++) {
        logits.set(await sequence.decode(tokens[i]!), i * vocabulary)
      }
      expect(relativeL2(logits, expected.slice(0, logits.length))).toBeLessThan(limit)
      // The rig's own kernels, which would do as well, were not what ran.
      const { textsCompiled, librariesMade } = (addon() as Addon & { standIn(): Numbers }).standIn()
      expect(librariesMade).toBeGreaterThan(0)
      expect(textsCompiled).toBe(librariesMade)
      model.dispose()
    },
  )
})

type Numbers = Record<'textsCompiled' | 'librariesMade', number>

// Whole models on the rig: the kernels' own text through the host code of the Metal device, against
// the reference logits and against the CPU device.

import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { createDevice } from '../../lib/operations/create-device.js'
import { loadModel } from '../../lib/load-model.js'
import type { Model } from '../../lib/model.js'
import {
  fixture,
  REFERENCE_CHECKPOINTS,
  STATE_CHECKPOINTS,
  readGolden,
} from '../support/checkpoints.js'
import { logitsOneByOne } from '../support/logits.js'
import { offByThirds, openTwin, smallerFixture, TWINS } from '../support/long-prompts.js'
import { PROMPTS } from '../support/prompts.js'
import { randomTokens } from '../support/random-checkpoint.js'
import { relativeL2 } from '../tolerance.js'

beforeAll(() => {
  process.env.SSM_METAL_ADDON = fileURLToPath(
    new URL('build/Release/metal_device.node', import.meta.url),
  )
})

/**
 * That of the token in the middle. Of two experts that count nearly the same float16 may choose the other one, and then the
 * logits of that token are others.
 */
const usualL2 = (tokens: number) => (actual: Float32Array, expected: Float32Array) => {
  const width = expected.length / tokens
  const each = Array.from({ length: tokens }, (_, i) => {
    const row = (data: Float32Array) => data.subarray(i * width, (i + 1) * width)
    return relativeL2(row(actual), row(expected))
  })
  return each.sort((a, b) => a - b)[tokens >> 1]!
}

// All of them take minutes: npm run test:rig-models.
const NAMES = process.env.SSM_RIG_MODELS === 'all' ? REFERENCE_CHECKPOINTS : STATE_CHECKPOINTS

describe.each([
  { activations: 'float32', dtype: 'auto', most: 1e-4 },
  // Which makes the weights float16 too.
  { activations: 'float16', dtype: 'float16', most: 2e-2 },
] as const)('with activations in $activations', ({ activations, dtype, most }) => {
  test.each<string>(NAMES)(
    '%s gives the reference logits: at once, in chunks, and step by step',
    async (name) => {
      const { tokens, logits } = await readGolden(name)
      using model = await loadModel(fixture(name), { device: 'metal', dtype })
      expect(model.device.name).toBe('metal')
      expect(model.languageModel.activationType).toBe(activations)
      const hasExperts = model.config.layers.some(({ kind }) => kind === 'experts')
      const off = hasExperts && dtype === 'float16' ? usualL2(tokens.length) : relativeL2
      for (const prefillChunkSize of [512, 7]) {
        const { data } = await model.logits(tokens, { prefillChunkSize })
        expect(off(data, logits)).toBeLessThan(most)
      }
      using device = createDevice('metal')
      const options = dtype === 'auto' ? {} : { dtype }
      const single = await logitsOneByOne(device, fixture(name), tokens, 3, options)
      expect(off(single, logits)).toBeLessThan(most)
    },
  )
})

// Minutes, too: npm run test:rig-models.
describe.runIf(process.env.SSM_RIG_MODELS === 'all')('a prompt of 3000 tokens', () => {
  test.each(Object.keys(TWINS))(
    '%s is no further off at its end than at its beginning',
    { timeout: 1_800_000 },
    async (name) => {
      const folder = await smallerFixture(name)
      const tokens = randomTokens(250, 3000, 11)
      const expected = TWINS[name]!.logits(await openTwin(folder), tokens)
      using model = await loadModel(folder, { device: 'metal' })
      const { data } = await model.logits(tokens)
      const off = offByThirds(data, expected, tokens.length)
      expect(Math.max(...off)).toBeLessThan(1e-4)
      expect(off[2]).toBeLessThan(2 * off[0])
    },
  )
})

describe('the model that ships in the package', () => {
  const path = fileURLToPath(new URL('../../models/rene-tiny', import.meta.url))
  const TOKENS = 32
  const options = { maxTokens: TOKENS, ignoreEos: true }
  // The ten take minutes: npm run test:ten-prompts. Of these three, one is for products of a vector, two
  // are for products of matrices, of an odd and of an even number of rows.
  const LENGTHS = [3, 11, 12]
  const all = process.env.SSM_RIG_PROMPTS === 'all'
  const expected = new Map<string, number[]>()

  /** For how many prompts a model gives the very tokens of the CPU device. */
  async function equalPrompts(model: Model): Promise<number> {
    let equal = 0
    for (const [prompt, ours] of expected) {
      const { tokens } = await model.generate(prompt, options)
      expect(tokens).toHaveLength(TOKENS)
      if (tokens.every((token, n) => token === ours[n])) equal += 1
    }
    return equal
  }

  beforeAll(async () => {
    using cpu = await loadModel(path, { device: 'cpu' })
    const chosen = all
      ? PROMPTS
      : LENGTHS.map((length) => PROMPTS.find((prompt) => cpu.encode(prompt).length === length)!)
    for (const prompt of chosen) expected.set(prompt, (await cpu.generate(prompt, options)).tokens)
    expect(expected.size).toBe(all ? 10 : LENGTHS.length)
  }, 600_000)

  test('continues prompts as on the CPU device', { timeout: 600_000 }, async () => {
    using model = await loadModel(path, { device: 'metal' })
    expect(await equalPrompts(model)).toBe(expected.size)
  })

  test('in float16 too, but for one of ten', { timeout: 600_000 }, async () => {
    using model = await loadModel(path, { device: 'metal', dtype: 'float16' })
    const equal = await equalPrompts(model)
    console.log(`float16: ${equal} of ${expected.size} prompts continue as on the CPU device`)
    expect(equal).toBeGreaterThanOrEqual(all ? PROMPTS.length - 1 : expected.size)
  })
})

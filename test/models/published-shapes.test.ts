// Random models of the shapes that scripts/bench measures: every family takes them, and loads all that it asks for.

import { describe, expect, it } from 'vitest'
import { PUBLISHED_SHAPES, smallConfig } from '../../scripts/bench/shapes/published.js'
import { planTensors, writeRandomCheckpoint } from '../../scripts/random-checkpoint.js'
import { loadModel } from '../../lib/load-model.js'
import { temporaryFolder } from '../support/checkpoints.js'

// As their authors count them.
const PARAMETERS: Record<string, number> = {
  'granite-4.0-h-350m': 340e6,
  'falcon-h1-tiny-90m': 91e6,
  'lfm2-350m': 354e6,
  'qwen3.5-0.8b': 0.75e9,
  'zamba2-1.2b': 1.2e9,
  'llamba-1b': 1.4e9,
  'nemotron-3-nano-4b': 4e9,
  'qwen3.5-35b-a3b': 35e9,
}

describe.each(Object.entries(PUBLISHED_SHAPES))('%s', (name, shape) => {
  it('has as many parameters as the published model', async () => {
    const plans = await planTensors({ ...shape.config, ...shape.scaled?.published })
    const count = plans.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)
    expect(Math.abs(count / PARAMETERS[name]! - 1), `${count} parameters`).toBeLessThan(0.03)
  })

  it('loads, small, and gives finite logits that depend on the token', async () => {
    const folder = await temporaryFolder()
    await writeRandomCheckpoint(folder, smallConfig(shape), { seed: 1 })
    await using model = await loadModel(folder, { device: 'cpu', threads: 1 })
    const { data } = await model.logits(Uint32Array.of(1, 2, 3))
    expect(data.every(Number.isFinite)).toBe(true)
    expect(new Set(data).size).toBeGreaterThan(data.length / 2)
  })

  it.skipIf(!shape.recurrent)('has a few layers that do not attend', async () => {
    const plans = await planTensors({ ...shape.config, ...shape.recurrent })
    expect(plans.length).toBeGreaterThan(10)
    expect(plans.filter(({ name }) => /q_proj|o_proj/.test(name))).toEqual([])
  })
})

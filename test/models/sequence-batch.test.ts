// A batch of sequences gives each what it would get alone.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { SequenceBatch } from '../../lib/bench/batch.js'
import { loadModel } from '../../lib/load-model.js'
import type { Model } from '../../lib/model.js'
import { Sequence } from '../../lib/models/sequence.js'
import { Sampler } from '../../lib/sampler.js'
import { fixture } from '../support/checkpoints.js'

let model: Model

beforeAll(async () => {
  model = await loadModel(fixture('rene'), { device: 'cpu' })
})
afterAll(() => model.dispose())

async function alone(prompt: Uint32Array, count: number): Promise<(number | undefined)[]> {
  const sampler = new Sampler(model.device, 'test', {})
  const sequence = new Sequence(model.languageModel, sampler)
  const tokens = [await sequence.prefill(prompt)]
  while (tokens.length < count) tokens.push(await sequence.decode())
  sequence.dispose()
  sampler.dispose()
  return tokens
}

it('chooses the tokens that each sequence alone would get', async () => {
  const length = 300 // two chunks
  const prompts = [3, 5, 11].map((factor) =>
    Uint32Array.from({ length }, (_, i) => (i * factor + factor) % model.config.vocabSize),
  )
  const expected = []
  for (const prompt of prompts) expected.push(await alone(prompt, 6))
  // Otherwise a batch that mixed up its sequences would pass.
  expect(new Set(expected.map(String)).size).toBe(3)

  const batch = new SequenceBatch(model.languageModel, 3)
  await batch.prefill(Uint32Array.from(prompts.flatMap((prompt) => [...prompt])))
  const rows = [batch.tokens]
  for (let i = 1; i < 6; i++) {
    await batch.decode()
    rows.push(batch.tokens)
  }
  batch.dispose()
  expect([0, 1, 2].map((sequence) => rows.map((tokens) => tokens[sequence]))).toEqual(expected)
})

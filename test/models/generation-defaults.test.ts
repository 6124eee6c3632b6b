// Sampling options that a model's generation_config.json gives.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  type GenerateOptions,
  loadModel,
  type LoadOptions,
  type Model,
  type Session,
} from '../../lib/index.js'
import type { Notice } from '../../lib/support/notices.js'
import { copyOfFixture, fixture } from '../support/checkpoints.js'

// Its logits are close to one another, so that every option changes the text.
const NAME = 'rene-gate-first'
const FILE = { do_sample: true, temperature: 3, top_k: 40, top_p: 0.9, repetition_penalty: 1.3 }
const DEFAULTS = { temperature: 3, topK: 40, topP: 0.9, repetitionPenalty: 1.3 }
const CALL = { maxTokens: 30, ignoreEos: true, seed: 5 }
const PROMPT = [1, 2, 3]

/** The fixture with a generation_config.json. */
async function load(content: object, options: LoadOptions = {}): Promise<Model> {
  const folder = await copyOfFixture(NAME)
  await writeFile(join(folder, 'generation_config.json'), JSON.stringify(content))
  return loadModel(folder, { device: 'cpu', ...options })
}

const said = async (from: Model | Session, options: GenerateOptions = {}) =>
  (await from.generate(PROMPT, { ...CALL, ...options })).tokens

let greedy: number[]
let sampled: number[]
beforeAll(async () => {
  using plain = await loadModel(fixture(NAME), { device: 'cpu' })
  expect(plain.generationDefaults).toEqual({})
  greedy = await said(plain)
  sampled = await said(plain, DEFAULTS)
  expect(sampled).not.toEqual(greedy)
})

describe('defaults of generation_config.json', () => {
  it('apply to generate and stream of a model and of its sessions', async () => {
    using model = await load(FILE)
    expect(model.generationDefaults).toEqual(DEFAULTS)
    expect(Object.isFrozen(model.generationDefaults)).toBe(true)
    expect(await said(model)).toEqual(sampled)
    expect((await model.stream(PROMPT, CALL).result).tokens).toEqual(sampled)
    using session = model.createSession()
    expect(await said(session)).toEqual(sampled)
    session.reset()
    expect((await session.stream(PROMPT, CALL).result).tokens).toEqual(sampled)
  })

  it('give way to the options of a call, one by one', async () => {
    using model = await load(FILE)
    using plain = await loadModel(fixture(NAME), { device: 'cpu' })
    for (const options of [
      { topK: 2 },
      { temperature: 0.5 },
      { repetitionPenalty: 1 },
      { topP: 1, repetitionContextSize: 3 },
    ]) {
      const tokens = await said(model, options)
      expect(tokens).toEqual(await said(plain, { ...DEFAULTS, ...options }))
      expect(tokens).not.toEqual(sampled)
    }
    expect(await said(model, { temperature: 0, repetitionPenalty: 1 })).toEqual(greedy)
    await expect(model.generate(PROMPT, { temperature: 0, topK: 5 })).rejects.toThrow(
      /topK changes nothing/,
    )
  })

  it('are off with generationConfig: false, but not the ends of a text', async () => {
    const end = greedy[3]!
    using model = await load({ ...FILE, eos_token_id: end }, { generationConfig: false })
    expect(model.generationDefaults).toEqual({})
    expect(Object.isFrozen(model.generationDefaults)).toBe(true)
    expect(await said(model)).toEqual(greedy)
    expect(model.endOfText.map(({ id }) => id)).toContain(end)
    expect(await said(model, { ignoreEos: false })).toEqual(greedy.slice(0, greedy.indexOf(end)))
    await expect(model.generate(PROMPT, { topK: 5 })).rejects.toThrow(/topK changes nothing/)
  })

  it('change no log-probabilities: neither logits nor scores', async () => {
    using model = await load(FILE)
    using plain = await loadModel(fixture(NAME), { device: 'cpu' })
    expect(await model.logits(PROMPT)).toEqual(await plain.logits(PROMPT))
    expect(await model.score(PROMPT, [[4, 5]])).toEqual(await plain.score(PROMPT, [[4, 5]]))
  })

  it('leave out what cannot be used, with a notice each', async () => {
    const notices: Notice[] = []
    const onNotice = (notice: Notice) => notices.push(notice)
    const odd = { ...FILE, temperature: 1e6, top_k: 'all', typical_p: 0.5 }
    using model = await load(odd, { onNotice })
    expect(model.generationDefaults).toEqual({ ...DEFAULTS, temperature: 1, topK: 50 })
    expect(notices.map(({ code }) => code)).toEqual(Array(3).fill('FILE_NOT_USED'))
    expect(await said(model)).toHaveLength(30)
  })
})

it('the option is true or false', async () => {
  await expect(loadModel(fixture(NAME), { generationConfig: 'no' as never })).rejects.toThrow(
    '[loadModel] generationConfig must be true or false but is "no"',
  )
  using model = await load(FILE, { generationConfig: true })
  expect(model.generationDefaults).toEqual(DEFAULTS)
})

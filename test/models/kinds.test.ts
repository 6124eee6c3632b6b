// One checkpoint of each kind of block and format: what is promised of sequences, for all of them.

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadModel } from '../../lib/load-model.js'
import type { Model } from '../../lib/model.js'
import { createDevice } from '../../lib/operations/create-device.js'
import { fixture, KIND_CHECKPOINTS, temporaryFolder } from '../support/checkpoints.js'
import { logitsOneByOne } from '../support/logits.js'
import { randomTokens } from '../support/random-checkpoint.js'
import { branches, fingerprint, promptOf, splits, stops } from '../support/session-cases.js'
import { expectSame, GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'
import { seededIntegers } from '../unit/random.js'

const sampled = { temperature: 1, seed: 3, ignoreEos: true, logprobs: 2 }
// Longer than a page and a chunk.
const LENGTH = 300

describe.each(KIND_CHECKPOINTS)('%s', (name) => {
  let model: Model
  beforeAll(async () => {
    model = await loadModel(fixture(name), { device: 'cpu', promptCache: false })
  })
  afterAll(() => model.dispose())

  it('gives the same logits in chunks of any size, and one at a time', async () => {
    const tokens = randomTokens(250, LENGTH, 5)
    const expected = (await model.logits(tokens, { prefillChunkSize: LENGTH })).data
    for (const prefillChunkSize of [1, 2, 3, 7, 64, 255, 256, 257]) {
      const { data } = await model.logits(tokens, { prefillChunkSize })
      expect(relativeL2(data, expected), `${prefillChunkSize}`).toBeLessThan(GOLDEN_RELATIVE_L2)
    }
    using device = createDevice('cpu')
    const single = await logitsOneByOne(device, fixture(name), tokens, 1)
    expect(relativeL2(single, expected)).toBeLessThan(GOLDEN_RELATIVE_L2)
  })

  it('lets no token know of later ones', async () => {
    const tokens = randomTokens(250, LENGTH, 5)
    const before = (await model.logits(tokens)).data
    const after = (await model.logits(tokens.with(280, (tokens[280]! + 1) % 250))).data
    const place = 280 * (before.length / LENGTH)
    expectSame(after.subarray(0, place), before.subarray(0, place))
    expect(relativeL2(after.subarray(place), before.subarray(place))).toBeGreaterThan(0.01)
  })

  it.each(Object.entries({ splits, branches, stops }))('%s, equal to the bit', async (_, play) => {
    for (const seed of [1, 2]) await play(model, seededIntegers(seed * 104_729), LENGTH)
  })

  it('has the bits in a batch that it has alone', async () => {
    const draw = seededIntegers(5)
    const prompts = [1, 3, 64, 255, 256, 257].map((length) => promptOf(model, length, draw))
    const options = { ...sampled, maxTokens: 6 }
    const bits = ({ tokens, logprobs }: Awaited<ReturnType<typeof model.generate>>) => ({
      tokens,
      logprobs,
    })
    const alone: unknown[] = []
    for (const prompt of prompts) alone.push(bits(await model.generate(prompt, options)))
    const together = await Promise.all(prompts.map((prompt) => model.generate(prompt, options)))
    expect(together.map(bits)).toEqual(alone)
  })

  it('is saved and loaded to the bit', async () => {
    const path = join(await temporaryFolder(), 'session')
    const draw = seededIntegers(2)
    using session = model.createSession()
    await session.generate(promptOf(model, 256 + draw(9), draw), { ...sampled, maxTokens: 3 })
    await session.save(path)
    using loaded = await model.loadSession(path)
    const next = promptOf(model, 3, draw)
    for (const each of [session, loaded]) await each.prefill(next)
    expect(await fingerprint(loaded)).toBe(await fingerprint(session))
    const options = { ...sampled, maxTokens: 5 }
    expect((await loaded.generate('', options)).tokens).toEqual(
      (await session.generate('', options)).tokens,
    )
  })
})

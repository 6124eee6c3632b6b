// Who holds which page is right whatever goes wrong: aborts, failures, evictions, and sessions that end anyhow.

import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { loadModel, type Model, type Session, type SessionCheckpoint } from '../../lib/index.js'
import { failNextRun, FAILURE, whileRunsFail } from '../support/failing-runs.js'
import { writeHybrid } from '../support/hybrid.js'
import { promptOf } from '../support/session-cases.js'
import { seededIntegers } from '../unit/random.js'

vi.mock('../../lib/operations/addon.js', async (original) => {
  const { withFailures } = await import('../support/failing-runs.js')
  return withFailures(await original())
})

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ssm-metal-'))
  await writeHybrid(folder)
})

const models: Model[] = []
afterAll(() => {
  for (const model of models) model.dispose()
})

async function load(promptCache: { maxBytes: number } | false): Promise<Model> {
  const model = await loadModel(folder, { device: 'cpu', promptCache, maxStreams: 4 })
  models.push(model)
  return model
}

/** Nothing is left when nobody wants anything, and nothing is kept for later. Copies may be on their way. */
async function expectNoPages(model: Model): Promise<void> {
  await expect.poll(() => model.engine.load).toMatchObject({ streams: 0, runs: 0, waiting: 0 })
  const left = () => {
    while (model.engine.freePages());
    return model.memory().pages!.pagesInUse
  }
  await expect.poll(left).toBe(0)
}

/** One call after another at random; errors are part of it. */
async function user(model: Model, draw: (n: number) => number): Promise<void> {
  const sessions: Session[] = []
  const moments: SessionCheckpoint[] = []
  const instructions = promptOf(model, 300, seededIntegers(1))
  const prompt = () => [
    ...instructions.slice(0, draw(300)),
    ...promptOf(model, 1 + draw(300), draw),
  ]
  const pick = <T>(list: T[]): T | undefined => list[draw(list.length || 1)]
  for (let round = 0; round < 12; round++) {
    const controller = new AbortController()
    const { signal } = controller
    const options = { signal, maxTokens: 1 + draw(30), ignoreEos: true }
    const timer = draw(3) === 0 ? setTimeout(() => controller.abort(), draw(20)) : undefined
    try {
      const operation = draw(8)
      const session = pick(sessions)
      if (operation < 2) await model.generate(prompt(), options)
      else if (operation === 2) {
        let left = 1 + draw(10)
        for await (const _ of model.stream(prompt(), options)) if (left-- === 0) break
      } else if (operation === 3) sessions.push(model.createSession())
      else if (!session) continue
      else if (operation === 4) await session.generate(prompt(), options)
      else if (operation === 5) sessions.push(await session.fork())
      else if (operation === 6) moments.push(await session.checkpoint())
      else if (moments.length > 0) await session.rewind(pick(moments)!)
      else session.reset()
    } catch {
      // The call was aborted, failed, or found a session that others had lost.
    } finally {
      clearTimeout(timer)
    }
    if (draw(6) === 0) pick(sessions)?.dispose()
    if (draw(6) === 0) pick(moments)?.dispose()
  }
  for (const held of [...sessions, ...moments]) held.dispose()
}

it.each([1, 2])('many users at once leave nothing, seed %i', async (seed) => {
  const model = await load({ maxBytes: 300_000 })
  await Promise.all([1, 2, 3].map((i) => user(model, seededIntegers(10 * seed + i))))
  await expectNoPages(model)
})

it.each(['device', 'operation'] as const)('nor do they where runs fail by the %s', async (by) => {
  const model = await load({ maxBytes: 300_000 })
  const draw = seededIntegers(5)
  await whileRunsFail(
    () => draw(40) === 0,
    async () => {
      await Promise.all([1, 2, 3].map((i) => user(model, seededIntegers(i))))
    },
    by,
  )
  await expectNoPages(model)
  // It goes on as if nothing had happened.
  const prompt = promptOf(model, 300, draw)
  const other = await load(false)
  const options = { maxTokens: 20, ignoreEos: true }
  expect((await model.generate(prompt, options)).tokens).toEqual(
    (await other.generate(prompt, options)).tokens,
  )
})

it('what shares pages is lost with them when the device fails', async () => {
  const model = await load({ maxBytes: 2 ** 24 })
  const prompt = promptOf(model, 300, seededIntegers(1))
  using session = model.createSession()
  await session.prefill(prompt)
  using moment = await session.checkpoint()
  await model.generate(prompt, { maxTokens: 2 })
  failNextRun({ withInputs: true })
  await expect(session.prefill([1])).rejects.toThrow(FAILURE)
  await expect(session.rewind(moment)).rejects.toThrow(FAILURE)
  // The prompt cache does not begin with what was lost.
  const { usage } = await model.generate(prompt, { maxTokens: 2 })
  expect(usage.cachedTokens).toBe(0)
  session.reset()
  await session.prefill(prompt)
  expect(session.position).toBe(300)
})

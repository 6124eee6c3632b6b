// Many more clients than there are places for, of whom every third leaves: scripts/serve/load.ts for a moment.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { loadModel, type Model } from '../../lib/index.js'
import { runClients } from '../../scripts/serve/clients.js'
import { seededExercises, sharedExercises } from '../../scripts/serve/exercises.js'
import { metric, serverForTest, untilTexts } from '../support/serving.js'

const CLIENTS = 64
const REQUESTS = 90
const places = { maxStreams: 16, maxQueue: 16 }
const load = { clients: CLIENTS, isOver: (sent: number) => sent >= REQUESTS }

/** Without a cache, and without company. */
let alone: Model
beforeAll(async () => {
  alone = await loadModel(undefined, { promptCache: false })
})
afterAll(() => alone.dispose())

it('each gets what it gets alone, for its seed', async () => {
  const server = await serverForTest({}, { ...places, promptCache: false })
  const { completed, left, refused, wrong } = await runClients(
    server.url,
    await seededExercises(alone, 3),
    load,
  )
  expect(wrong).toEqual([])
  expect(completed).toBeGreaterThan(30)
  expect(left).toBeGreaterThan(10)
  expect(refused).toBeGreaterThan(0)
  await untilTexts(server, 0)
  expect(server.lines).toEqual([])
})

it('with a prompt cache as well, up to rounding', async () => {
  const server = await serverForTest({}, places)
  const { completed, left, rounded, wrong } = await runClients(
    server.url,
    await sharedExercises(alone, 8),
    load,
  )
  expect(wrong).toEqual([])
  expect(completed).toBeGreaterThan(30)
  expect(left).toBeGreaterThan(10)
  // Two tokens that are as likely but for rounding are rare.
  expect(rounded).toBeLessThan(completed / 10)
  expect(await metric(server, 'cached_tokens_total')).toBeGreaterThan(100 * completed)
  await untilTexts(server, 0)
  expect(server.lines).toEqual([])
})

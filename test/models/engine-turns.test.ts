// Nobody starves: prompts come in pieces between steps, and a reader that lags holds nobody up.

import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished, vi } from 'vitest'
import { CommandList } from '../../lib/operations/device.js'
import { Prompts } from '../../lib/engine/prompt-queue.js'
import type { EngineStream } from '../../lib/engine/stream.js'
import { loadModel, type Model } from '../../lib/index.js'
import { fixture } from '../support/checkpoints.js'
import { type RunOfEngine, tokensOf, watchRuns } from '../support/company.js'
import { seededIntegers } from '../unit/random.js'

const OPTIONS = { ignoreEos: true, temperature: 3, seed: 4 }
const LONG = tokensOf(20_000, seededIntegers(1))

async function load(options: { maxStreams?: number } = {}): Promise<Model> {
  const model = await loadModel(fixture('rene'), { device: 'cpu', promptCache: false, ...options })
  onTestFinished(() => model.dispose())
  return model
}

function watched(): RunOfEngine[] {
  const watch = watchRuns()
  onTestFinished(watch.restore)
  return watch.runs
}

const isPiece = ({ tokens }: RunOfEngine) => tokens !== undefined
const read = (runs: readonly RunOfEngine[]) => runs.reduce((sum, { tokens = 0 }) => sum + tokens, 0)

it('a short prompt does not wait for a long one', async () => {
  const model = await load()
  const runs = watched()
  let isOver = false
  const long = model.generate(LONG, { ...OPTIONS, maxTokens: 1 }).then((result) => {
    isOver = true
    return result
  })
  while (runs.length < 3) await turn()
  const before = read(runs)
  await model.stream([7, 8], { ...OPTIONS, maxTokens: 5 }).next()
  expect(isOver).toBe(false)
  // What was under way when it came, and one turn of the long one.
  expect(read(runs) - before).toBeLessThan(5 * 256)
  await long
  expect(read(runs)).toBe(LONG.length + 2)
})

it('prompts take turns', async () => {
  const model = await load()
  const runs = watched()
  const calls = [1, 2, 3].map((i) =>
    model.generate(LONG.slice(0, 2000 + i), { ...OPTIONS, maxTokens: 1 }),
  )
  await Promise.all(calls)
  const turns = runs.filter(isPiece).map(({ slots }) => slots[0]!)
  for (let i = 0; i + 2 < 20; i++) expect(new Set(turns.slice(i, i + 3)).size).toBe(3)
})

it.each([
  ['a stream', (model: Model) => model.stream([5], { ...OPTIONS, maxTokens: 3000 })],
  [
    'the stream of a session',
    (model: Model) => model.createSession().stream([5], { ...OPTIONS, maxTokens: 3000 }),
  ],
])('the tokens of %s keep coming while a long prompt is read', async (_, start) => {
  const model = await load()
  const runs = watched()
  const stream = start(model)
  await stream.next()
  let tokens = 0
  const reading = (async () => {
    for await (const _ of stream) tokens += 1
  })()
  await sleep(5)
  runs.length = 0
  const others = model.generate(LONG.slice(0, 6000), { ...OPTIONS, maxTokens: 1 })
  const short = model.generate(LONG.slice(0, 500), { ...OPTIONS, maxTokens: 1 })
  const before = tokens
  await Promise.all([others, short])
  const pieces = runs.filter(isPiece).length
  expect(pieces).toBeGreaterThan(24)
  expect(tokens - before).toBeGreaterThan(pieces - 5)
  const first = runs.findIndex(isPiece)
  const last = runs.findLastIndex(isPiece)
  for (let i = first + 1; i <= last; i++) {
    expect(isPiece(runs[i]!) && isPiece(runs[i - 1]!), `runs ${i - 1} and ${i}`).toBe(false)
  }
  await stream.return()
  await reading
})

it.each([
  [undefined, { alone: 256, beside: 64 }],
  [960, { alone: 960, beside: 64 }],
  [64, { alone: 64, beside: 64 }],
  // Cut at multiples of 64 instead, it would leave other bits.
  [100, { alone: 100, beside: 100 }],
])('a prompt in chunks of %s is cut so that others do not wait', (chunkSize, { alone, beside }) => {
  for (const othersDecode of [false, true]) {
    const prompts = new Prompts()
    prompts.measured(64, 100)
    const tokens = new Uint32Array(2000)
    prompts.add({
      stream: { pieces: 0 } as EngineStream,
      tokens,
      options: { chunkSize },
      cuts: [],
      started: 0,
      resolve: () => {},
      reject: () => {},
    })
    expect(prompts.next(othersDecode)?.length).toBe(othersDecode ? beside : alone)
  }
})

it('a piece is measured without the step in front of it', async () => {
  const model = await load()
  const measured = vi.spyOn(Prompts.prototype, 'measured')
  const { run } = CommandList.prototype
  // A device on which steps take long: runs end one after another.
  let last: Promise<unknown> = Promise.resolve()
  const runs = vi.spyOn(CommandList.prototype, 'run').mockImplementation(async function (
    this: CommandList,
    options,
  ) {
    const ended = run.call(this, options)
    const { slots, tokens } = options?.inputs ?? {}
    const before = last
    const end = before.then(() => ended).then(() => sleep(slots && !tokens ? 80 : 0))
    last = end.catch(() => {})
    await end
    return ended
  })
  onTestFinished(() => {
    runs.mockRestore()
    measured.mockRestore()
  })
  const stream = model.stream([5], { ...OPTIONS, maxTokens: 1000 })
  await stream.next()
  measured.mockClear()
  await model.generate(LONG.slice(0, 1000), { ...OPTIONS, maxTokens: 1 })
  const times = measured.mock.calls.map(([, milliseconds]) => milliseconds)
  expect(times.length).toBeGreaterThan(2)
  expect(Math.min(...times)).toBeGreaterThan(0)
  expect(times.sort((a, b) => a - b)[times.length >> 1]).toBeLessThan(60)
  await stream.return()
})

it('a stream that has drawn its last token is in no further step', async () => {
  const model = await load()
  const options = { ...OPTIONS, maxTokens: 400 }
  const { tokens } = await model.generate([5], options)
  // The first token that comes late for the first time.
  const at = tokens.findIndex((token, i) => i > 20 && tokens.indexOf(token) === i)
  expect(at).toBeGreaterThan(20)
  const other = model.stream([9], { ...options, maxTokens: 2000 })
  await other.next()
  const runs = watched()
  const result = await model.generate([5], { ...options, stopTokens: [tokens[at]!] })
  expect(result.tokens).toEqual(tokens.slice(0, at))
  expect(result.finishReason).toBe('stop')
  for (let i = 0; i < 40; i++) await other.next()
  await sleep(20)
  const [piece] = runs.filter(isPiece)
  const steps = runs.filter((run) => !isPiece(run) && run.slots.includes(piece!.slots[0]!))
  // That of each token after the first, and what was started before the last one was known.
  expect(steps.length).toBeGreaterThanOrEqual(at)
  expect(steps.length).toBeLessThanOrEqual(at + 1)
  await other.return()
})

it('as many tokens as were asked for take as many steps', async () => {
  const model = await load()
  const runs = watched()
  await Promise.all([10, 20, 30].map((maxTokens) => model.generate([5], { ...OPTIONS, maxTokens })))
  const rows = runs.filter((run) => !isPiece(run)).reduce((sum, { slots }) => sum + slots.length, 0)
  expect(rows).toBe(9 + 19 + 29)
})

it('a reader that lags is at most 32 tokens behind, and holds nobody up', async () => {
  const model = await load()
  const runs = watched()
  const lagging = model.stream([5], { ...OPTIONS, maxTokens: 500 })
  await lagging.next()
  const slot = runs[0]!.slots[0]!
  const steps = () => runs.filter((run) => !isPiece(run) && run.slots.includes(slot)).length
  const expectSteps = async (count: number) => {
    await vi.waitFor(() => expect(steps()).toBe(count), { timeout: 5000 })
    await sleep(10)
    expect(steps()).toBe(count)
  }
  await expectSteps(32)
  // Others run to their end meanwhile.
  const other = await model.generate([9], { ...OPTIONS, maxTokens: 300 })
  expect(other.tokens).toHaveLength(300)
  expect(steps()).toBe(32)
  // Each token that is read lets the next one be drawn.
  for (let seen = 2; seen < 6; seen++) {
    await lagging.next()
    await expectSteps(31 + seen)
  }
  const { tokens } = await lagging.result
  expect(tokens).toEqual((await model.generate([5], { ...OPTIONS, maxTokens: 500 })).tokens)
})

it('a session is one step ahead at most', async () => {
  const model = await load()
  const runs = watched()
  const session = model.createSession()
  const stream = session.stream([5], { ...OPTIONS, maxTokens: 50 })
  const steps = () => runs.filter((run) => !isPiece(run)).length
  for (let seen = 1; seen < 5; seen++) {
    await stream.next()
    await vi.waitFor(() => expect(steps()).toBe(seen), { timeout: 5000 })
    await sleep(10)
    expect(steps()).toBe(seen)
    expect(session.position).toBe(seen + 1)
  }
  await stream.return()
})

it('a stream that has drawn its last token leaves its place, whether or not it is read', async () => {
  const model = await load({ maxStreams: 1 })
  const stream = model.stream([5], { ...OPTIONS, maxTokens: 12 })
  const first = await stream.next()
  // It would wait for ever.
  await model.generate([6], { ...OPTIONS, maxTokens: 2 })
  const rest = []
  for await (const { token } of stream) rest.push(token)
  const expected = await (await load()).generate([5], { ...OPTIONS, maxTokens: 12 })
  expect([first.value?.token, ...rest]).toEqual(expected.tokens)
})

it('sessions that generate at the same time share their steps', async () => {
  const model = await load()
  const count = 60
  using early = model.createSession()
  using late = model.createSession()
  const stream = early.stream([5], { ...OPTIONS, maxTokens: 2 * count })
  for (let i = 0; i < 9; i++) await stream.next()
  const runs = watched()
  const reading = (async () => {
    for (let i = 0; i < count; i++) await stream.next()
  })()
  await late.generate([6], { ...OPTIONS, maxTokens: count })
  await reading
  await stream.return()
  const steps = runs.filter((run) => !isPiece(run))
  const shared = steps.filter(({ slots }) => slots.length === 2)
  expect(shared.length).toBeGreaterThan(count - 15)
})

// Sessions that are saved and loaded. test/unit/session-file.test.ts has the format.

import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SessionMismatchError } from '../../lib/support/errors.js'
import { loadModel, type Model } from '../../lib/index.js'
import { fingerprint, promptOf } from '../support/session-cases.js'
import { seededIntegers } from '../unit/random.js'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const fixture = (name: string) => here(`../fixtures/reference/${name}`)
const folder = mkdtempSync(join(tmpdir(), 'ssm-metal-session-'))
const file = join(folder, 'a.session')
afterAll(() => rmSync(folder, { recursive: true }))

describe.each(['mamba2-hf', 'rene', 'edge-mlx-4bit'])('%s', (name) => {
  let model: Model
  beforeAll(async () => {
    model = await loadModel(fixture(name), { device: 'cpu' })
  })
  afterAll(() => model.dispose())
  const options = {
    ignoreEos: true,
    maxTokens: 8,
    temperature: 0.9,
    seed: 5,
    repetitionPenalty: 1.2,
  }

  test('goes on in another process as if nothing had happened', async () => {
    const draw = seededIntegers(11)
    using session = model.createSession()
    await session.prefill(promptOf(model, 150, draw))
    await session.generate('', { ...options, maxTokens: 3 }) // leaves a token that was not consumed
    await session.save(file)
    const args = ['--import', 'tsx', here('../support/continue-session.ts')]
    const child = spawnSync(process.execPath, [
      ...args,
      fixture(name),
      file,
      JSON.stringify(options),
    ])
    expect(child.stderr.toString()).toBe('')
    const other = JSON.parse(child.stdout.toString())
    const { tokens } = await session.generate([17, 4], options)
    expect(other.tokens).toEqual(tokens)
    expect(other.after).toBe(await fingerprint(session))
    expect(other.position).toBe(session.position)
  })

  test('has no more than its state, 4 bytes a token and 8 KB', async () => {
    using session = model.createSession()
    await session.prefill(promptOf(model, 1000, seededIntegers(2)))
    await session.save(file)
    const bytes = statSync(file).size
    expect(bytes).toBeGreaterThan(model.stateBytes + 4000)
    expect(bytes).toBeLessThan(model.stateBytes + 4000 + 8192)
  })

  test('in float16 takes half, and is close', async () => {
    using session = model.createSession()
    await session.prefill(promptOf(model, 100, seededIntegers(3)))
    await session.save(file, { dtype: 'float16', tokens: false })
    expect(statSync(file).size).toBeLessThan(model.stateBytes / 2 + 8192)
    using loaded = await model.loadSession(file)
    expect(loaded.position).toBe(100)
    expect(Array.from(loaded.consumed)).toEqual([])
    const rest = { ignoreEos: true, maxTokens: 1, logprobs: 0 }
    const a = await session.generate([9], rest)
    const b = await loaded.generate([9], rest)
    expect(Array.from(loaded.consumed)).toEqual([9, b.tokens[0]])
    expect(loaded.position).toBe(session.position)
    expect(b.logprobs![0]!.logprob).toBeCloseTo(a.logprobs![0]!.logprob, 2)
    // Its tokens are not known, so they cannot be saved.
    await loaded.save(file)
    using again = await model.loadSession(file)
    expect(again.position).toBe(loaded.position)
    expect(again.consumed).toHaveLength(0)
  })
})

test('can be saved once the weights can be read again', async () => {
  const copy = join(folder, 'model')
  cpSync(fixture('mamba2-hf'), copy, { recursive: true })
  using model = await loadModel(copy, { device: 'cpu' })
  using session = model.createSession()
  await session.prefill([1, 2, 3])
  renameSync(copy, `${copy}-away`)
  await expect(session.save(file)).rejects.toThrow(/no such file/)
  renameSync(`${copy}-away`, copy)
  await session.save(file)
  using loaded = await model.loadSession(file)
  expect(loaded.position).toBe(3)
})

test('another model is refused, a loaded session has no logits, and bad options say so', async () => {
  using model = await loadModel(fixture('mamba2-hf'), { device: 'cpu' })
  using other = await loadModel(fixture('mamba2-hf-groups'), { device: 'cpu' })
  using quantised = await loadModel(fixture('mamba2-hf'), {
    device: 'cpu',
    quantize: { bits: 8, groupSize: 32 },
  })
  using session = model.createSession()
  await session.prefill([1, 2, 3])
  await session.save(file)
  await expect(other.loadSession(file)).rejects.toThrow(SessionMismatchError)
  await expect(quantised.loadSession(file)).rejects.toThrow(SessionMismatchError)
  expect(other.memory().snapshotBytes).toBe(0)
  using loaded = await model.loadSession(file)
  await expect(loaded.generate()).rejects.toThrow(/nothing to go on from/)
  const copy = join(folder, 'copy')
  copyFileSync(file, copy)
  for (const [path, options] of [
    ['', {}],
    [copy, { dtype: 'float64' }],
    [copy, { tokens: 1 }],
    [copy, { what: 1 }],
  ] as const) {
    await expect(session.save(path, options as never)).rejects.toThrow(/^\[save\]/)
  }
  expect(readFileSync(copy)).toEqual(readFileSync(file))
  await expect(model.loadSession(7 as never)).rejects.toThrow(
    '[loadSession] the path must be a text',
  )
  await expect(model.loadSession(join(folder, 'none'))).rejects.toMatchObject({
    code: 'ERR_CORRUPT_FILE',
  })
})

// What a failed check means to who loads a model, on the CPU device. On Metal: test/software-metal.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { loadModel } from '../../lib/load-model.js'
import type { Notice } from '../../lib/support/notices.js'
import { Recorder } from '../../lib/operations/recorder.js'
import { fixture } from '../support/checkpoints.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'self-check-'))
  vi.stubEnv('XDG_CACHE_HOME', folder)
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

/** Greedy tokens, the level that they were computed on, and what was said. */
async function generated(device: 'auto' | 'cpu') {
  const notices: Notice[] = []
  await using model = await loadModel(fixture('rene'), {
    device,
    onNotice: (notice) => notices.push(notice),
  })
  const { tokens } = await model.generate([1, 2, 3, 4], { maxTokens: 5 })
  return { tokens, level: model.device.cpuLevel, notices }
}

/** Every product gets an activation that nobody asked for: those of checks, and those of models. */
function breakProducts() {
  const { matmul } = Recorder.prototype
  return vi.spyOn(Recorder.prototype, 'matmul').mockImplementation(function (
    this: Recorder,
    ...[x, weight, out, options]
  ) {
    matmul.call(this, x, weight, out, { ...options, activation: 'silu' })
  })
}

describe.each(['auto', 'cpu'] as const)('device %s', (device) => {
  it('is used without a word when it passes', async () => {
    const { level, notices } = await generated(device)
    expect(notices).toEqual([])
    expect(level).not.toBe('reference')
  })

  it('takes the plain loops and says why when its fast ones fail', async () => {
    const right = await generated(device)
    vi.stubEnv('SSM_METAL_SELF_CHECK', 'always')
    const spy = breakProducts()
    const notices: Notice[] = []
    const model = await loadModel(fixture('rene'), { device, onNotice: (n) => notices.push(n) })
    expect(model.device).toMatchObject({ name: 'cpu', cpuLevel: 'reference' })
    model.dispose()
    spy.mockRestore()
    expect(notices).toEqual([
      {
        code: 'SELF_CHECK_FAILED',
        message: expect.stringMatching(
          /^the \w+ code of the CPU device is not used, because its self-check failed: \[matmul\] float32 x float32, \d+ x 512 to 256, \w+: a result is off by [\d.]+, more than [\d.e-]+; the plain loops/,
        ),
      },
    ])
    // It is known now, and said to the next one too.
    vi.stubEnv('SSM_METAL_SELF_CHECK', undefined)
    const after = await generated(device)
    expect(after.level).toBe('reference')
    expect(after.notices).toEqual(notices)
    expect(after.tokens).toEqual(right.tokens)
  })
})

describe('the environment variable', () => {
  it('off: nothing is checked', async () => {
    vi.stubEnv('SSM_METAL_SELF_CHECK', 'off')
    const spy = breakProducts()
    await using model = await loadModel(fixture('rene'), { device: 'cpu' })
    expect(model.device.cpuLevel).not.toBe('reference')
    // Lists of the model itself have products too, of other shapes than a check's.
    const inputs = spy.mock.calls.map(([x]) => x.shape.at(-1))
    expect(inputs.length).toBeGreaterThan(0)
    expect(inputs).not.toContain(512)
  })

  it('with another value is an error', async () => {
    vi.stubEnv('SSM_METAL_SELF_CHECK', 'yes')
    await expect(loadModel(fixture('rene'), { device: 'cpu' })).rejects.toThrow(
      /SSM_METAL_SELF_CHECK must be off or always but is "yes"/,
    )
  })
})

it('onNotice must be a function', async () => {
  const options = { onNotice: 'shout' as unknown as () => void }
  await expect(loadModel(fixture('rene'), options)).rejects.toThrow(
    '[loadModel] onNotice must be a function but is "shout"',
  )
})

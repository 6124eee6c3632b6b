// What happens to who loads a model when the Metal device is right, wrong, crashes or hangs: each is one
// clear outcome, and the process goes on. Every load is a process of its own with a cache of its own.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FAILURE_REASON, RUN_STATUS } from '../../lib/addon/contract.js'
import type { Notice } from '../../lib/support/notices.js'
import { type ChildOptions, runChild } from '../support/child-process.js'
import { FIXTURES, fixture } from '../support/checkpoints.js'
import { compileMutant, type Mutation } from './rig.js'

const ADDON = fileURLToPath(new URL('build/Release/metal_device.node', import.meta.url))
const CLI = fileURLToPath(new URL('../../lib/cli.ts', import.meta.url))
const PROGRAM = fileURLToPath(new URL('../support/load-once.ts', import.meta.url))
const CHECK = fileURLToPath(new URL('../support/check-once.ts', import.meta.url))

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'self-check-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

interface Loaded {
  device?: 'cpu' | 'metal'
  tokens?: number[]
  notices: Notice[]
  /** How far the checks were, each time that it was reported. */
  checks: string[]
  message?: string
  code?: string
  operation?: string
  error?: number | null
  limit?: number | null
}

/** Loads a reference checkpoint and generates three tokens. */
async function load(
  model: string,
  device: 'auto' | 'metal',
  { env, ...options }: ChildOptions = {},
  words: readonly string[] = [],
): Promise<Loaded> {
  const { code, signal, stdout, stderr } = await runChild(PROGRAM, [model, device, ...words], {
    timeout: 240_000,
    ...options,
    env: {
      SSM_METAL_ADDON: ADDON,
      SSM_METAL_SELF_CHECK: 'tiny',
      XDG_CACHE_HOME: folder,
      ...env,
    },
  })
  // Nothing but the command line writes to the terminal.
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
  return JSON.parse(stdout)
}

/** Checks the device with other limits than those of a user. */
async function check(
  limits: [start: number, check: number, abort?: number],
  env: NodeJS.ProcessEnv,
) {
  const words = limits.map(String)
  const options = { env: { SSM_METAL_ADDON: ADDON, XDG_CACHE_HOME: folder, ...env } }
  const { code, signal, stdout, stderr } = await runChild(CHECK, words, options)
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
  return JSON.parse(stdout)
}

const saved = () => {
  const { devices } = JSON.parse(readFileSync(join(folder, 'ssm-metal/checks.json'), 'utf8'))
  return devices[0] as { key: string; checks: { id: string; passed: boolean }[] }
}

/** Metal was not used by `auto`, and is refused by name, with this failure. */
async function expectRefused(model: string, failure: RegExp, options?: ChildOptions) {
  const auto = await load(model, 'auto', options)
  expect(auto).toMatchObject({
    device: 'cpu',
    tokens: [expect.any(Number), expect.any(Number), expect.any(Number)],
  })
  expect(auto.notices).toEqual([{ code: 'SELF_CHECK_FAILED', message: expect.any(String) }])
  const [{ message }] = auto.notices as [Notice]
  expect(message).toMatch(/^computing on the CPU, because the GPU \(.+\) failed its self-check: \[/)
  expect(message).toMatch(failure)
  // Known now: nothing is computed on the device.
  const named = await load(model, 'metal', options)
  expect(named).toMatchObject({ code: 'ERR_SELF_CHECK_FAILED', notices: [] })
  expect(named.message).toMatch(/^\[loadModel\] device 'metal' cannot be used: the GPU/)
  expect(named.message).toMatch(failure)
  return named
}

describe('a right device', { timeout: 240_000 }, () => {
  it('is used without a word, and is checked once', async () => {
    const first = await load('rene', 'auto')
    expect(first).toMatchObject({ device: 'metal', notices: [] })
    const progress = Array.from({ length: 12 }, (_, i) => `${i} of 11`)
    expect(first.checks).toEqual(progress)
    const { checks, key } = saved()
    expect(key).toMatch(/^metal; .*; vector_outputs=\d+; /)
    expect(checks.map(({ id }) => id.split(' ')[0])).toEqual([
      ...['matmul', 'ssd_chunk_scan', 'mamba2_update', 'attention_prefill', 'attention_decode'],
      ...['sample', 'sample', 'sample', 'keep_logits', 'token_logprobs', 'token_logprobs'],
    ])
    expect(checks.every(({ passed }) => passed)).toBe(true)
    const { env, exists } = marking()
    const second = await load('rene', 'metal', { env })
    expect(second).toMatchObject({ device: 'metal', notices: [], checks: [] })
    expect(exists()).toBe(false)
    expect(saved().checks).toEqual(checks)
  })

  it('is checked in this process where no other can be started', async () => {
    const nodeOptions = ['--import', preload('bundle.mjs', BUNDLE)]
    expect(await load('mamba2-hf', 'metal', { nodeOptions })).toMatchObject({
      device: 'metal',
      notices: [],
    })
    expect(saved().checks).toHaveLength(9)
  })

  it('is checked in this process where starting another one fails', async () => {
    const program = `
      import { ChildProcess } from 'node:child_process'
      ChildProcess.prototype.spawn = () => { throw Object.assign(new Error('spawn EAGAIN'), { code: 'EAGAIN' }) }`
    const nodeOptions = ['--import', preload('again.mjs', program)]
    expect(await load('mamba2-hf', 'metal', { nodeOptions })).toMatchObject({
      device: 'metal',
      notices: [],
    })
    expect(saved().checks).toHaveLength(9)
  })

  it('is checked in this process where another one ends before it runs', async () => {
    const { env, exists } = marking('process.exit(7)')
    const loaded = await load('mamba2-hf', 'metal', { env })
    expect(loaded).toMatchObject({ device: 'metal', notices: [] })
    expect(saved().checks).toHaveLength(9)
    expect(exists()).toBe(true)
  })

  it('is checked in this process where another one does not begin', async () => {
    const wait = inCheckProcess('setInterval(() => {}, 1000); await new Promise(() => {})')
    const env = { NODE_OPTIONS: `--import ${preload('waits.mjs', wait)}` }
    expect(await check([1000, 60_000], env)).toEqual({ failure: null })
    expect(saved().checks).toHaveLength(7)
  })
})

/** A module that Node loads before the program. */
function preload(name: string, text: string): string {
  const file = join(folder, name)
  writeFileSync(file, text)
  return file
}

/** An environment in which a process that checks a device leaves a mark when it starts. */
function marking(then = '') {
  const mark = join(folder, 'mark')
  const text = `(await import('node:fs')).writeFileSync(${JSON.stringify(mark)}, ''); ${then}`
  const env = { NODE_OPTIONS: `--import ${preload('marks.mjs', inCheckProcess(text))}` }
  return { env, exists: () => existsSync(mark) }
}

const inCheckProcess = (text: string) =>
  `if (process.argv[1]?.includes('check-process')) { ${text} }`

/** What the device does instead of a run. */
const insteadOfRun = (text: string) => `
  const { dlopen } = process
  process.dlopen = (module, ...given) => {
    dlopen(module, ...given)
    const addon = module.exports
    const run = (device, list, inputs, outputBytes, callback) => {
      if (addon.deviceGpu(device) === undefined) return addon.run(device, list, inputs, outputBytes, callback)
      ${text}
      return 0
    }
    module.exports = Object.create(addon, { run: { value: run } })
  }`

/** A run that a GPU fails (lib/addon/contract.ts). */
const gpuFails = (message: string) => {
  const failure = { reason: FAILURE_REASON.other, operation: undefined, message }
  return `callback(${RUN_STATUS.deviceFailed}, ${JSON.stringify(failure)}, new ArrayBuffer(0))`
}

/** An environment in which it does so in the process that checks it. */
const failing = (text: string) => ({
  NODE_OPTIONS: `--import ${preload('fails.mjs', inCheckProcess(insteadOfRun(text)))}`,
})

// As in a bundle, where the executable is the application.
const BUNDLE = `Object.defineProperty(process, 'execPath', { value: '/opt/app/My App' })`

describe('a device that fails', { timeout: 240_000 }, () => {
  const first = /: \[matmul\] float32 x float32, 36 x 128 to 40: /.source

  it('by crashing ends the process that checks it', async () => {
    const env = failing(`process.kill(process.pid, 'SIGSEGV')`)
    const failure = new RegExp(`${first}the process that checked it was ended by SIGSEGV`)
    const { operation, error, limit } = await expectRefused('mamba2-hf', failure, { env })
    expect({ operation, error, limit }).toEqual({ operation: 'matmul', error: null, limit: null })
  })

  it('by an assertion is quoted by it', async () => {
    const env = failing(`console.error('-[MTLBuffer validate]: failed assertion'); process.abort()`)
    const failure = new RegExp(
      `${first}the process that checked it was ended by SIGABRT: -\\[MTLBuffer validate\\]: failed assertion`,
    )
    await expectRefused('mamba2-hf', failure, { env })
  })

  it('by rejecting a run says what it said', async () => {
    const env = failing(gpuFails('[metal] the GPU failed: Caused GPU Address Fault Error'))
    await expectRefused('mamba2-hf', new RegExp(`${first}\\[metal\\] the GPU failed: Caused`), {
      env,
    })
  })
})

describe('a device that hangs', { timeout: 240_000 }, () => {
  it.each([
    ['and never reports a run', ''],
    ['with its whole process', 'for (;;) {}'],
  ])('%s fails the check after its limit', async (_, text) => {
    const env = failing(text)
    expect(await check([60_000, 3000], env)).toEqual({
      failure: {
        ...{ operation: 'matmul', dtype: 'float16 x float16', shape: '36 x 128 to 40' },
        ...{ passed: false, error: null, limit: null, failure: 'it did not end within 3 s' },
      },
    })
    expect(saved().checks).toMatchObject([{ passed: false }])
  })

  it('does not keep who no longer wants to wait', async () => {
    const env = failing('for (;;) {}')
    expect(await check([60_000, 60_000, 5000], env)).toEqual({ rejected: 'enough' })
    // Nothing is known.
    expect(saved().checks).toEqual([])
  })
})

it('an error of onProgress ends the checks and is the one of the caller', {
  timeout: 240_000,
}, async () => {
  const loaded = await load('rene', 'metal', {}, ['2'])
  expect(loaded).toMatchObject({ message: 'no more', checks: ['0 of 11', '1 of 11', '2 of 11'] })
  // What was found until then is known.
  expect(saved().checks).toHaveLength(2)
})

describe('a device that crashes where no other process can be started', () => {
  it('does so twice, and is not used from then on', { timeout: 240_000 }, async () => {
    const crash = insteadOfRun(`process.kill(process.pid, 'SIGSEGV')`)
    const nodeOptions = ['--import', preload('crash.mjs', `${BUNDLE}\n${crash}`)]
    for (let i = 0; i < 2; i++) {
      await expect(load('mamba2-hf', 'auto', { nodeOptions })).rejects.toThrow('SIGSEGV')
    }
    const failure = /\[matmul\] float32 x float32, .*: 2 processes ended while they checked it/
    await expectRefused('mamba2-hf', failure, { nodeOptions })
  })
})

// One mistake in each operation that is checked.
const MUTANTS: Record<string, Mutation & { model: string; off: RegExp }> = {
  'matmul of a prompt': {
    model: 'mamba2-hf',
    file: 'tile_sums.h',
    kernels: 'matmat.metal',
    from: 'for (uint k = 0; k < kTile; k += 8) {',
    to: 'for (uint k = 0; k < kTile - 8; k += 8) {',
    off: /\[matmul\] float32 x float32, 36 x 128 to 40, \w+/,
  },
  'matmul of one token': {
    model: 'mamba2-hf',
    file: 'matvec.metal',
    from: 'sums.of[j][r] += dot(x_low, low[j]) + dot(x_high, high[j]);',
    to: 'sums.of[j][r] += dot(x_low, low[j]) + 0.999f * dot(x_high, high[j]);',
    off: /\[matmul\] float32 x float32, 1 x 128 to 40, \w+/,
  },
  'quantizedMatmul of a prompt': {
    model: 'edge-mlx-4bit',
    file: 'quantized_tile.h',
    kernels: 'quantized_matmat.metal',
    from: 'inside ? dequantized(eight, i, numbers)',
    to: 'inside ? dequantized(eight, i ^ 1u, numbers)',
    off: /\[quantizedMatmul\] float32 x 4-bit g\d+ float16, 36 x 128 to 40, \w+/,
  },
  'quantizedMatmul of one token': {
    model: 'edge-mlx-8bit',
    file: 'quantized_matvec.metal',
    from: 'sums.of[j][r] += weights.numbers[i].bias * total;',
    to: 'sums.of[j][r] += 0.999f * weights.numbers[i].bias * total;',
    off: /\[quantizedMatmul\] float32 x 8-bit g\d+ float16, 1 x 128 to 40, \w+/,
  },
  'expertsMatmul of a prompt': {
    model: 'qwen3-5-moe',
    file: 'expert_tile.h',
    kernels: 'experts_matmat.metal',
    from: 'product / p.sharing',
    to: '0 / p.sharing',
    off: /\[expertsMatmul\] float32 x \w+, 75 to 37, 67 tokens, 4 of 6 experts/,
  },
  ssdChunkScan: {
    model: 'mamba2-hf',
    file: 'ssd_chunk_pass.metal',
    from: 'S = decay[at * p.heads + h] * S + added;',
    to: 'S = decay[at * p.heads] * S + added;',
    off: /\[ssdChunkScan\] float32, 66 tokens, 1 x 2 x \d+ x \d+/,
  },
  mamba2Update: {
    model: 'mamba2-hf',
    file: 'mamba2_update.metal',
    from: 'dt_bias[h], p.dt_min',
    to: 'dt_bias[0], p.dt_min',
    off: /\[mamba2Update\] float32, 1 x 2 x \d+ x \d+/,
  },
  'mamba2Update whose rows take the slots of their numbers': {
    model: 'mamba2-hf',
    file: 'mamba2_update.metal',
    from: 'slot = rows[b];',
    to: 'slot = b;',
    off: /\[mamba2Update\] float32, 1 x 2 x \d+ x \d+/,
  },
  attentionPrefill: {
    model: 'rene',
    file: 'attention_prefill.metal',
    from: 'int(p.window), simdgroup',
    to: 'int(p.window) - 1, simdgroup',
    off: /\[attentionPrefill\] float32, 66 tokens, 1 x 2\/1 x \d+, window 16/,
  },
  attentionDecode: {
    model: 'rene',
    file: 'attention_decode.metal',
    from: 'min(position[b], p.window - 1) + 1;',
    to: 'min(position[b], p.window - 2) + 1;',
    off: /\[attentionDecode\] float32, 1 x 2\/1 x \d+, window 16/,
  },
  pagedAttentionDecode: {
    model: 'nemotron-h',
    file: 'paged_attention_decode.metal',
    from: 'part.first + pages_each * kPagePositions, position);',
    to: 'part.first + pages_each * kPagePositions, position - 1);',
    off: /\[pagedAttentionDecode\] float32, 1 x \d+\/2 x \d+ at 265, float32 pages/,
  },
  sample: {
    model: 'mamba2-hf',
    file: 'sample.metal',
    from: 'draw(score, least, position[slot], ',
    to: 'draw(score, least, position[0], ',
    off: /\[sample\] float32, 3 x 300, temperature 0.8/,
  },
}

describe('a wrong kernel is found', { timeout: 300_000 }, () => {
  it.each(Object.entries(MUTANTS))('%s', async (name, { model, off, ...mutation }) => {
    const copy = join(folder, 'kernels')
    mkdirSync(copy)
    // Compiled quickly: little is computed.
    const library = compileMutant(copy, name.split(' ')[0]!, mutation, ['-O0'])
    const figures =
      name === 'sample' ? 'a result is off by' : 'a result is off by [\\d.e-]+, more than [\\d.e-]+'
    const env = { SSM_SOFTWARE_METAL_KERNELS: library }
    const failure = new RegExp(`${off.source}: ${figures}`)
    const { operation, error, limit } = await expectRefused(model, failure, { env })
    expect(operation).toBe(name.split(' ')[0])
    expect(error).toBeGreaterThan(limit!)
  })
})

describe('on the command line', { timeout: 240_000 }, () => {
  it('generate says once why it computes elsewhere, and info knows', async () => {
    const failure = '[metal] the GPU failed: Caused GPU Address Fault Error'
    const env = {
      ...{ SSM_METAL_ADDON: ADDON, SSM_METAL_SELF_CHECK: 'tiny', XDG_CACHE_HOME: folder },
      ...failing(gpuFails(failure)),
    }
    const untold = await runChild(CLI, ['info'], { env })
    expect(untold.stdout).toMatch(/^checked +metal: not yet: the first model/m)
    expect(untold.stdout).toMatch(/^checked +cpu: not yet: the first model/m)

    const model = ['-m', fixture('rene'), '--tokenizer', join(FIXTURES, 'tokenizer-250')]
    const words = ['generate', ...model, '-p', 'Once upon', '-n', '3']
    const generated = await runChild(CLI, words, { env })
    expect(generated.code).toBe(0)
    expect(generated.stdout.length).toBeGreaterThan(1)
    expect(generated.stderr).toBe(
      `ssm-metal: computing on the CPU, because the GPU (stand-in) failed its self-check: [matmul] float32 x float32, 36 x 128 to 40: ${failure} (SSM_METAL_SELF_CHECK=always checks it again)\n`,
    )

    const refused = await runChild(CLI, [...words, '--device', 'metal'], { env })
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(
      /^ssm-metal generate: \[loadModel\] device 'metal' cannot be used: /,
    )

    const { stdout } = await runChild(CLI, ['info', '--json'], { env })
    expect(JSON.parse(stdout).selfCheck).toMatchObject({
      metal: { result: 'failed', failure: expect.stringContaining(failure) },
      cpu: { result: 'passed', checks: 11 },
    })
  })
})

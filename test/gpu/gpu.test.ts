// What runs on a GPU, here over a driver that runs kernels on the rig, and kernels through the second
// compiler.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDevice, referenceDevice } from '../../lib/operations/create-device.js'
import { verify } from '../../lib/verify/verify.js'

const here = fileURLToPath(new URL('.', import.meta.url))
const built = fileURLToPath(new URL('../software-metal/build', import.meta.url))
const seeded = fileURLToPath(new URL('../software-metal/seeded', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'gpu-'))

function run(program: string, args: string[]) {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  return { status, output: `${stdout}${stderr}` }
}
const compile = (...args: string[]) => run(process.execPath, [join(here, 'compile.mjs'), ...args])
const lines = (file: string) => readFileSync(file, 'utf8').trim().split('\n')

beforeAll(() => {
  // The driver looks at names of functions only.
  writeFileSync(join(folder, 'any.cubin'), '')
  process.env.SSM_GPU_CUBINS = folder
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('the second compiler', () => {
  test('takes every kernel file', { timeout: 600_000 }, () => {
    const { status, output } = compile(join(folder, 'all'))
    expect(output).toMatch(/^cuda: (\d+) of \1 kernel files compile/m)
    expect(status).toBe(0)
    expect(readFileSync(join(folder, 'all/rms_norm.ptx'), 'utf8')).toContain(
      '.visible .entry rms_norm_float32_float32(',
    )
  })

  test('compiles in the constants of a list of pipelines', () => {
    const pipelines = join(folder, 'pipelines.jsonl')
    const constants = { vectors: 1, state_rows: 2 }
    const row = { kernel: 'ssd_update_float32', constants, threads: 256 }
    writeFileSync(pipelines, `${JSON.stringify(row)}\n`)
    const file = fileURLToPath(new URL('../../metal/ssd_update.metal', import.meta.url))
    expect(compile('--pipelines', pipelines, join(folder, 'one'), file).status).toBe(0)
    const text = readFileSync(join(folder, 'one/ssd_update.ptx'), 'utf8')
    expect(text.match(/\.entry (\w+)/g)).toEqual([
      '.entry ssd_update_float32__vectors_1__state_rows_2',
    ])
    expect(text).toContain('.maxntid 256')
  })

  test('refuses what is wrong', () => {
    const wrong = join(seeded, 'strict_unknown_function.metal')
    const { status, output } = compile(join(folder, 'wrong'), wrong)
    expect(output).toContain("'expm1'")
    expect(status).toBe(1)
  })
})

describe('the device', () => {
  test.each(['quantized_matmul', 'matmul', 'mamba2_update', 'attention_decode', 'cast'] as const)(
    '%s is within its limits',
    { timeout: 300_000 },
    async (operation) => {
      using device = createDevice('metal')
      using reference = referenceDevice()
      let count = 0
      for await (const each of verify(device, reference, {
        operations: [operation],
        smallOnly: true,
      })) {
        expect(each).toMatchObject({ passed: true })
        count += 1
      }
      expect(count).toBeGreaterThan(5)
    },
  )

  test('notes pipelines without a GPU, launches and times', async () => {
    const files = ['PIPELINES', 'LAUNCHES', 'TIMES'].map((name) => join(folder, name))
    const [pipelines, launches, times] = files as [string, string, string]
    async function add(variables: Record<string, string>) {
      Object.assign(process.env, variables)
      using device = createDevice('metal')
      for (const name of Object.keys(variables)) delete process.env[name]
      const [a, b] = [device.tensor('float32', [300]), device.tensor('float32', [300])]
      a.write(new Float32Array(300).fill(2))
      process.env.SSM_GPU_LABEL = 'twice'
      using list = device.record((cl) => cl.add(a, a, b))
      await list.run()
      return (b.read() as Float32Array)[299]
    }
    expect(await add({ SSM_GPU_PIPELINES: pipelines })).toBe(0)
    expect(lines(pipelines).map((line) => JSON.parse(line))).toEqual([
      { kernel: 'add_float32', constants: {}, threads: expect.any(Number) },
    ])
    expect(await add({ SSM_GPU_LAUNCHES: launches, SSM_GPU_TIMES: times })).toBe(4)
    expect(JSON.parse(lines(launches)[0]!)).toMatchObject({
      label: 'twice',
      function: 'add_float32',
    })
    expect(JSON.parse(lines(times)[0]!)).toHaveProperty('copyGigabytesPerSecond')
    expect(JSON.parse(lines(times)[1]!)).toMatchObject({ label: 'twice', dispatches: 1 })
  })

  test('says what is missing', () => {
    process.env.SSM_GPU_CUBINS = join(folder, 'pipelines')
    expect(() => createDevice('metal')).toThrow()
    process.env.SSM_GPU_CUBINS = folder
  })
})

describe('a kernel that is wrong fails its launch', () => {
  const program = join(built, 'gpu_run_seeded')
  test.each(['neighbour', 'neighbour_in_simdgroup'])('%s is right', (kernel) => {
    expect(run(program, [folder, kernel])).toEqual({ status: 0, output: 'ok 8256\n' })
  })
  test.each([
    ['reads_past_buffer', 'OUT OF BOUNDS'],
    ['barrier_after_return', 'DIVERGENT BARRIER'],
    ['partial_simd_sum', 'PARTIAL SIMDGROUP OPERATION'],
  ])('%s', (kernel, message) => {
    const { status, output } = run(program, [folder, kernel])
    expect(output).toContain(message)
    expect(output).toContain(`${kernel} failed: CUDA_ERROR_LAUNCH_FAILED`)
    expect(status).toBe(1)
  })
})

// What kernels move, counted by the checked build: no time can be measured here, but passes and bytes
// can. A number that grows is a kernel that got worse.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ActivationType, Device } from '../../lib/operations/device.js'
import { createDevice } from '../../lib/operations/create-device.js'
import { EXPERT_TILE, mostExpertTiles } from '../../lib/operations/arguments.js'
import { operationNamed } from '../../lib/operations/table.js'
import type { Recorder } from '../../lib/operations/recorder.js'
import { runOnce, seededNormals, upload } from '../support/arrays.js'
import { readTrace, type TracedDispatch, type TracedThreadgroupMemory } from './trace.js'

const folder = mkdtempSync(join(tmpdir(), 'traffic-'))
const trace = join(folder, 'trace.jsonl')
let device: Device

// At once: whoever asks for an operation has the addon loaded.
process.env.SSM_METAL_ADDON = fileURLToPath(
  new URL('build/Release/metal_device_checked.node', import.meta.url),
)
process.env.SSM_SOFTWARE_METAL_TRACE = trace
beforeAll(() => {
  device = createDevice('metal')
})
afterAll(() => {
  device.dispose()
  rmSync(folder, { recursive: true })
})

/** The dispatches of a list. */
async function dispatchesOf(on: Device, record: (cl: Recorder) => void): Promise<TracedDispatch[]> {
  writeFileSync(trace, '')
  await runOnce(on, record)
  return readTrace(trace)[0]!.dispatches
}

describe('sample', () => {
  const VOCABULARY = 3000
  const MASK_WORDS = Math.ceil(VOCABULARY / 32)
  // The buffer behind those of the operation and its parameters.
  const SCORES = operationNamed('sample').buffers.length + 1

  /** How it draws a token, and which of its buffers it uses besides. */
  interface Given {
    topK?: number
    topP?: number
    /** Of the buffers that only some slots use: presence penalty, biases and mask in use. */
    uses?: 0 | 1
  }

  async function dispatchOf({ topK = 0, topP = 1, uses = 0 }: Given): Promise<TracedDispatch> {
    const logits = upload(device, 'float32', [1, VOCABULARY], seededNormals(1)(VOCABULARY, 3))
    const dispatches = await dispatchesOf(device, (cl) =>
      cl.sample({
        logits,
        rows: upload(device, 'uint32', [1], [0]),
        settings: upload(device, 'float32', [1, 6], [1, topP, 0, 1, uses, 0]),
        selection: upload(device, 'uint32', [1, 8], [topK, 1, 2, 1, 0, uses, uses, 0]),
        stops: upload(device, 'uint32', [1, 1], [0xffffffff]),
        biases: device.tensor('uint32', [1, 2]),
        mask: upload(device, 'uint32', [1, MASK_WORDS], new Array(MASK_WORDS).fill(0xffffffff)),
        counts: device.tensor('uint32', [1, VOCABULARY]),
        history: upload(device, 'uint32', [1, 1], [0xffffffff]),
        position: upload(device, 'uint32', [1], [0]),
        remaining: upload(device, 'uint32', [1], [9]),
        kept: device.tensor('float32', [1, VOCABULARY]),
        out: device.tensor('uint32', [1]),
        report: device.tensor('uint32', [1, 2]),
      }),
    )
    return dispatches[0]!
  }

  const bytesRead = ({ buffers }: TracedDispatch, buffer: number) =>
    buffers.find(({ index }) => index === buffer)?.distinctRead ?? 0

  // The largest, the draw, and four passes for each threshold. (The checked build does not see the read
  // before a write: the division by the temperature.)
  test.each([
    { topK: 0, topP: 1, expected: 2 },
    { topK: 50, topP: 1, expected: 6 },
    { topK: 0, topP: 0.9, expected: 6 },
    { topK: 50, topP: 0.9, expected: 10 },
  ])('reads the logits $expected times with top-k $topK and top-p $topP', async (given) => {
    const { buffers } = await dispatchOf(given)
    const scores = buffers.find(({ index }) => index === SCORES)!
    expect(Math.round(scores.read / (4 * VOCABULARY))).toBe(given.expected)
  })

  test('reads counts, biases and masks only where they are in use', async () => {
    const bytesOf = async (uses: 0 | 1) => {
      const dispatch = await dispatchOf({ uses })
      return (['counts', 'biases', 'mask'] as const).map((name) =>
        bytesRead(
          dispatch,
          operationNamed('sample').buffers.findIndex((buffer) => buffer.name === name),
        ),
      )
    }
    expect(await bytesOf(0)).toEqual([0, 0, 0])
    expect(await bytesOf(1)).toEqual([4 * VOCABULARY, 8, 4 * MASK_WORDS])
  })
})

describe('a product of a chunk', () => {
  const SIZE = 128 // rows, inputs and outputs

  /** Bytes of threadgroup memory, read and written, for each multiplication. */
  async function bytesOf(dtype: ActivationType, weight: 'float16' | '4 bits', large: boolean) {
    using on = createDevice('metal', { tuning: { large_tiles: large ? 1 : 2 ** 20 } })
    const x = upload(on, dtype, [SIZE, SIZE], new Float32Array(SIZE * SIZE).fill(1))
    const out = on.tensor(dtype, [SIZE, SIZE])
    const groups = [SIZE, SIZE / 64]
    const ones = () => upload(on, 'float16', groups, new Float32Array(SIZE * 2).fill(1))
    const matrix = on.tensor('float16', [SIZE, SIZE])
    const words = on.tensor('uint32', [SIZE, SIZE / 8])
    const dispatches = await dispatchesOf(on, (cl) => {
      const options = { role: 'chunk' } as const
      if (weight === 'float16') cl.matmul(x, matrix, out, options)
      else {
        const affine = { words, scales: ones(), biases: ones(), bits: 4, groupSize: 64 } as const
        cl.quantizedMatmul(x, affine, out, options)
      }
    })
    expect(dispatches).toHaveLength(1)
    const [{ threadgroups, threadgroupMemory }] = dispatches as [TracedDispatch]
    const size = large ? 64 : 32
    expect(threadgroups).toEqual([SIZE / size, SIZE / size, 1])
    const [{ read, written }] = threadgroupMemory as [TracedThreadgroupMemory]
    // What the results cost on their way out: a float32 each, written and read.
    return (read + written - 8 * SIZE ** 2) / SIZE ** 3
  }

  // docs/kernel-counts.md derives these.
  test.each([
    { dtype: 'float32', weight: 'float16', large: false, expected: 0.75 },
    { dtype: 'float32', weight: 'float16', large: true, expected: 0.375 },
    { dtype: 'float16', weight: 'float16', large: false, expected: 0.375 },
    { dtype: 'float16', weight: 'float16', large: true, expected: 0.1875 },
    { dtype: 'float32', weight: '4 bits', large: false, expected: 0.75 },
    { dtype: 'float16', weight: '4 bits', large: false, expected: 0.375 },
    { dtype: 'float32', weight: '4 bits', large: true, expected: 0.375 },
    { dtype: 'float16', weight: '4 bits', large: true, expected: 0.1875 },
  ] as const)(
    'moves $expected bytes a multiplication: $dtype, $weight, large tiles $large',
    async ({ dtype, weight, large, expected }) => {
      expect(await bytesOf(dtype, weight, large)).toBe(expected)
    },
  )
})

describe('products of a chunk with experts', () => {
  const [EXPERTS, INPUTS, OUTPUTS] = [4, 64, 96]
  const WEIGHT_BYTES = 2 * INPUTS * OUTPUTS // of an expert

  /** The dispatches for so many tokens, of which `expertOf` chooses the expert; bytes of the weight. */
  async function productsOf(tokens: number, expertOf: (token: number) => number) {
    const x = device.tensor('float32', [tokens, INPUTS])
    const weight = device.tensor('float16', [EXPERTS * OUTPUTS, INPUTS])
    const choices = Array.from({ length: tokens }, (_, token) => expertOf(token))
    const chosen = upload(device, 'uint32', [tokens, 1], choices)
    const tiles = device.tensor('uint32', [mostExpertTiles(tokens, EXPERTS), EXPERT_TILE])
    const out = device.tensor('float32', [tokens, 1, OUTPUTS])
    const dispatches = await dispatchesOf(device, (cl) => {
      cl.groupExperts(chosen, tiles, { experts: EXPERTS })
      cl.expertsMatmul(x, weight, chosen, out, { experts: EXPERTS, tiles })
    })
    const { read, distinctRead } = dispatches.at(-1)!.buffers.find(({ index }) => index === 1)!
    return { kernels: dispatches.map(({ kernel }) => kernel), read, distinctRead }
  }

  // docs/kernel-counts.md says so.
  test.each([
    { tokens: 3, expertOf: (token: number) => token, tiles: 3, used: 3 },
    { tokens: 32, expertOf: (token: number) => token % 4, tiles: 4, used: 4 },
    { tokens: 128, expertOf: (token: number) => token % 4, tiles: 4, used: 4 },
    { tokens: 132, expertOf: (token: number) => token % 4, tiles: 8, used: 4 },
    { tokens: 70, expertOf: () => 2, tiles: 3, used: 1 },
  ])('read an expert once a tile: $tokens tokens, $tiles tiles', async (given) => {
    const { kernels, read, distinctRead } = await productsOf(given.tokens, given.expertOf)
    expect(kernels).toEqual(['group_experts', 'experts_matmat_float32_float32_float16'])
    expect(read).toBe(given.tiles * WEIGHT_BYTES)
    expect(distinctRead).toBe(given.used * WEIGHT_BYTES)
  })
})

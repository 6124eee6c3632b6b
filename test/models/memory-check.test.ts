// Models that do not fit are refused before anything is allocated.

import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { createDevice } from '../../lib/operations/create-device.js'
import { InsufficientMemoryError, UnsupportedOptionError } from '../../lib/support/errors.js'
import { checkMemory } from '../../lib/memory/check.js'
import { loadModel } from '../../lib/load-model.js'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import { fixture, rewriteConfig, temporaryFolder } from '../support/checkpoints.js'
import { runChild } from '../support/child-process.js'
import { mlpLayer, randomWeights, writeRene } from '../support/random-checkpoint.js'

const GIBIBYTE = 2 ** 30
const CLI = fileURLToPath(new URL('../../lib/cli.ts', import.meta.url))

/** Of `rene` in float32, with `bytes` left. */
async function check(bytes: number, wishes: Parameters<typeof checkMemory>[2] = {}) {
  using device = createDevice('cpu', { threads: 1 })
  const checkpoint = await openCheckpoint(fixture('rene'))
  return await checkMemory(device, checkpoint, wishes, async () => bytes).catch((error) => error)
}

describe('a context that does not fit', () => {
  it('is refused with what it needs, and with what helps', async () => {
    using device = createDevice('cpu', { threads: 1 })
    const checkpoint = await openCheckpoint(fixture('granite-h-mixed'))
    const refusal = (maxContext: number | undefined, bytes: number) =>
      checkMemory(device, checkpoint, { maxContext }, async () => bytes).catch((error) => error)
    const { neededBytes } = await refusal(8192, 0)
    expect(await refusal(8192, neededBytes)).toBeUndefined()
    const error = await refusal(8192, neededBytes - 1)
    expect(error).toBeInstanceOf(InsufficientMemoryError)
    expect(error.message).toMatch(
      /, keys and values 4\.\d\d MiB, .* MiB left: try a smaller maxContext \(--max-context\)\. /,
    )
    expect(await refusal(undefined, neededBytes - 1)).toBeUndefined()
    expect((await refusal(8192, 0)).message).toMatch(/no smaller form of it fits/)
  })
})

describe('a model that fits', () => {
  it('is not refused, to the byte', async () => {
    const { neededBytes } = await check(0)
    expect(await check(neededBytes)).toBeUndefined()
    expect(await check(neededBytes - 1)).toBeInstanceOf(InsufficientMemoryError)
  })
})

describe('a model that does not fit', () => {
  it('is refused with what it needs, by part, and what there is', async () => {
    const error = await check(2 ** 20, { dtype: 'float16' })
    expect(error).toMatchObject({
      code: 'ERR_INSUFFICIENT_MEMORY',
      name: 'InsufficientMemoryError',
      availableBytes: 2 ** 20,
    })
    expect(error.message).toMatch(
      /^\[loadModel\] \/.*rene needs 1\.\d\d MiB \(weights \d+ KiB, state [\d.]+ KiB, workspace [\d.]+ [KM]iB\) but this machine has 1\.00 MiB left: /,
    )
  })

  // On the CPU weights stay in their file and need not fit: to convert them is what costs.
  it('is advised to leave the weights as they are when they fit so', async () => {
    const { neededBytes: asStored } = await check(0)
    const { message } = await check(asStored, { dtype: 'float16' })
    expect(message).toMatch(/left: try leave out dtype and quantize, which needs 1\.\d\d MiB\. /)
  })

  it('is told when nothing helps', async () => {
    const { message } = await check(0)
    expect(message).toMatch(/no smaller form of it fits: take a smaller model, or end/)
    expect(message).toMatch(/memory: 'unchecked' \(--memory unchecked\) loads it all the same$/)
  })
})

/** A model whose embedding has 512 GiB: zeros that take no place on disk. */
async function hugeModel(): Promise<string> {
  const folder = await temporaryFolder()
  const small = { dModel: 64, vocabSize: 32, normEpsilon: 1e-5, tied: true }
  const shape = { ...small, layers: [mlpLayer({ dInner: 64 })] }
  const weights = randomWeights(shape, 1)
  await writeRene(folder, shape, weights)
  const sizes: Record<number, number> = { 64: 2 ** 15, 32: 2 ** 22 }
  await rewriteConfig(folder, (config) => ({
    ...config,
    d_model: sizes[64],
    vocab_size: sizes[32],
  }))
  const header: Record<string, unknown> = {}
  let end = 0
  for (const [name, tensor] of weights) {
    const shape = tensor.shape.map((dimension) => sizes[dimension]!)
    const bytes = shape.reduce((product, dimension) => product * dimension, 4)
    header[name] = { dtype: 'F32', shape, data_offsets: [end, end + bytes] }
    end += bytes
  }
  const text = Buffer.from(JSON.stringify(header).padEnd(4088, ' '))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const file = await open(join(folder, 'model.safetensors'), 'w')
  await file.write(Buffer.concat([length, text]))
  await file.truncate(8 + text.length + end)
  await file.close()
  return folder
}

describe('loadModel', () => {
  it('refuses what this machine has no memory for, before it allocates', async () => {
    const folder = await hugeModel()
    const before = process.memoryUsage.rss()
    const load = loadModel(folder, { device: 'cpu', dtype: 'float16' })
    await expect(load).rejects.toThrow(InsufficientMemoryError)
    await expect(load).rejects.toThrow(
      /needs 2\d\d GiB \(weights .*: try leave out dtype and quantize, which needs [\d.]+ MiB/,
    )
    // In its file it need not fit.
    const model = await loadModel(folder, { device: 'cpu' })
    expect(model.weightBytes).toBeGreaterThan(512 * GIBIBYTE)
    model.dispose()
    expect(process.memoryUsage.rss() - before).toBeLessThan(GIBIBYTE / 4)
  })

  it('is told on the command line in one message', async () => {
    const words = ['generate', '-m', await hugeModel(), '-p', 'x', '--dtype', 'float16']
    const { code, stdout, stderr } = await runChild(CLI, words)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(
      /^ssm-metal generate: \[loadModel\] \S+ needs 2\d\d GiB .*\(--memory unchecked\) loads it all the same\n$/,
    )
  })

  it.each(['on', '', 0])('refuses memory: %j', async (memory) => {
    const load = loadModel(fixture('rene'), { memory } as never)
    await expect(load).rejects.toThrow(UnsupportedOptionError)
    await expect(load).rejects.toThrow(/memory must be 'checked' or 'unchecked' but is/)
  })
})

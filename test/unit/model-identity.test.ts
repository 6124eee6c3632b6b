import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import { modelIdentity } from '../../lib/sessions/session-file.js'
import type { WeightWishes } from '../../lib/weights/planned-format.js'
import { writeSafetensors } from '../../lib/weights/safetensors.js'
import {
  converted,
  copyOfFixture,
  fixture,
  mapTensors,
  numbersOf,
  rawTensor,
  readRawTensors,
  REFERENCE_CHECKPOINTS,
  rewriteConfig,
  rewriteTensors,
  temporaryFolder,
} from '../support/checkpoints.js'
import {
  makePytorchCheckpoint,
  pickle,
  pickledStateDict,
  type PickledTensor,
} from '../support/pytorch-writer.js'
import {
  mamba2Layer,
  type RandomModel,
  randomWeights,
  writeStateSpaces,
} from '../support/random-checkpoint.js'

const identity = async (path: string, wishes: WeightWishes = {}) =>
  modelIdentity(await openCheckpoint(path), wishes)
const product = (shape: readonly number[]) => shape.reduce((total, n) => total * n, 1)
const hashOf = async (path: string, wishes?: WeightWishes) => (await identity(path, wishes)).hash

it('differs for every reference checkpoint, and is the same again', async () => {
  const hashes = await Promise.all(REFERENCE_CHECKPOINTS.map((name) => hashOf(fixture(name))))
  expect(new Set(hashes).size).toBe(REFERENCE_CHECKPOINTS.length)
  for (const hash of hashes) expect(hash).toMatch(/^[0-9a-f]{64}$/)
  expect(await hashOf(await copyOfFixture('rene'))).toBe(
    hashes[REFERENCE_CHECKPOINTS.indexOf('rene')],
  )
})

it('says what the model is', async () => {
  const quantize = { bits: 8, groupSize: 32 } as const
  expect((await identity(fixture('rene'))).description).toBe('rene, 195 k parameters, float32')
  expect((await identity(fixture('rene'), { quantize })).description).toMatch(/^rene, .*, 8-bit$/)
  expect((await identity(fixture('edge-mlx-4bit'))).description).toMatch(/^rene, .*, 4-bit$/)
})

it('is the same in shards, in another order, and under another name', async () => {
  const hash = await hashOf(fixture('rene'))
  const folder = await copyOfFixture('rene')
  const file = join(folder, 'model.safetensors')
  const { tensors, metadata } = await readRawTensors(file)
  await rename(file, join(folder, 'weights.safetensors'))
  await rm(join(folder, 'golden.safetensors'))
  expect(await hashOf(folder)).toBe(hash)
  await rm(join(folder, 'weights.safetensors'))
  for (const shard of [0, 1, 2]) {
    const own = [...tensors].filter((_, i) => i % 3 === shard).reverse()
    const name = `model-0000${shard + 1}-of-00003.safetensors`
    await writeSafetensors(join(folder, name), new Map(own), metadata)
  }
  expect(await hashOf(folder)).toBe(hash)
})

it('does not depend on the order of the configuration, the device or the dtype asked for', async () => {
  const hash = await hashOf(fixture('mamba2-hf'))
  const folder = await copyOfFixture('mamba2-hf')
  await rewriteConfig(folder, (config) => Object.fromEntries(Object.entries(config).reverse()))
  expect(await hashOf(folder)).toBe(hash)
  expect(await hashOf(folder, { dtype: 'float16' })).toBe(hash)
})

it('differs for another configuration and another quantisation', async () => {
  const hash = await hashOf(fixture('mamba2-hf'))
  const hashes = [hash]
  for (const change of [{ layer_norm_epsilon: 1e-6 }, { time_step_limit: [0, 7] }]) {
    const folder = await copyOfFixture('mamba2-hf')
    await rewriteConfig(folder, (config) => ({ ...config, ...change }))
    hashes.push(await hashOf(folder))
  }
  for (const bits of [4, 8] as const) {
    for (const groupSize of [32, 64] as const) {
      hashes.push(await hashOf(fixture('mamba2-hf'), { quantize: { bits, groupSize } }))
    }
  }
  expect(new Set(hashes).size).toBe(hashes.length)
})

it('differs for another value at the first or last place of any tensor', async () => {
  const folder = await copyOfFixture('mamba2-hf')
  const hashes = [await hashOf(folder)]
  const { tensors, metadata } = await readRawTensors(join(folder, 'model.safetensors'))
  for (const { data } of tensors.values()) {
    for (const at of [1, data.length - 2]) {
      data[at]! ^= 1
      await writeSafetensors(join(folder, 'model.safetensors'), tensors, metadata)
      hashes.push(await hashOf(folder))
      data[at]! ^= 1
    }
  }
  expect(hashes.length).toBeGreaterThan(20)
  expect(new Set(hashes).size).toBe(hashes.length)
})

it('differs for another type of the same numbers, and for another name', async () => {
  const folder = await copyOfFixture('mamba2-hf')
  const hashes = [await hashOf(folder)]
  await rewriteTensors(folder, (tensors) => mapTensors(tensors, (raw) => converted(raw, 'float64')))
  hashes.push(await hashOf(folder))
  await rewriteTensors(
    folder,
    (tensors) => new Map([...tensors].map(([name, raw]) => [`language_model.${name}`, raw])),
  )
  hashes.push(await hashOf(folder))
  expect(new Set(hashes).size).toBe(3)
})

it('is the same for a matrix that lies transposed in the file', async () => {
  const model: RandomModel = {
    dModel: 64,
    vocabSize: 96,
    layers: [mamba2Layer({})],
    normEpsilon: 1e-5,
    tied: true,
  }
  const weights = randomWeights(model, 5)
  const [straight, transposed] = [await temporaryFolder(), await temporaryFolder()]
  await writeStateSpaces(straight, model, weights)
  await writeStateSpaces(transposed, model, weights)
  const storages: Record<string, Uint8Array> = {}
  const pickled: Record<string, PickledTensor> = {}
  for (const [name, raw] of weights) {
    const shape = [...raw.shape]
    const [rows, cols] = shape as [number, number]
    const isMatrix = shape.length === 2
    const values = numbersOf(raw)
    const columns = values.map((_, i) => values[(i % rows) * cols + Math.floor(i / rows)]!)
    const strides = isMatrix ? [1, rows] : shape.map((_, i) => product(shape.slice(i + 1)))
    storages[name] = isMatrix ? rawTensor('float32', shape, columns).data : raw.data
    const storage = { storageClass: 'FloatStorage', key: name, numel: values.length }
    pickled[name] = { ...storage, shape, strides }
  }
  const file = makePytorchCheckpoint(pickle(pickledStateDict(pickled)), storages)
  await writeFile(join(transposed, 'pytorch_model.bin'), file)
  const { tensors } = await openCheckpoint(transposed)
  expect([...tensors.values()].filter(({ strides }) => strides).length).toBeGreaterThan(2)
  expect(await hashOf(transposed)).toBe(await hashOf(straight))
})

// Matrices that are rows of larger ones: gate and up of an MLP in one tensor.

import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { PlannedDevice, PlannedStore } from '../../lib/memory/planned.js'
import { createDevice } from '../../lib/operations/create-device.js'
import { CorruptFileError } from '../../lib/support/errors.js'
import type { Quantization } from '../../lib/weights/formats/formats.js'
import { WeightLoader } from '../../lib/weights/loader.js'
import { readSafetensors, writeSafetensors } from '../../lib/weights/safetensors.js'
import { rowsOf } from '../../lib/weights/checkpoint.js'
import { DeviceStore } from '../../lib/weights/store.js'
import { temporaryFolder } from '../support/checkpoints.js'
import { seededIntegers } from './random.js'

const ROWS = 7
const COLS = 32
const integers = seededIntegers(3)
const draw = (count: number, limit: number) => Array.from({ length: count }, () => integers(limit))

// Numbers of float16 from 1 to 2, and codes of scales from 1/4 to 4.
const FILES: Record<string, Parameters<typeof writeSafetensors>[1]> = {
  float16: {
    'm.weight': {
      dtype: 'float16',
      shape: [ROWS, COLS],
      data: Uint16Array.from(draw(ROWS * COLS, 1024), (x) => 0x3c00 + x),
    },
  },
  mxfp4: {
    'm.weight': {
      dtype: 'uint32',
      shape: [ROWS, COLS / 8],
      data: Uint32Array.from(draw((ROWS * COLS) / 8, 2 ** 32)),
    },
    'm.scales': {
      dtype: 'uint8',
      shape: [ROWS, 1],
      data: Uint8Array.from(draw(ROWS, 5), (x) => 125 + x),
    },
  },
}

async function openFile(name: string) {
  const file = join(await temporaryFolder(), 'model.safetensors')
  const bias = {
    dtype: 'float32',
    shape: [ROWS],
    data: Float32Array.from(draw(ROWS, 100)),
  } as const
  await writeSafetensors(file, { ...FILES[name], 'm.bias': bias })
  const { tensors } = await readSafetensors(file)
  const stated: Quantization = { mode: 'mxfp4', bits: 4, groupSize: 32 }
  return {
    weightsFile: file,
    tensors,
    quantizationOf: () => (name === 'mxfp4' ? stated : undefined),
  }
}

const rowsIn = (read: (row: number, target: Float64Array) => void, first: number, count: number) =>
  Array.from({ length: count }, (_, row) => {
    const target = new Float64Array(COLS)
    read(first + row, target)
    return [...target]
  })

test.each(Object.keys(FILES))('rows of a matrix in %s are read where they lie', async (name) => {
  const source = await openFile(name)
  using device = createDevice('cpu', { threads: 1 })
  const store = new DeviceStore(device, source.tensors, undefined)
  const loader = new WeightLoader(source, {}, store)
  const whole = await loader.linear('m', ROWS, COLS, true)
  const parts = [
    await loader.linear('m', { first: 0, count: 3, of: ROWS }, COLS, true),
    await loader.linear('m', { first: 3, count: 4, of: ROWS }, COLS, true),
  ]
  await loader.finish()
  await store.close()
  const read = whole.weight.readRows()
  expect(rowsIn(parts[0]!.weight.readRows(), 0, 3)).toEqual(rowsIn(read, 0, 3))
  expect(rowsIn(parts[1]!.weight.readRows(), 0, 4)).toEqual(rowsIn(read, 3, 4))
  const bias = [...whole.bias!.read()]
  expect(parts.map((part) => [...part.bias!.read()])).toEqual([bias.slice(0, 3), bias.slice(3)])
  // The file is mapped once, and nothing of a matrix copied.
  expect(store.owned.filter((memory) => memory.isMappedFile).length).toBe(1)
  for (const memory of store.owned) memory.dispose()
})

test('a matrix of another number of rows is refused', async () => {
  const source = await openFile('float16')
  using device = createDevice('cpu', { threads: 1 })
  const loader = new WeightLoader(source, {}, new DeviceStore(device, source.tensors, undefined))
  const load = loader.weight('m', { first: 0, count: 3, of: 6 }, COLS)
  await expect(load).rejects.toThrow(CorruptFileError)
  await expect(load).rejects.toThrow(
    'tensor m.weight must have shape (6, 32) but has shape (7, 32)',
  )
})

test('rows of a tensor whose elements lie apart', () => {
  const entry = { name: 'm', dtype: 'float32', file: '/m', byteOffset: 8, byteLength: 48 } as const
  const rows = rowsOf({ ...entry, shape: [4, 3], strides: [1, 4] }, { first: 1, count: 2 })
  expect(rows).toEqual({ ...entry, shape: [2, 3], strides: [1, 4], byteOffset: 12, byteLength: 40 })
})

const EXPERTS = 3

// Of each expert a matrix of its own, one after the other all numbers from 1 on.
async function openExperts(change: (expert: number) => object = () => ({})) {
  const file = join(await temporaryFolder(), 'model.safetensors')
  const matrices = Array.from({ length: EXPERTS }, (_, expert) => {
    const data = Float32Array.from({ length: ROWS * COLS }, (_, i) => expert * ROWS * COLS + i + 1)
    const matrix = { dtype: 'float32', shape: [ROWS, COLS], data, ...change(expert) } as const
    return [`experts.${expert}.up.weight`, matrix] as const
  })
  await writeSafetensors(file, Object.fromEntries(matrices))
  const { tensors } = await readSafetensors(file)
  return { weightsFile: file, tensors, quantizationOf: () => undefined }
}

describe('matrices that a file has for each expert', () => {
  const shape = { experts: EXPERTS, rows: ROWS }
  const affine = { bits: 8, groupSize: 32 } as const

  test.each([
    { wishes: {}, error: 0 },
    { wishes: { dtype: 'float16' as const }, error: 0 },
    { wishes: { quantize: affine }, error: 0.1 },
  ])('follow one another, $wishes', async ({ wishes, error }) => {
    const source = await openExperts()
    using device = createDevice('cpu', { threads: 1 })
    const store = new DeviceStore(device, source.tensors, undefined)
    const loader = new WeightLoader(source, wishes, store)
    const all = await loader.experts('experts.*.up', shape, COLS)
    const later = await loader.experts('experts.*.up', { ...shape, first: 2 }, COLS)
    loader.checkAllUsed()
    await store.close()
    const rows = rowsIn(all.readRows(), 0, EXPERTS * ROWS)
    for (const [i, number] of rows.flat().entries()) {
      expect(Math.abs(number - (i + 1))).toBeLessThanOrEqual(error)
    }
    expect(rowsIn(later.readRows(), 0, EXPERTS * ROWS - 2)).toEqual(rows.slice(2))
    for (const memory of store.owned) memory.dispose()
  })

  test.each([{}, { dtype: 'float16' as const }, { quantize: affine }])(
    'take the memory that was planned, %j',
    async (wishes) => {
      const source = await openExperts()
      using device = createDevice('cpu', { threads: 1 })
      const planned = new PlannedDevice(device)
      const bytesIn = async (store: DeviceStore | PlannedStore) => {
        const loader = new WeightLoader(source, wishes, store)
        const { byteSpan } = await loader.experts('experts.*.up', shape, COLS)
        expect(loader.weightBytes).toBe(byteSpan)
        const bytes = store.owned.map((memory) => memory.byteLength)
        for (const memory of store.owned) memory.dispose()
        return bytes
      }
      const store = new DeviceStore(device, source.tensors, undefined)
      expect(await bytesIn(new PlannedStore(planned, source.tensors))).toEqual(await bytesIn(store))
      await store.close()
    },
  )

  test('are refused where one has another shape, another type, or is missing', async () => {
    using device = createDevice('cpu', { threads: 1 })
    const load = async (change: (expert: number) => object, experts = EXPERTS) => {
      const source = await openExperts(change)
      const loader = new WeightLoader(
        source,
        {},
        new DeviceStore(device, source.tensors, undefined),
      )
      return loader.experts('experts.*.up', { ...shape, experts }, COLS)
    }
    const last = (values: object) => (expert: number) => (expert === EXPERTS - 1 ? values : {})
    await expect(load(last({ shape: [COLS, ROWS] }))).rejects.toThrow(
      'tensor experts.2.up.weight must have shape (7, 32) but has shape (32, 7)',
    )
    const halves = { dtype: 'float16', data: new Uint16Array(ROWS * COLS) }
    await expect(load(last(halves))).rejects.toThrow(
      'tensor experts.2.up.weight must be float32 but is float16',
    )
    await expect(load(() => ({}), 2 ** 24)).rejects.toThrow('tensor experts.3.up.weight is missing')
  })
})

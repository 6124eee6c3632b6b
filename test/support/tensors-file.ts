// Reads whole safetensors files of fixtures into memory.

import { readFile } from 'node:fs/promises'
import { readSafetensors } from '../../lib/weights/safetensors.js'

export interface LoadedTensor {
  shape: readonly number[]
  values: Float32Array
}

/** Every tensor of a file of float32 tensors, by name. */
export async function loadTensors(path: string): Promise<Record<string, LoadedTensor>> {
  const { tensors } = await readSafetensors(path)
  const file = await readFile(path)
  return Object.fromEntries(
    [...tensors].map(([name, { dtype, shape, byteOffset, byteLength }]) => {
      if (dtype !== 'float32') throw new Error(`${path}: ${name} is ${dtype}, not float32`)
      // A copy, because the data of a file may begin anywhere and a Float32Array may not.
      const bytes = new Uint8Array(file.subarray(byteOffset, byteOffset + byteLength))
      return [name, { shape, values: new Float32Array(bytes.buffer) }]
    }),
  )
}

/** The goldens of one operation. */
export function loadOperationGoldens(name: string): Promise<Record<string, LoadedTensor>> {
  const url = new URL(`../fixtures/reference/ops/${name}.safetensors`, import.meta.url)
  return loadTensors(url.pathname)
}

// Test data: seeded numbers, and their way onto a device and back.

import type { ActivationType, Device } from '../../lib/operations/device.js'
import type { Recorder } from '../../lib/operations/recorder.js'
import { type DType, elementCount, type Tensor } from '../../lib/operations/tensor.js'
import { decodeFloat, encodeFloat, FLOAT_FORMATS } from '../reference/float-formats.js'
import { seededIntegers } from '../unit/random.js'
import { ACTIVATION_TYPES } from './devices.js'

export const FLOAT_TYPES = ['float32', 'float16', 'bfloat16'] as const

/** Returns a function that gives `count` normal numbers times `scale`, exact in float32. */
export function seededNormals(seed: number): (count: number, scale?: number) => number[] {
  const integers = seededIntegers(seed)
  const uniform = () => (integers(2 ** 24) + 0.5) / 2 ** 24
  // Box and Muller's transform.
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())
  return (count, scale = 1) => Array.from({ length: count }, () => Math.fround(scale * normal()))
}

/** The values as the element type stores them. */
export function rounded(values: ArrayLike<number>, dtype: DType): number[] {
  return Array.from(values, (value) => {
    if (dtype === 'uint32' || dtype === 'uint8') return value >>> 0
    if (dtype === 'float32') return Math.fround(value)
    return decodeFloat(encodeFloat(value, FLOAT_FORMATS[dtype]), FLOAT_FORMATS[dtype])
  })
}

/** A tensor with these values, rounded to its element type. */
export function upload(
  device: Device,
  dtype: DType,
  shape: readonly number[],
  values: ArrayLike<number>,
): Tensor {
  if (dtype === 'float32') return device.tensor(dtype, shape, Float32Array.from(values))
  if (dtype === 'uint32') return device.tensor(dtype, shape, Uint32Array.from(values))
  if (dtype === 'uint8') return device.tensor(dtype, shape, Uint8Array.from(values))
  const format = FLOAT_FORMATS[dtype]
  const bits = Uint16Array.from(values, (value) => encodeFloat(value, format))
  return device.tensor(dtype, shape, bits)
}

/** As `upload`, as columns of a wider tensor; NaN around them shows up in results that stray. */
export function uploadApart(
  device: Device,
  dtype: ActivationType,
  shape: readonly number[],
  values: ArrayLike<number>,
): Tensor {
  const [left, right] = [3, 2]
  const cols = shape.at(-1)!
  const width = left + cols + right
  const rows = elementCount(shape) / cols
  const wide = new Float32Array(rows * width).fill(NaN)
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) wide[row * width + left + col] = values[row * cols + col]!
  }
  return upload(device, dtype, [...shape.slice(0, -1), width], wide).columns(left, left + cols)
}

/** How an input may come. */
export interface Layout {
  layout: string
  /** The element type of this input, and of all activations beside it. */
  dtype: ActivationType
  place: (device: Device, shape: readonly number[], values: ArrayLike<number>) => Tensor
}

const layout = (name: string, dtype: ActivationType, place: typeof uploadApart): Layout => ({
  layout: dtype === 'float32' ? name : `${name}, ${dtype}`,
  dtype,
  place: (device, ...rest) => place(device, dtype, ...rest),
})

/**
 * Rows together and rows apart in float32; where devices compute in float16 as well, rows apart in
 * it: which rows a kernel reads does not depend on the type.
 */
export const LAYOUTS: readonly Layout[] = [
  layout('rows together', 'float32', upload),
  layout('rows apart', 'float32', uploadApart),
  ...ACTIVATION_TYPES.slice(1).map((dtype) => layout('rows apart', dtype, uploadApart)),
]

/** As `seededNormals`, exact in an element type. */
export function seededActivations(
  seed: number,
  dtype: DType,
): (count: number, scale?: number) => number[] {
  const normals = seededNormals(seed)
  return (count, scale) => rounded(normals(count, scale), dtype)
}

/** A tensor full of NaN: what an operation does not write shows. */
export function unwritten(
  device: Device,
  shape: readonly number[],
  dtype: DType = 'float32',
): Tensor {
  return upload(device, dtype, shape, new Float32Array(elementCount(shape)).fill(NaN))
}

/** The values of a tensor, of whatever element type, as numbers. */
export function download(tensor: Tensor): number[] {
  const data = Array.from(tensor.read())
  if (tensor.dtype === 'float32' || tensor.dtype === 'uint32' || tensor.dtype === 'uint8') {
    return data
  }
  const format = FLOAT_FORMATS[tensor.dtype]
  return data.map((bits) => decodeFloat(bits, format))
}

/** Records, runs once, disposes of the list. */
export async function runOnce(device: Device, record: (cl: Recorder) => void): Promise<void> {
  using list = device.record(record)
  await list.run()
}

/** The values as rows of `cols`. */
export function rowsOf(values: ArrayLike<number>, cols: number): number[][] {
  const all = Array.from(values)
  return Array.from({ length: all.length / cols }, (_, row) =>
    all.slice(row * cols, (row + 1) * cols),
  )
}

// Numbers of one type to another, and tensor bytes to float32 numbers.

import { CorruptFileError } from '../support/errors.js'
import type { DType, Tensor } from '../operations/tensor.js'
import { bitsPerElement, type FileDtype, type TensorEntry } from './checkpoint.js'

/** The numbers of a float tensor as float32. Throws `CorruptFileError` for other types. */
export function bytesToFloat32(dtype: FileDtype, bytes: ArrayBuffer): Float32Array {
  switch (dtype) {
    case 'float32':
      return new Float32Array(bytes)
    case 'float64':
      return Float32Array.from(new Float64Array(bytes))
    case 'float16':
      return halvesToFloats(new Uint16Array(bytes))
    case 'bfloat16':
      return bfloat16sToFloats(new Uint16Array(bytes))
    default:
      throw new CorruptFileError(`a tensor of ${dtype} cannot be read as float32`)
  }
}

/** IEEE 754 binary16 to float32, exactly. */
export function halvesToFloats(halves: Uint16Array): Float32Array {
  const floats = new Float32Array(halves.length)
  const bits = new Uint32Array(floats.buffer)
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i]!
    // Exponent and fraction where float32 has them are the number times 2^-112, subnormals too.
    bits[i] = (half & 0x7fff) << 13
    floats[i]! *= 2 ** 112
    if ((half & 0x7c00) === 0x7c00) bits[i]! |= 0x7f800000
    bits[i]! |= (half & 0x8000) << 16
  }
  return floats
}

/** The upper halves of float32 numbers to float32, exactly. */
function bfloat16sToFloats(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length)
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16
  return new Float32Array(bits.buffer)
}

/** IEEE 754 binary16 to a number. */
export function halfToFloat(half: number): number {
  return halvesToFloats(Uint16Array.of(half))[0]!
}

const bitsOf = new Uint32Array(1)
const floatOf = new Float32Array(bitsOf.buffer)

/** A number to IEEE 754 binary16, to nearest, ties to even; beyond 65504 infinity. */
export function floatToHalf(x: number): number {
  floatOf[0] = x
  const bits = bitsOf[0]!
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  if (magnitude >= 0x47800000) return sign | 0x7c00
  if (magnitude < 0x38800000) {
    // Below 2^-14: a multiple of 2^-24, which is what the last bit of [0.5, 1) counts.
    floatOf[0] = Math.abs(x) + 0.5
    return sign | (bitsOf[0]! - 0x3f000000)
  }
  const rounded = magnitude + 0x0fff + ((magnitude >>> 13) & 1)
  return sign | ((rounded - 0x38000000) >>> 13)
}

/** The upper half of a number as float32, to nearest, ties to even. */
function floatToBfloat16(x: number): number {
  floatOf[0] = x
  const bits = bitsOf[0]!
  if (Number.isNaN(x)) return 0x7fc0
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

/** Floats as a tensor of this type holds them. */
export function floatsAs(dtype: DType, values: Float32Array): Float32Array | Uint16Array {
  if (dtype === 'float16') return Uint16Array.from(values, floatToHalf)
  return dtype === 'bfloat16' ? Uint16Array.from(values, floatToBfloat16) : values
}

/** The numbers of a tensor as float32, whatever element type holds them; of whole numbers as they are. */
export function numbersOf(tensor: Tensor): Float32Array | Uint32Array | Uint8Array {
  const data = tensor.read()
  if (!(data instanceof Uint16Array)) return data
  return tensor.dtype === 'float16' ? halvesToFloats(data) : bfloat16sToFloats(data)
}

/** The bytes of a tensor with its elements in row-major order and nothing between them. */
export function rowMajor(entry: TensorEntry, bytes: ArrayBuffer): ArrayBuffer {
  const { shape, strides } = entry
  if (!strides) return bytes
  const size = bitsPerElement(entry.dtype) / 8
  const source = new Uint8Array(bytes)
  const elements = shape.reduce((product, dimension) => product * dimension, 1)
  const target = new Uint8Array(elements * size)
  const index = shape.map(() => 0)
  for (let i = 0; i < elements; i++) {
    const from = index.reduce((sum, n, axis) => sum + n * strides[axis]!, 0) * size
    target.set(source.subarray(from, from + size), i * size)
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]! += 1
      if (index[axis]! < shape[axis]!) break
      index[axis] = 0
    }
  }
  return target.buffer
}

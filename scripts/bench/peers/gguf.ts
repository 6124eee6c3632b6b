// Writes GGUF, the file format of llama.cpp, version 3: a header of typed key-value pairs, a list of
// tensors, and their data. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

import { replaceFile } from '../../../lib/weights/replace-file.js'
import { toFloat16 } from '../../random-tensors.js'

/** Tensor types: number in the file, elements and bytes of a block. */
export const GGUF_TYPES = {
  f32: { id: 0, elements: 1, bytes: 4 },
  f16: { id: 1, elements: 1, bytes: 2 },
  q4_0: { id: 2, elements: 32, bytes: 18 },
  q8_0: { id: 8, elements: 32, bytes: 34 },
} as const
export type GgufType = keyof typeof GGUF_TYPES

export type GgufValue =
  | { type: 'uint32' | 'float32' | 'int32'; value: number }
  | { type: 'bool'; value: boolean }
  | { type: 'string'; value: string }
  | { type: 'strings'; value: readonly string[] }
  | { type: 'int32s'; value: readonly number[] }

export interface GgufTensor {
  name: string
  /** The fastest dimension first: a row-major matrix (outputs, inputs) is [inputs, outputs]. */
  dimensions: readonly number[]
  type: GgufType
  /** The elements in order, in pieces whose lengths are multiples of 32. */
  pieces(): AsyncIterable<Float32Array>
}

const ALIGNMENT = 32
const VERSION = 3
const VALUE_TYPES = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 }

/** Collects little-endian numbers and strings. */
class ByteWriter {
  readonly #parts: Buffer[] = []

  uint32(value: number): void {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(value)
    this.#parts.push(bytes)
  }

  int32(value: number): void {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32LE(value)
    this.#parts.push(bytes)
  }

  float32(value: number): void {
    const bytes = Buffer.alloc(4)
    bytes.writeFloatLE(value)
    this.#parts.push(bytes)
  }

  uint64(value: number): void {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(BigInt(value))
    this.#parts.push(bytes)
  }

  bytes(bytes: Buffer): void {
    this.#parts.push(bytes)
  }

  string(text: string): void {
    const bytes = Buffer.from(text)
    this.uint64(bytes.length)
    this.#parts.push(bytes)
  }

  value(value: GgufValue): void {
    switch (value.type) {
      case 'uint32':
      case 'int32':
      case 'float32':
        this.uint32(VALUE_TYPES[value.type])
        this[value.type](value.value)
        return
      case 'bool':
        this.uint32(VALUE_TYPES.bool)
        this.#parts.push(Buffer.of(value.value ? 1 : 0))
        return
      case 'string':
        this.uint32(VALUE_TYPES.string)
        this.string(value.value)
        return
      case 'strings':
      case 'int32s': {
        this.uint32(VALUE_TYPES.array)
        const isText = value.type === 'strings'
        this.uint32(isText ? VALUE_TYPES.string : VALUE_TYPES.int32)
        this.uint64(value.value.length)
        for (const item of value.value) {
          if (typeof item === 'string') this.string(item)
          else this.int32(item)
        }
      }
    }
  }

  /** Everything so far, with zeros up to the alignment. */
  finish(): Buffer {
    const bytes = Buffer.concat(this.#parts)
    return Buffer.concat([bytes, padding(bytes.length)])
  }
}

function padding(length: number): Buffer {
  return Buffer.alloc((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT)
}

function tensorBytes({ dimensions, type, name }: GgufTensor): number {
  const { elements, bytes } = GGUF_TYPES[type]
  if (dimensions[0]! % elements !== 0) {
    throw new RangeError(
      `[writeGguf] ${name} has rows of ${dimensions[0]}, no multiple of the ${elements} of ${type}`,
    )
  }
  return (dimensions.reduce((product, d) => product * d, 1) / elements) * bytes
}

/** Writes a file; it appears under its name only when complete. */
export async function writeGguf(
  path: string,
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): Promise<void> {
  const header = new ByteWriter()
  header.bytes(Buffer.from('GGUF'))
  header.uint32(VERSION)
  header.uint64(tensors.length)
  header.uint64(Object.keys(metadata).length)
  for (const [key, value] of Object.entries(metadata)) {
    header.string(key)
    header.value(value)
  }
  let offset = 0
  for (const tensor of tensors) {
    header.string(tensor.name)
    header.uint32(tensor.dimensions.length)
    for (const dimension of tensor.dimensions) header.uint64(dimension)
    header.uint32(GGUF_TYPES[tensor.type].id)
    header.uint64(offset)
    const bytes = tensorBytes(tensor)
    offset += bytes + padding(bytes).length
  }
  await replaceFile(path, async (file) => {
    await file.writeFile(header.finish())
    for (const tensor of tensors) {
      const expected = tensorBytes(tensor)
      let written = 0
      for await (const piece of tensor.pieces()) {
        const bytes = encode(piece, tensor.type)
        await file.writeFile(bytes)
        written += bytes.length
      }
      if (written !== expected) {
        throw new RangeError(`[writeGguf] ${tensor.name} has ${written} bytes, not ${expected}`)
      }
      await file.writeFile(padding(written))
    }
  })
}

function encode(values: Float32Array, type: GgufType): Uint8Array {
  switch (type) {
    case 'f32':
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    case 'f16':
      return new Uint8Array(Uint16Array.from(values, toFloat16).buffer)
    case 'q8_0':
      return encodeBlocks(values, type, encodeQ8Block)
    case 'q4_0':
      return encodeBlocks(values, type, encodeQ4Block)
  }
}

function encodeBlocks(
  values: Float32Array,
  type: 'q8_0' | 'q4_0',
  encodeBlock: (values: Float32Array, first: number, target: Uint8Array, at: number) => void,
): Uint8Array {
  const { elements, bytes } = GGUF_TYPES[type]
  const target = new Uint8Array((values.length / elements) * bytes)
  for (let block = 0; block * elements < values.length; block++) {
    encodeBlock(values, block * elements, target, block * bytes)
  }
  return target
}

function putScale(target: Uint8Array, at: number, scale: number): void {
  const half = toFloat16(scale)
  target[at] = half & 0xff
  target[at + 1] = half >> 8
}

// w = scale * q: a binary16 scale, then 32 signed bytes. As ggml's quantize_row_q8_0_ref.
function encodeQ8Block(values: Float32Array, first: number, target: Uint8Array, at: number): void {
  let largest = 0
  for (let i = first; i < first + 32; i++) largest = Math.max(largest, Math.abs(values[i]!))
  const scale = Math.fround(largest / 127)
  const inverse = scale === 0 ? 0 : Math.fround(1 / scale)
  putScale(target, at, scale)
  for (let i = 0; i < 32; i++) {
    const x = Math.fround(values[first + i]! * inverse)
    // Half away from zero; storing takes the low byte, which is two's complement.
    target[at + 2 + i] = Math.sign(x) * Math.floor(Math.abs(x) + 0.5)
  }
}

// w = scale * (q - 8): a binary16 scale, then 16 bytes with element i in the low half of byte i and
// i + 16 in the high one. The element of the largest magnitude becomes -8. As quantize_row_q4_0_ref.
function encodeQ4Block(values: Float32Array, first: number, target: Uint8Array, at: number): void {
  let extreme = 0
  for (let i = first; i < first + 32; i++) {
    if (Math.abs(values[i]!) > Math.abs(extreme)) extreme = values[i]!
  }
  const scale = Math.fround(extreme / -8)
  const inverse = scale === 0 ? 0 : Math.fround(1 / scale)
  putScale(target, at, scale)
  const quantum = (i: number) =>
    Math.min(15, Math.trunc(Math.fround(Math.fround(values[first + i]! * inverse) + 8.5)))
  for (let i = 0; i < 16; i++) target[at + 2 + i] = quantum(i) | (quantum(i + 16) << 4)
}

// Writes the tensors of a conversion, some rows at a time: however large the model, and its largest tensor, memory holds
// little of it.

import type { FileHandle } from 'node:fs/promises'
import { type Signal, throwIfAborted } from '../support/abort.js'
import { CorruptFileError } from '../support/errors.js'
import { isError, messageOf } from '../support/realms.js'
import type { Device } from '../operations/device.js'
import type { DType, Tensor, TensorData as Elements } from '../operations/tensor.js'
import { bitsPerElement, rowsOf, type TensorEntry } from '../weights/checkpoint.js'
import { bytesToFloat32, rowMajor } from '../weights/convert.js'
import type { FloatType } from '../weights/float-types.js'
import type { AffineQuantization } from '../weights/formats/affine.js'
import { encodeSmallFloats } from '../weights/formats/encode-small-floats.js'
import { quantizedShapes } from '../weights/formats/quantized-weight.js'
import { FileReader } from '../weights/file-reader.js'
import { layOut } from '../weights/safetensors.js'
import type { Factor } from '../weights/loader.js'
import type { Output } from './outputs.js'
import type { Piece } from './plan.js'

/** Elements of a tensor that are dealt with at once: of 16 MB as float32, so that some copies are little. */
const CHUNK = 2 ** 22

export interface WriteOptions {
  metadata: Readonly<Record<string, string>>
  signal: Signal | undefined
  /** Called with the bytes of the checkpoint that were read, of all of them. */
  onProgress: ((done: number, total: number) => void) | undefined
  /** Elements of a tensor that are dealt with at once. Defaults to 2^22. */
  chunk?: number
}

/** Writes a safetensors file; returns its bytes. `device` quantises. */
export async function writeWeights(
  file: FileHandle,
  outputs: readonly Output[],
  device: Device,
  { metadata, signal, onProgress, chunk: chunkSize = CHUNK }: WriteOptions,
): Promise<number> {
  const all = outputs.flatMap(({ parts }) => [...parts])
  const { header, offsets, size } = layOut(new Map(all), metadata)
  const writer = new PartWriter(file, offsets)
  const total = outputs.reduce((sum, output) => sum + bytesRead(output), 0)
  let done = 0
  for (const output of outputs) {
    // Where the first row of the next piece goes.
    let row = 0
    for (const piece of output.tensor.pieces) {
      const step = Math.max(1, Math.floor(chunkSize / output.tensor.cols))
      for (let first = 0; first < piece.count; first += step) {
        throwIfAborted(signal)
        const count = Math.min(step, piece.count - first)
        const chunk = { entry: piece.entry, first: piece.first + first, count }
        await writeRows(writer, output, device, chunk, row + first).catch(named(output))
        done += bytesOf(piece.entry, count * output.tensor.cols)
        onProgress?.(done, total)
      }
      row += piece.count
    }
  }
  // Last: without it the file is none.
  await file.write(header, 0, header.length, 0)
  await file.sync()
  return size
}

const bytesOf = ({ dtype }: TensorEntry, elements: number): number =>
  (elements * bitsPerElement(dtype)) / 8

const bytesRead = ({ tensor: { pieces, cols } }: Output): number =>
  pieces.reduce((sum, { entry, count }) => sum + bytesOf(entry, count * cols), 0)

const named =
  ({ tensor }: Output) =>
  (error: unknown): never => {
    const { file, name } = tensor.pieces[0]!.entry
    const isOurs = isError(error) && /NaN or infinity/.test(messageOf(error))
    if (!isOurs) throw error
    throw new CorruptFileError(`${file}: tensor ${name} holds NaN or infinity`, { cause: error })
  }

class PartWriter {
  readonly #file: FileHandle
  readonly #offsets: ReadonlyMap<string, number>

  constructor(file: FileHandle, offsets: ReadonlyMap<string, number>) {
    this.#file = file
    this.#offsets = offsets
  }

  /** Writes bytes of a tensor, from so many of its bytes on. */
  async write(name: string, data: ArrayBufferView, from: number): Promise<void> {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    const start = this.#offsets.get(name)! + from
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(
        bytes,
        done,
        bytes.length - done,
        start + done,
      )
      done += bytesWritten
    }
  }
}

/** Writes rows of a tensor that are the new one's from `row` on. */
async function writeRows(
  writer: PartWriter,
  output: Output,
  device: Device,
  chunk: Piece,
  row: number,
): Promise<void> {
  const { tensor, type, quantization } = output
  const write = (name: string, data: Elements | Uint8Array) =>
    writer.write(name, data, (row * data.byteLength) / chunk.count)
  const bytes = await readRows(chunk, tensor.cols)
  if (!type) return await write(tensor.name, new Uint8Array(bytes))
  const found = changed(output, chunk, bytes, row)
  // Numbers that were multiplied are quantised as exact as they are, others as they would be stored.
  const stored = quantization && isChanged(output) ? found : await cast(device, found, type)
  if (!quantization) return await write(tensor.name, stored.data)
  const [module, shape] = [tensor.module!, [chunk.count, tensor.cols] as const]
  const { words, ...groups } =
    'mode' in quantization
      ? encodeSmallFloats(
          (await cast(device, stored, 'float32')).data as Float32Array,
          quantization.mode,
          quantization.groupSize,
        )
      : await affineParts(device, { ...stored, shape }, quantization, type)
  await write(`${module}.weight`, words)
  for (const [part, data] of Object.entries<Elements>(groups))
    await write(`${module}.${part}`, data)
}

async function readRows({ entry, first, count }: Piece, cols: number): Promise<ArrayBuffer> {
  // What lies without gaps is cut anywhere; of the rest the first dimension is.
  const { shape, strides } = entry
  const flat = strides
    ? entry
    : { ...entry, shape: cols === 1 ? [elements(shape)] : [elements(shape) / cols, cols] }
  const isWhole = strides && (shape.length > 2 || shape.length === 0)
  const rows = isWhole ? entry : rowsOf(flat, { first, count })
  const data = await FileReader.use(entry.file, (file) =>
    file.read(rows.byteOffset, rows.byteLength, `tensor ${entry.name}`),
  )
  const own = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) as ArrayBuffer
  const bytes = rowMajor(rows, own)
  if (!isWhole) return bytes
  const rowBytes = bytesOf(entry, cols)
  return bytes.slice(first * rowBytes, (first + count) * rowBytes)
}

const elements = (shape: readonly number[]): number => shape.reduce((product, d) => product * d, 1)

const isChanged = ({ tensor: { factor, added } }: Output): boolean => factor !== 1 || added !== 0

/** Float numbers of some type. */
interface Floats {
  dtype: FloatType
  data: Elements
}

/** The numbers of a chunk of rows, from `row` on: as they are in the checkpoint, or multiplied and added to. */
function changed(output: Output, { entry, count }: Piece, bytes: ArrayBuffer, row: number): Floats {
  const { factor, added, cols } = output.tensor
  if (!isChanged(output) && entry.dtype !== 'float64') {
    const dtype = entry.dtype as FloatType
    const data = dtype === 'float32' ? new Float32Array(bytes) : new Uint16Array(bytes)
    return { dtype, data }
  }
  const data = bytesToFloat32(entry.dtype, bytes)
  const each = factorsOf(factor, row, count)
  for (let r = 0; r < count; r++) {
    for (let i = r * cols; i < (r + 1) * cols; i++) data[i] = data[i]! * each[r]! + added
  }
  return { dtype: 'float32', data }
}

/** The numbers in another type. */
async function cast(device: Device, { dtype, data }: Floats, type: FloatType): Promise<Floats> {
  if (dtype === type) return { dtype, data }
  const shape = [data.length]
  const [from, to] = [device.tensor(dtype, shape, data), device.tensor(type, shape)]
  try {
    using list = device.record((cl) => cl.cast(from, to))
    await list.run()
    return { dtype: type, data: to.read() }
  } finally {
    for (const tensor of [from, to]) tensor.dispose()
  }
}

function factorsOf(factor: Factor, first: number, count: number): Float64Array {
  const values = new Float64Array(count)
  if (typeof factor === 'number') return values.fill(factor)
  let begin = 0
  for (const run of factor) {
    const [from, to] = [begin - first, begin + run.rows - first]
    values.fill(run.factor, Math.max(from, 0), Math.max(to, 0))
    begin += run.rows
  }
  return values
}

interface Matrix extends Floats {
  shape: readonly [number, number]
}

async function affineParts(
  device: Device,
  { dtype, shape, data }: Matrix,
  { bits, groupSize }: AffineQuantization,
  scaleType: DType,
) {
  const shapes = quantizedShapes({ bits, groupSize }, ...shape)
  const tensors: Tensor[] = []
  const make = (...args: Parameters<Device['tensor']>) => {
    const tensor = device.tensor(...args)
    tensors.push(tensor)
    return tensor
  }
  try {
    const weight = make(dtype, shape, data)
    const words = make('uint32', shapes.words)
    const scales = make(scaleType, shapes.groups)
    const biases = make(scaleType, shapes.groups)
    const matrix = { words, scales, biases, bits, groupSize }
    using list = device.record((cl) => cl.affineQuantize(weight, matrix))
    await list.run()
    return { words: words.read(), scales: scales.read(), biases: biases.read() }
  } finally {
    for (const tensor of tensors) tensor.dispose()
  }
}

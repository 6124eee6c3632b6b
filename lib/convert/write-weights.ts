// Writes the tensors of a conversion, some rows at a time: however large the model, and its largest tensor, memory holds
// little of it.

import type { FileHandle } from 'node:fs/promises'
import { type Signal, throwIfAborted } from '../support/abort.js'
import { CorruptFileError } from '../support/errors.js'
import { isError, messageOf } from '../support/realms.js'
import type { Device } from '../operations/device.js'
import type { DType, Tensor, TensorData as Elements } from '../operations/tensor.js'
import { bitsPerElement, rowsOf, type TensorEntry } from '../weights/checkpoint.js'
import { bytesToFloat32, floatsAs, rowMajor } from '../weights/convert.js'
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
  const { cols, name } = tensor
  const bytes = await readRows(chunk, cols)
  if (!quantization) {
    const data = type ? numbersOf(output, chunk, bytes, row) : new Uint8Array(bytes)
    await writer.write(name, data, (row * data.byteLength) / chunk.count)
    return
  }
  const parts =
    'mode' in quantization
      ? encodeSmallFloats(
          floatsOf(output, chunk, bytes, row),
          quantization.mode,
          quantization.groupSize,
        )
      : await affineParts(device, matrixOf(output, chunk, bytes, row), quantization, type!)
  for (const [part, data] of Object.entries<Elements>({ ...parts })) {
    const suffix = part === 'words' ? 'weight' : part
    const from = (row * data.byteLength) / chunk.count
    await writer.write(`${tensor.module}.${suffix}`, data, from)
  }
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

/** The numbers of a chunk of rows, from `row` on, in the type that they are stored in. */
function numbersOf(output: Output, chunk: Piece, bytes: ArrayBuffer, row: number): Elements {
  const { dtype } = chunk.entry
  if (dtype === output.type && !isChanged(output)) {
    return dtype === 'float32' ? new Float32Array(bytes) : new Uint16Array(bytes)
  }
  return floatsAs(output.type!, changedFloats(output, chunk, bytes, row))
}

// Not rounded before it is multiplied, or quantised after that.
function changedFloats(
  { tensor }: Output,
  { entry, count }: Piece,
  bytes: ArrayBuffer,
  row: number,
): Float32Array {
  const floats = bytesToFloat32(entry.dtype, bytes)
  const { factor, added, cols } = tensor
  if (factor === 1 && added === 0) return floats
  const each = factorsOf(factor, row, count)
  for (let r = 0; r < count; r++) {
    for (let i = r * cols; i < (r + 1) * cols; i++) floats[i] = floats[i]! * each[r]! + added
  }
  return floats
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

/** The numbers that are quantised: as they would be stored, but where they were multiplied as exact as they are. */
function floatsOf(output: Output, chunk: Piece, bytes: ArrayBuffer, row: number): Float32Array {
  const floats = changedFloats(output, chunk, bytes, row)
  if (isChanged(output) || output.type === 'float32') return floats
  return bytesToFloat32(output.type!, floatsAs(output.type!, floats).buffer as ArrayBuffer)
}

interface Matrix {
  dtype: DType
  shape: readonly [number, number]
  data: Elements
}

function matrixOf(output: Output, chunk: Piece, bytes: ArrayBuffer, row: number): Matrix {
  const shape = [chunk.count, output.tensor.cols] as const
  if (isChanged(output)) {
    return { dtype: 'float32', shape, data: changedFloats(output, chunk, bytes, row) }
  }
  return { dtype: output.type!, shape, data: numbersOf(output, chunk, bytes, row) }
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

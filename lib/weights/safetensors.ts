// safetensors: a u64 header length, that many bytes of JSON, then the tensors without gaps.
// https://huggingface.co/docs/safetensors describes the format; everything in it is checked here.

import { resolve } from 'node:path'
import { types } from 'node:util'
import { CorruptFileError } from '../support/errors.js'
import { quote } from '../support/format.js'
import {
  type CheckpointFile,
  bitsPerElement,
  safeElementCount,
  type FileDtype,
  isCount,
  type KnownDtype,
  type TensorEntry,
} from './checkpoint.js'
import { FileReader } from './file-reader.js'
import { isJsonObject, type JsonObject, type JsonValue, parseJsonObject } from '../support/json.js'
import { replaceFile } from './replace-file.js'

/** Bytes. The format's reference implementation writes and reads no longer header. */
export const MAX_HEADER_LENGTH = 100_000_000
/** Bytes. Data starts and large elements lie at multiples of this; native code likes cache lines. */
const ALIGNMENT = 64

// Standard JSON, and no key may hide an earlier one. Header and entry and shape are three levels; the
// metadata of some writers nests deeper.
export const HEADER_RULES = { nonFinite: false, duplicateKeys: false, maxDepth: 100 }

const DTYPES: ReadonlyMap<string, KnownDtype> = new Map([
  ['BOOL', 'bool'],
  ['U8', 'uint8'],
  ['I8', 'int8'],
  ['U16', 'uint16'],
  ['I16', 'int16'],
  ['U32', 'uint32'],
  ['I32', 'int32'],
  ['U64', 'uint64'],
  ['I64', 'int64'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['F32', 'float32'],
  ['F64', 'float64'],
  ['C64', 'complex64'],
  ['F8_E4M3', 'float8_e4m3'],
  ['F8_E5M2', 'float8_e5m2'],
  ['F8_E8M0', 'float8_e8m0'],
  ['F6_E2M3', 'float6_e2m3'],
  ['F6_E3M2', 'float6_e3m2'],
  ['F4', 'float4'],
])
// Of the types that exist and of those that will.
const DTYPE_FORM = /^[A-Z][A-Z0-9_]{0,15}$/
const DTYPE_NAMES: ReadonlyMap<FileDtype, string> = new Map(
  [...DTYPES].map(([name, dtype]) => [dtype, name]),
)

/**
 * Reads the header of a safetensors file: which tensors it has and where they lie. Their data is not
 * read.
 *
 * @throws CorruptFileError if the file breaks the format in any way: truncated, holes, overlaps,
 *   lengths that do not fit shapes. The error of `fs.open` if it cannot be opened.
 *
 * @example
 * const { tensors, metadata } = await readSafetensors('model.safetensors')
 * tensors.get('lm_head.weight') // { dtype: 'float16', shape: [50304, 2048], byteOffset: 8192, … }
 */
export async function readSafetensors(path: string): Promise<CheckpointFile> {
  return FileReader.use(path, readSafetensorsHeader)
}

/** The same of a file that is open, to read tensors of the very file whose header this was. */
export async function readSafetensorsHeader(file: FileReader): Promise<CheckpointFile> {
  const { path } = file
  const headerLength = await readHeaderLength(file)
  const bytes = await file.read(8, headerLength, 'the header')
  const header = parseHeader(bytes, path)
  const dataStart = 8 + headerLength
  const tensors = Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, entry]) => parseEntry(path, name, entry, dataStart, file.size))
  checkCoverage(path, tensors, dataStart, file.size)
  return {
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
    metadata: parseMetadata(path, header.__metadata__),
  }
}

async function readHeaderLength(file: FileReader): Promise<number> {
  const fail = async (problem: string) => {
    throw new CorruptFileError(`${file.path}: ${problem}${await file.mistakenFor()}`)
  }
  if (file.size < 8) {
    await fail(`expected at least the 8 bytes of the header length but the file has ${file.size}`)
  }
  const length = (await file.read(0, 8, 'the header length')).readBigUInt64LE()
  if (length > MAX_HEADER_LENGTH) {
    await fail(`header length is ${length} bytes but at most ${MAX_HEADER_LENGTH} are read`)
  }
  if (length > file.size - 8) {
    await fail(
      `header length is ${length} bytes but only ${file.size - 8} bytes follow;` +
        ' the download may be incomplete',
    )
  }
  return Number(length)
}

function parseHeader(bytes: Buffer, path: string): JsonObject {
  // The format demands it, and it tells a wrong file from a damaged one.
  if (bytes[0] !== 0x7b) {
    throw new CorruptFileError(`${path}: header must begin with "{"; not a safetensors file?`)
  }
  return parseJsonObject(decodeUtf8(bytes, `${path}: header`), `${path}: header`, HEADER_RULES)
}

export function decodeUtf8(bytes: Buffer, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new CorruptFileError(`${what} is not valid UTF-8`, { cause })
  }
}

function parseEntry(
  path: string,
  name: string,
  entry: JsonValue,
  dataStart: number,
  fileSize: number,
): TensorEntry {
  const fail = (problem: string): never => {
    throw new CorruptFileError(`${path}: tensor ${quote(name)}: ${problem}`)
  }
  if (!isJsonObject(entry)) return fail(`expected an object but got ${quote(entry)}`)
  const unknown = Object.keys(entry).find((key) => !ENTRY_KEYS.includes(key))
  if (unknown !== undefined) return fail(`unknown key ${quote(unknown)}`)
  const { dtype: dtypeName, shape, data_offsets: offsets } = entry
  if (typeof dtypeName !== 'string' || !DTYPE_FORM.test(dtypeName)) {
    return fail(`dtype ${quote(dtypeName)} is none of ${[...DTYPES.keys()].join(', ')}`)
  }
  const dtype = DTYPES.get(dtypeName)
  if (!isCountArray(shape)) {
    return fail(`shape must be an array of integers from 0 to 2^53 - 1 but is ${quote(shape)}`)
  }
  if (!isCountArray(offsets) || offsets.length !== 2) {
    return fail(`data_offsets must be two integers from 0 to 2^53 - 1 but are ${quote(offsets)}`)
  }
  const [begin, end] = offsets as [number, number]
  if (begin > end) return fail(`data_offsets ${quote(offsets)} end before they begin`)
  if (end > fileSize - dataStart) {
    return fail(
      `data_offsets ${quote(offsets)} reach beyond the ${fileSize - dataStart} bytes of data in` +
        ' the file; the download may be incomplete',
    )
  }
  const byteOffset = dataStart + begin
  const place = { name, shape, file: resolve(path), byteOffset, byteLength: end - begin }
  const count = safeElementCount(shape)
  if (count === undefined) return fail(`shape ${quote(shape)} has too many elements`)
  // Whoever reads the tensor refuses the type; where nobody does, it is in nobody's way.
  if (dtype === undefined) return { ...place, dtype: `"${dtypeName}"` }
  const bits = count * bitsPerElement(dtype)
  if (!Number.isSafeInteger(bits)) return fail(`shape ${quote(shape)} has too many elements`)
  if (bits !== (end - begin) * 8) {
    return fail(
      `data_offsets ${quote(offsets)} hold ${end - begin} bytes` +
        ` but shape ${quote(shape)} of ${dtype} needs ${bits / 8}`,
    )
  }
  return { ...place, dtype }
}

const ENTRY_KEYS = ['dtype', 'shape', 'data_offsets']

function isCountArray(value: JsonValue | undefined): value is number[] {
  return Array.isArray(value) && value.every(isCount)
}

/** The format allows no byte of data to belong to no tensor, or to two. */
function checkCoverage(
  path: string,
  tensors: TensorEntry[],
  dataStart: number,
  fileSize: number,
): void {
  const inOrder = [...tensors].sort(
    (a, b) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength,
  )
  let covered = dataStart
  let previous = 'the start of the data'
  for (const { name, byteOffset, byteLength } of inOrder) {
    if (byteOffset !== covered) {
      const problem = byteOffset < covered ? 'overlaps' : 'leaves a hole after'
      throw new CorruptFileError(
        `${path}: tensor ${quote(name)}: begins at byte ${byteOffset - dataStart} of the data` +
          ` but ${covered - dataStart} was expected: it ${problem} ${previous}`,
      )
    }
    covered += byteLength
    previous = `tensor ${quote(name)}`
  }
  if (covered !== fileSize) {
    throw new CorruptFileError(
      `${path}: the tensors take ${covered - dataStart} bytes` +
        ` but ${fileSize - dataStart} bytes follow the header`,
    )
  }
}

function parseMetadata(path: string, metadata: JsonValue | undefined): Record<string, string> {
  const strings: Record<string, string> = Object.create(null)
  // MLX writes null where there is none.
  if (metadata === undefined || metadata === null) return strings
  if (!isJsonObject(metadata)) {
    throw new CorruptFileError(
      `${path}: __metadata__ must be an object of strings but is ${quote(metadata)}`,
    )
  }
  // The format wants strings; writers of their own put numbers, lists and null there.
  for (const [key, value] of Object.entries(metadata)) {
    strings[key] = typeof value === 'string' ? value : JSON.stringify(value)
  }
  return strings
}

/** A tensor to write: `data` holds the elements in row-major order, little-endian. */
export interface TensorData {
  dtype: FileDtype
  shape: readonly number[]
  data: ArrayBufferView
}

/**
 * Writes a safetensors file. The data starts at a multiple of 64 bytes and the tensors are ordered by
 * element size, then name, so each is aligned to its elements and equal input gives an equal file.
 * The file appears under its name only when complete; one that was there is replaced, not
 * overwritten, so whoever has mapped it keeps the old data.
 *
 * @throws TypeError or RangeError if a dtype, shape or metadata value is wrong or `data` does not
 *   have the bytes that dtype and shape need; the error of `fs` if the file cannot be written.
 *
 * @example
 * const data = new Float32Array(8)
 * await writeSafetensors('out.safetensors', { w: { dtype: 'float32', shape: [2, 4], data } })
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, TensorData> | Readonly<Record<string, TensorData>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const entries: [string, TensorData][] = types.isMap(tensors)
    ? [...tensors]
    : Object.entries(tensors)
  for (const [name, tensor] of entries) checkTensorData(name, tensor)
  const { header } = layOut(new Map(entries), metadata)
  await replaceFile(path, async (file) => {
    await file.writeFile(header)
    for (const [, { data }] of inOrder(entries)) {
      await file.writeFile(Buffer.from(data.buffer, data.byteOffset, data.byteLength))
    }
  })
}

function checkTensorData(name: string, { dtype, shape, data }: TensorData): void {
  const where = `[writeSafetensors] tensor ${quote(name)}:`
  if (name === '__metadata__') throw new RangeError(`${where} the format reserves this name`)
  if (!DTYPE_NAMES.has(dtype)) throw new TypeError(`${where} unknown dtype ${quote(dtype)}`)
  const count = shape.every(isCount) ? safeElementCount(shape) : undefined
  if (count === undefined) throw new RangeError(`${where} not a shape: ${quote(shape)}`)
  if (count * bitsPerElement(dtype) !== data.byteLength * 8) {
    throw new RangeError(
      `${where} data has ${data.byteLength} bytes` +
        ` but shape ${quote(shape)} of ${dtype} needs ${(count * bitsPerElement(dtype)) / 8}`,
    )
  }
}

/** Where the tensors of a file lie. */
export interface SafetensorsLayout {
  /** All that stands before the data. */
  header: Buffer
  /** Bytes from the start of the file, by name. */
  offsets: ReadonlyMap<string, number>
  /** Bytes of the whole file. */
  size: number
}

/** In the order in which they lie: falling element sizes keep every tensor aligned to its own without holes, which are forbidden. */
function inOrder<T extends Pick<TensorData, 'dtype'>>(tensors: Iterable<[string, T]>) {
  return [...tensors].sort(
    ([nameA, a], [nameB, b]) =>
      bitsPerElement(b.dtype) - bitsPerElement(a.dtype) || (nameA < nameB ? -1 : 1),
  )
}

/** The header of a file with these tensors, padded with spaces so that the data after it is aligned, and their places. */
export function layOut(
  tensors: ReadonlyMap<string, Pick<TensorData, 'dtype' | 'shape'>>,
  metadata: Readonly<Record<string, string>>,
): SafetensorsLayout {
  const entries = inOrder(tensors)
  const parts: string[] = []
  const metadataEntries = Object.entries(metadata)
  for (const [key, value] of metadataEntries) {
    if (typeof value !== 'string') {
      throw new TypeError(
        `[writeSafetensors] metadata ${quote(key)} must be a string but is ${quote(value)}`,
      )
    }
  }
  if (metadataEntries.length > 0) parts.push(`"__metadata__":${JSON.stringify(metadata)}`)
  let begin = 0
  const begins: [string, number][] = []
  for (const [name, { dtype, shape }] of entries) {
    const end = begin + (safeElementCount(shape)! * bitsPerElement(dtype)) / 8
    begins.push([name, begin])
    const entry = { dtype: DTYPE_NAMES.get(dtype), shape, data_offsets: [begin, end] }
    parts.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`)
    begin = end
  }
  const text = Buffer.from(`{${parts.join()}}`)
  const length = Math.ceil((8 + text.length) / ALIGNMENT) * ALIGNMENT - 8
  if (length > MAX_HEADER_LENGTH) {
    throw new RangeError(`[writeSafetensors] the header would have ${length} bytes, too many`)
  }
  const header = Buffer.alloc(8 + length, ' ')
  header.writeBigUInt64LE(BigInt(length))
  text.copy(header, 8)
  const offsets = new Map(begins.map(([name, start]) => [name, header.length + start]))
  return { header, offsets, size: header.length + begin }
}

// The file of a session: the state of one sequence and the tokens that led to it. docs/sessions.md has the
// format. A file is written whole or not at all, and one that is not as it was written is refused.

import { setImmediate as nextTurn } from 'node:timers/promises'
// As a whole: with a name that Node 18 lacks, it would end before it could say that it is too old.
import zlib from 'node:zlib'
import { CorruptFileError, SessionMismatchError } from '../support/errors.js'
import type { ModelIdentity } from '../models/model-identity.js'
import { SAVE_SESSION, type SaveSessionOptions } from '../options/sessions.js'
import { checkOptions } from '../support/option-checks.js'
import { optionValue } from '../support/option-table.js'
import { quote } from '../support/format.js'
import { isMissing } from '../support/small-file.js'
import { type CheckpointFile, isCount, type TensorEntry } from '../weights/checkpoint.js'
import { floatToHalf, halvesToFloats } from '../weights/convert.js'
import { FileReader } from '../weights/file-reader.js'
import { readSafetensorsHeader, type TensorData, writeSafetensors } from '../weights/safetensors.js'

export { type ModelIdentity, modelIdentity } from '../models/model-identity.js'

/** What one layer keeps of one sequence, little-endian and row-major. */
export interface SessionField {
  name: string
  dtype: 'float32' | 'float16'
  shape: readonly number[]
  data: Uint8Array
}

export interface SessionContents {
  /** Whose state it is. */
  model: ModelIdentity
  /** Tokens that the state has consumed. */
  position: number
  /** All of them; undefined when saved without token ids. */
  consumed: Uint32Array | undefined
  fields: readonly SessionField[]
  /** What the model keeps of each position, (position, ...shape): names begin with `pages.`. Empty for none. */
  pages?: readonly SessionField[] | undefined
  /** What a chat adds (lib/chat/chat-file.ts); undefined for a plain session. */
  chat?: string | undefined
}

const FORMAT = 'ssm-metal session'
/** Of a file without keys and values of positions, and of one with them. */
const VERSION = 1
const PAGED_VERSION = 2
/** The tensor of token ids. */
const CONSUMED = 'consumed'
/** Tensors whose names begin so hold something of each position: keys and values of full attention. */
const PAGES = 'pages.'
const KEYS: readonly string[] = [
  'format',
  'version',
  'model',
  'model_description',
  'position',
  'chat',
  'data_checksum',
  'checksum',
]
/** Devices count positions in 32 bits. */
const LARGEST_POSITION = 2 ** 32 - 1
/** 1 GiB: a file's word does not make us allocate more, and one read returns no more than 2 GiB. */
const MOST_SAVED_TOKENS = 2 ** 28

const ADVICE = 'start a new session, or use another copy of the file'

/**
 * Writes a session file, whole or not at all: until it is complete, an older one stays as it is. The
 * contents must not change meanwhile. `dtype` stores every field in that type; by default each keeps its
 * own. From float32 to float16 numbers are rounded to nearest, ties to even.
 *
 * @throws RangeError if a number is beyond float16, which names the field, or if lengths, shapes, names
 *   or the position are wrong; UnsupportedOptionError for an unknown `dtype`; the errors of `fs`.
 *
 * @example
 * await writeSessionFile('chat.session', { model, position: 2, consumed: Uint32Array.of(5, 7), fields })
 */
export async function writeSessionFile(
  path: string,
  contents: SessionContents,
  options: Pick<SaveSessionOptions, 'dtype'> = {},
): Promise<void> {
  checkOptions('writeSessionFile', options, ['dtype'])
  const dtype = optionValue('writeSessionFile', SAVE_SESSION, 'dtype', options)
  checkContents(contents)
  const { model, position, consumed, fields, pages = [], chat } = contents
  const tensors = new Map<string, TensorData>()
  if (consumed) tensors.set(CONSUMED, { dtype: 'uint32', shape: [position], data: consumed })
  for (const field of [...fields, ...pages]) {
    tensors.set(field.name, stored(field, dtype ?? field.dtype))
    await nextTurn() // others have something to do meanwhile
  }
  let dataChecksum = 0
  for (const [, { data }] of byName(tensors)) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    dataChecksum = zlib.crc32(bytes, dataChecksum)
    await nextTurn()
  }
  const metadata = {
    format: FORMAT,
    version: String(pages.length > 0 ? PAGED_VERSION : VERSION),
    model: model.hash,
    model_description: model.description,
    position: String(position),
    ...(chat === undefined ? {} : { chat }),
    data_checksum: hex(dataChecksum),
  }
  const checksum = headerChecksum({ metadata, tensors })
  await writeSafetensors(path, tensors, { ...metadata, checksum })
}

function checkContents({ position, consumed, fields, pages = [] }: SessionContents): void {
  const fail = (problem: string): never => {
    throw new RangeError(`[writeSessionFile] ${problem}`)
  }
  if (!isPosition(position)) {
    fail(`position must be a whole number from 0 to ${LARGEST_POSITION} but is ${position}`)
  }
  if (consumed && consumed.length !== position) {
    fail(`consumed has ${consumed.length} tokens but position is ${position}`)
  }
  if (consumed && consumed.length > MOST_SAVED_TOKENS) {
    fail(
      `consumed has ${consumed.length} tokens but a file holds at most ${MOST_SAVED_TOKENS}: ` +
        'save the session without token ids',
    )
  }
  const names = new Set<string>()
  const reserved =
    fields.find(({ name }) => name === CONSUMED || name.startsWith(PAGES)) ??
    pages.find(({ name }) => !name.startsWith(PAGES))
  if (reserved) fail(`the format reserves the name ${quote(reserved.name)}`)
  for (const { name } of [...fields, ...pages]) {
    if (names.has(name)) fail(`field ${quote(name)} is there twice`)
    names.add(name)
  }
}

function stored(field: SessionField, dtype: 'float32' | 'float16'): TensorData {
  const { shape } = field
  if (dtype === field.dtype) return { dtype, shape, data: field.data }
  // A copy, because the bytes may begin anywhere and a typed array may not.
  const bytes = Uint8Array.from(field.data).buffer
  if (dtype === 'float32') return { dtype, shape, data: halvesToFloats(new Uint16Array(bytes)) }
  const floats = new Float32Array(bytes)
  const halves = new Uint16Array(floats.length)
  for (let i = 0; i < floats.length; i++) {
    const x = floats[i]!
    const half = floatToHalf(x)
    if ((half & 0x7fff) === 0x7c00 && Number.isFinite(x)) {
      throw new RangeError(
        `[writeSessionFile] field ${quote(field.name)} holds ${x}, which is beyond float16: ` +
          'save the session as float32',
      )
    }
    halves[i] = half
  }
  return { dtype, shape, data: halves }
}

/** What a session must be like to be read. */
export interface ExpectedSession {
  /** Who reads it. */
  model: ModelIdentity
  fields: readonly { name: string; shape: readonly number[] }[]
  /** What it keeps of each position: the shape of one. */
  pages?: readonly { name: string; shape: readonly number[] }[] | undefined
  /** Token ids are below this. */
  vocabulary: number
}

/**
 * Reads a session file: the fields in the order of `expected.fields`, each in the type that the file has.
 *
 * @throws SessionMismatchError if it was saved with another model, or by a version of this package that
 *   knows more. CorruptFileError if it is damaged, no session file or not to be read; `cause` has the
 *   error of `fs`.
 *
 * @example
 * const { position, fields } = await readSessionFile('chat.session', { model, fields, vocabulary: 50280 })
 */
export async function readSessionFile(
  path: string,
  expected: ExpectedSession,
): Promise<SessionContents> {
  try {
    return await FileReader.use(path, (file) => readSession(file, expected))
  } catch (error) {
    const { syscall, message } = error as NodeJS.ErrnoException
    if (syscall === undefined) throw error
    const problem = isMissing(error)
      ? 'there is no such session file'
      : `the session file cannot be read: ${message}`
    throw new CorruptFileError(`${path}: ${problem}`, { cause: error })
  }
}

async function readSession(file: FileReader, expected: ExpectedSession): Promise<SessionContents> {
  const header = await readHeader(file)
  const { metadata } = header
  const position = checkPosition(file.path, metadata.position)
  // Of no position there is nothing.
  const paged = position === 0 ? [] : (expected.pages ?? [])
  const pages = paged.map(({ name, shape }) => ({ name, shape: [position, ...shape] }))
  checkTensors(file.path, header, { ...expected, pages }, position)
  const data = await readData(file, header)
  const consumedBytes = data.get(CONSUMED)
  const consumed =
    consumedBytes && new Uint32Array(consumedBytes.buffer, consumedBytes.byteOffset, position)
  const outside = consumed?.find((token) => token >= expected.vocabulary)
  if (outside !== undefined) {
    damaged(
      file.path,
      `token id ${outside} is outside the vocabulary of ${expected.vocabulary} tokens`,
    )
  }
  const fieldOf = ({ name, shape }: { name: string; shape: readonly number[] }): SessionField => ({
    name,
    // checkTensors has seen that it is one of the two.
    dtype: header.tensors.get(name)!.dtype as SessionField['dtype'],
    shape: [...shape],
    data: data.get(name)!,
  })
  return {
    model: { hash: metadata.model!, description: metadata.model_description! },
    position,
    consumed,
    chat: metadata.chat,
    fields: expected.fields.map(fieldOf),
    ...(pages.length > 0 ? { pages: pages.map(fieldOf) } : {}),
  }
}

/** The header of a session file of this version: from here on it is as it was written. */
async function readHeader(file: FileReader): Promise<CheckpointFile> {
  const { path } = file
  const header = await readSafetensorsHeader(file).catch((error: unknown) => {
    if (!(error instanceof CorruptFileError)) throw error
    const problem = error.message.slice(`${path}: `.length)
    throw new CorruptFileError(`${path}: no session file, or a damaged one: ${problem}`, {
      cause: error,
    })
  })
  const { format, version, checksum } = header.metadata
  if (format !== FORMAT) {
    throw new CorruptFileError(
      `${path}: not a session file: expected "format" ${quote(FORMAT)} in the metadata ` +
        `but it is ${quote(format)}`,
    )
  }
  const actual = headerChecksum(header)
  if (checksum !== actual) {
    damaged(path, `the header gives checksum ${actual} but ${quote(checksum)} was written down`)
  }
  if (!/^[1-9]\d{0,8}$/.test(version ?? '')) damaged(path, `the version is ${quote(version)}`)
  if (Number(version) > PAGED_VERSION) {
    throw new SessionMismatchError(
      `${path}: a newer version of ssm-metal saved this session (format ${version}; this version ` +
        `reads ${PAGED_VERSION}): update ssm-metal, or start a new session`,
    )
  }
  return header
}

function checkPosition(path: string, text: string | undefined): number {
  const position = /^(0|[1-9]\d*)$/.test(text ?? '') ? Number(text) : undefined
  if (isPosition(position)) return position
  return damaged(
    path,
    `position must be a whole number from 0 to ${LARGEST_POSITION} but is ${quote(text)}`,
  )
}

/** That the file holds what is expected and nothing else, before any of it is read. */
function checkTensors(
  path: string,
  { metadata, tensors }: CheckpointFile,
  { model, fields, pages = [] }: ExpectedSession,
  position: number,
): void {
  if (metadata.model !== model.hash) {
    const { model: hash = '', model_description: description = '' } = metadata
    throw new SessionMismatchError(
      `${path}: a session of another model: it was saved with ${nameOf({ hash, description })} ` +
        `but this model is ${nameOf(model)}: load the one that it was saved with`,
    )
  }
  const all = [...fields, ...pages]
  const known = [CONSUMED, ...all.map(({ name }) => name)]
  const unknown =
    Object.keys(metadata).find((key) => !KEYS.includes(key)) ??
    [...tensors.keys()].find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw new SessionMismatchError(
      `${path}: the session holds ${quote(unknown)}, which this version of ssm-metal does not know: ` +
        'update ssm-metal, or start a new session',
    )
  }
  if (metadata.model_description === undefined) damaged(path, 'model_description is missing')
  const consumed = tensors.get(CONSUMED)
  if (consumed) checkTensor(path, consumed, ['uint32'], [position])
  if (consumed && position > MOST_SAVED_TOKENS) {
    damaged(path, `it holds ${position} token ids but ${MOST_SAVED_TOKENS} at most`)
  }
  for (const { name, shape } of all) {
    const entry = tensors.get(name)
    if (!entry) damaged(path, `field ${quote(name)} is missing`)
    checkTensor(path, entry, ['float32', 'float16'], shape)
  }
}

function checkTensor(
  path: string,
  entry: TensorEntry,
  dtypes: readonly string[],
  shape: readonly number[],
): void {
  if (!dtypes.includes(entry.dtype)) {
    damaged(path, `${quote(entry.name)} must be ${dtypes.join(' or ')} but is ${entry.dtype}`)
  }
  if (shape.length !== entry.shape.length || shape.some((d, axis) => d !== entry.shape[axis])) {
    damaged(
      path,
      `${quote(entry.name)} must have shape ${quote(shape)} but has shape ${quote(entry.shape)}`,
    )
  }
}

async function readData(
  file: FileReader,
  { metadata, tensors }: CheckpointFile,
): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const data = new Map<string, Uint8Array<ArrayBuffer>>()
  let checksum = 0
  const inOrder = byName(tensors)
  const read = inOrder.map(([name, { byteOffset, byteLength }]) =>
    file.read(byteOffset, byteLength, `tensor ${quote(name)}`),
  )
  for (const [i, bytes] of (await Promise.all(read)).entries()) {
    checksum = zlib.crc32(bytes, checksum)
    const { buffer, byteOffset, length } = bytes
    data.set(inOrder[i]![0], new Uint8Array(buffer as ArrayBuffer, byteOffset, length))
    await nextTurn()
  }
  const written = metadata.data_checksum
  if (hex(checksum) !== written) {
    damaged(
      file.path,
      `the data give checksum ${hex(checksum)} but ${quote(written)} was written down`,
    )
  }
  return data
}

/** Of everything but the data, which `data_checksum` is of. Later versions compute it in the same way. */
function headerChecksum({
  metadata,
  tensors,
}: {
  metadata: Readonly<Record<string, string>>
  tensors: ReadonlyMap<string, Pick<TensorData, 'dtype' | 'shape'>>
}): string {
  const values = byName(Object.entries(metadata)).filter(([key]) => key !== 'checksum')
  const listing = byName(tensors).map(([name, { dtype, shape }]) => [name, dtype, shape])
  return hex(zlib.crc32(JSON.stringify([values, listing])))
}

function byName<T>(entries: Iterable<readonly [string, T]>): (readonly [string, T])[] {
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1))
}

const hex = (checksum: number): string => checksum.toString(16).padStart(8, '0')

const isPosition = (value: unknown): value is number => isCount(value) && value <= LARGEST_POSITION

const nameOf = ({ hash, description }: ModelIdentity): string =>
  `${quote(description)} (${quote(hash.slice(0, 8)).slice(1, -1)})`

function damaged(path: string, problem: string): never {
  throw new CorruptFileError(`${path}: the session file is damaged: ${problem}; ${ADVICE}`)
}

// The directory of a zip archive as torch.save writes it: entries stored without compression, so
// that their bytes can be used where they are. Everything a position is derived from is checked.

// As a whole: with a name that Node 18 lacks, it would end before it could say that it is too old.
import zlib from 'node:zlib'
import { CorruptFileError } from '../support/errors.js'
import { quote } from '../support/format.js'
import type { FileReader } from './file-reader.js'

/** An entry's stored bytes in the archive. */
export interface ZipEntry {
  name: string
  /** Bytes from the start of the file to the entry's data. */
  byteOffset: number
  byteLength: number
  crc: number
}

/** Bytes; 50 to 150 for an entry, so hundreds of thousands of tensors. */
const MAX_DIRECTORY_LENGTH = 64 * 1024 * 1024

const LOCAL_HEADER = 0x04034b50
const DIRECTORY_HEADER = 0x02014b50
const END = 0x06054b50
const END_64 = 0x06064b50
const END_64_LOCATOR = 0x07064b50
const DATA_DESCRIPTOR = 0x08074b50

const END_LENGTH = 22
const END_64_LENGTH = 56
const END_64_LOCATOR_LENGTH = 20
const DIRECTORY_HEADER_LENGTH = 46
const LOCAL_HEADER_LENGTH = 30

const FLAG_ENCRYPTED = 1 << 0
/** Sizes and CRC follow the data; the local header has zeros in their place. */
const FLAG_DESCRIPTOR = 1 << 3

/** Field values that say: the real one is in the ZIP64 record or extra field. */
const SEE_ZIP64_16 = 0xffff
const SEE_ZIP64_32 = 0xffffffff

interface DirectoryEntry extends Omit<ZipEntry, 'byteOffset'> {
  flags: number
  rawName: Buffer
  /** Bytes from the start of the file. */
  localHeader: number
}

interface Directory {
  count: number
  offset: number
  length: number
}

/**
 * Reads the directory of a zip archive and checks it against the header before each entry.
 *
 * @throws CorruptFileError if the archive is damaged, or has anything that torch.save does not
 *   write: compression, encryption, several parts, entries that overlap or share a name, names that
 *   lead out of the archive.
 *
 * @example
 * const entries = await FileReader.use('pytorch_model.bin', readZipDirectory)
 * entries.get('pytorch_model/data.pkl') // { byteOffset: 64, byteLength: 3775, … }
 */
export async function readZipDirectory(file: FileReader): Promise<Map<string, ZipEntry>> {
  const directory = await findDirectory(file)
  const entries = await readDirectory(file, directory)
  const located = new Map<string, ZipEntry>()
  // In the order of the file, so that an overlap shows between neighbours.
  entries.sort((a, b) => a.localHeader - b.localHeader)
  let free = 0
  for (const entry of entries) {
    const fail = failure(file, entry.name)
    if (located.has(entry.name)) fail('comes twice')
    if (entry.localHeader < free) fail('overlaps the entry before it')
    const { name, byteLength, crc } = entry
    const byteOffset = await checkLocalHeader(file, entry, directory.offset)
    located.set(name, { name, byteOffset, byteLength, crc })
    free = byteOffset + byteLength
  }
  return located
}

/**
 * Reads one entry whole and checks its CRC. Only for what is small; tensor data stays in the file.
 *
 * @throws CorruptFileError if it is longer than `maxLength` bytes or its CRC is wrong.
 */
export async function readZipEntry(
  file: FileReader,
  entry: ZipEntry,
  maxLength: number,
): Promise<Buffer> {
  const fail = failure(file, entry.name)
  if (entry.byteLength > maxLength) {
    fail(`has ${entry.byteLength} bytes but at most ${maxLength} are read`)
  }
  const bytes = await file.read(
    entry.byteOffset,
    entry.byteLength,
    `zip entry ${quote(entry.name)}`,
  )
  const crc = zlib.crc32(bytes)
  if (crc !== entry.crc) {
    fail(`expected CRC ${hex(entry.crc)} but its bytes give ${hex(crc)}; the file is damaged`)
  }
  return bytes
}

function failure(file: FileReader, name: string): (problem: string) => never {
  return (problem) => {
    throw new CorruptFileError(`${file.path}: zip entry ${quote(name)}: ${problem}`)
  }
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`
}

/** The end record: the last thing in the file but for a comment whose length it states. */
async function findDirectory(file: FileReader): Promise<Directory> {
  const tailLength = Math.min(file.size, END_LENGTH + 0xffff)
  const tailStart = file.size - tailLength
  const tail = await file.read(tailStart, tailLength, 'the end of the zip archive')
  for (let at = tailLength - END_LENGTH; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== END) continue
    if (at + END_LENGTH + tail.readUInt16LE(at + 20) !== tailLength) continue
    return readEnd(file, tail.subarray(at, at + END_LENGTH), tailStart + at)
  }
  throw new CorruptFileError(
    `${file.path}: expected a zip archive but its end record is missing;` +
      ` the download may be incomplete${await file.mistakenFor()}`,
  )
}

async function readEnd(file: FileReader, end: Buffer, endOffset: number): Promise<Directory> {
  const fail = (problem: string): never => {
    throw new CorruptFileError(`${file.path}: zip end record: ${problem}`)
  }
  let limit = endOffset
  let count = end.readUInt16LE(10)
  let length = end.readUInt32LE(12)
  let offset = end.readUInt32LE(16)
  if (end.readUInt16LE(4) !== 0 || end.readUInt16LE(6) !== 0 || end.readUInt16LE(8) !== count) {
    fail('archives in several parts are not supported')
  }
  const end64 = await readEnd64(file, endOffset)
  if (end64) {
    limit = end64.at
    const agree = (short: number, long: number, seeLong: number) =>
      short === seeLong || short === long
    if (
      !agree(count, end64.count, SEE_ZIP64_16) ||
      !agree(length, end64.length, SEE_ZIP64_32) ||
      !agree(offset, end64.offset, SEE_ZIP64_32)
    ) {
      fail('disagrees with the ZIP64 end record')
    }
    ;({ count, length, offset } = end64)
  }
  if (offset + length > limit) {
    fail(
      `the directory should take bytes ${offset} to ${offset + length}` +
        ` but must end before byte ${limit}`,
    )
  }
  if (length > MAX_DIRECTORY_LENGTH) {
    fail(`the directory has ${length} bytes but at most ${MAX_DIRECTORY_LENGTH} are read`)
  }
  if (count * DIRECTORY_HEADER_LENGTH > length) {
    fail(`${count} entries cannot be in a directory of ${length} bytes`)
  }
  return { count, length, offset }
}

async function readEnd64(
  file: FileReader,
  endOffset: number,
): Promise<(Directory & { at: number }) | undefined> {
  const locatorOffset = endOffset - END_64_LOCATOR_LENGTH
  if (locatorOffset < END_64_LENGTH) return undefined
  const locator = await file.read(locatorOffset, END_64_LOCATOR_LENGTH, 'the ZIP64 locator')
  if (locator.readUInt32LE(0) !== END_64_LOCATOR) return undefined
  const at = Number(locator.readBigUInt64LE(8))
  const fail = (problem: string): never => {
    throw new CorruptFileError(`${file.path}: ZIP64 end record: ${problem}`)
  }
  if (at > locatorOffset - END_64_LENGTH) {
    fail(`should lie at byte ${at} but must end before byte ${locatorOffset}`)
  }
  const record = await file.read(at, END_64_LENGTH, 'the ZIP64 end record')
  if (record.readUInt32LE(0) !== END_64) fail(`is not at byte ${at}, where its locator says`)
  const count = record.readBigUInt64LE(32)
  if (record.readUInt32LE(16) !== 0 || record.readBigUInt64LE(24) !== count) {
    fail('archives in several parts are not supported')
  }
  // Any rounding of a number beyond 2^53 still leaves it far beyond every limit it is held against.
  return {
    at,
    count: Number(count),
    length: Number(record.readBigUInt64LE(40)),
    offset: Number(record.readBigUInt64LE(48)),
  }
}

async function readDirectory(
  file: FileReader,
  { count, offset, length }: Directory,
): Promise<DirectoryEntry[]> {
  const bytes = await file.read(offset, length, 'the zip directory')
  const entries: DirectoryEntry[] = []
  let at = 0
  for (let index = 0; index < count; index++) {
    const fail = (problem: string): never => {
      throw new CorruptFileError(`${file.path}: zip directory entry ${index}: ${problem}`)
    }
    if (at + DIRECTORY_HEADER_LENGTH > length) fail(`the directory ends before it`)
    if (bytes.readUInt32LE(at) !== DIRECTORY_HEADER) fail('has no directory signature')
    const nameEnd = at + DIRECTORY_HEADER_LENGTH + bytes.readUInt16LE(at + 28)
    const extraEnd = nameEnd + bytes.readUInt16LE(at + 30)
    const end = extraEnd + bytes.readUInt16LE(at + 32)
    if (end > length) fail(`the directory ends inside it`)
    const rawName = bytes.subarray(at + DIRECTORY_HEADER_LENGTH, nameEnd)
    entries.push(
      parseDirectoryEntry(file, bytes.subarray(at), rawName, bytes.subarray(nameEnd, extraEnd)),
    )
    at = end
  }
  if (at !== length) {
    throw new CorruptFileError(
      `${file.path}: zip directory: ${count} entries take ${at} bytes but it has ${length}`,
    )
  }
  return entries
}

function parseDirectoryEntry(
  file: FileReader,
  header: Buffer,
  rawName: Buffer,
  extra: Buffer,
): DirectoryEntry {
  const name = rawName.toString('utf8')
  const fail = failure(file, name)
  if (!isInnerName(name)) fail('the name leads out of the archive')
  const flags = header.readUInt16LE(8)
  const method = header.readUInt16LE(10)
  if (flags & FLAG_ENCRYPTED) fail('is encrypted')
  if (method !== 0) {
    fail(
      `is compressed (method ${method}) but must be stored: zip the files again without` +
        ' compression, or save the checkpoint again with torch.save',
    )
  }
  const next64 = zip64Fields(extra, fail)
  // The order in which the extra field holds those that did not fit here.
  const size = next64(header.readUInt32LE(24), 'size')
  const storedSize = next64(header.readUInt32LE(20), 'stored size')
  const localHeader = next64(header.readUInt32LE(42), 'offset')
  if (size !== storedSize) fail(`has size ${size} but ${storedSize} stored bytes`)
  return { name, rawName, flags, localHeader, byteLength: size, crc: header.readUInt32LE(16) }
}

// Nothing is ever extracted; such a name only shows that the archive was made to do harm.
function isInnerName(name: string): boolean {
  return !name.startsWith('/') && !/[\\\0]/.test(name) && !name.split('/').includes('..')
}

/** Gives the value of a 32-bit field, or the next 64-bit value of the ZIP64 extra field for it. */
function zip64Fields(
  extra: Buffer,
  fail: (problem: string) => never,
): (short: number, what: string) => number {
  let fields = extra.subarray(0, 0)
  for (let at = 0; at + 4 <= extra.length; ) {
    const end = at + 4 + extra.readUInt16LE(at + 2)
    if (end > extra.length) fail('an extra field is longer than all of them')
    if (extra.readUInt16LE(at) === 0x0001) fields = extra.subarray(at + 4, end)
    at = end
  }
  return (short, what) => {
    if (short !== SEE_ZIP64_32) return short
    if (fields.length < 8) fail(`its ${what} should be in a ZIP64 field but is not`)
    const value = Number(fields.readBigUInt64LE(0))
    fields = fields.subarray(8)
    return value
  }
}

/** Checks what stands around the entry's data; returns where the data begins. */
async function checkLocalHeader(
  file: FileReader,
  entry: DirectoryEntry,
  limit: number,
): Promise<number> {
  const { localHeader, rawName, flags, byteLength, crc } = entry
  const fail = failure(file, entry.name)
  const nameEnd = localHeader + LOCAL_HEADER_LENGTH + rawName.length
  if (nameEnd > limit) fail(`its header at byte ${localHeader} lies beyond the data`)
  const header = await file.read(
    localHeader,
    nameEnd - localHeader,
    `zip entry ${quote(entry.name)}`,
  )
  if (header.readUInt32LE(0) !== LOCAL_HEADER) fail(`has no header at byte ${localHeader}`)
  const sameName =
    header.readUInt16LE(26) === rawName.length &&
    header.subarray(LOCAL_HEADER_LENGTH).equals(rawName)
  if (!sameName) fail('has another name in its header than in the directory')
  if (header.readUInt16LE(6) !== flags || header.readUInt16LE(8) !== 0) {
    fail('has other flags or another method in its header than in the directory')
  }
  const byteOffset = nameEnd + header.readUInt16LE(28)
  const dataEnd = byteOffset + byteLength
  if (dataEnd > limit) {
    fail(`should take bytes ${byteOffset} to ${dataEnd} but the data ends at byte ${limit}`)
  }
  if (flags & FLAG_DESCRIPTOR) {
    await checkDescriptor(file, entry, dataEnd, limit)
  } else {
    const agrees = (field: number) => field === byteLength || field === SEE_ZIP64_32
    const sizesAgree = agrees(header.readUInt32LE(18)) && agrees(header.readUInt32LE(22))
    if (!sizesAgree || header.readUInt32LE(14) !== crc) {
      fail('has another size or CRC in its header than in the directory')
    }
  }
  return byteOffset
}

/** After the data: an optional signature, the CRC, then both sizes as 32- or 64-bit numbers. */
async function checkDescriptor(
  file: FileReader,
  { name, byteLength, crc }: DirectoryEntry,
  dataEnd: number,
  limit: number,
): Promise<void> {
  const bytes = await file.read(dataEnd, Math.min(24, limit - dataEnd), `zip entry ${quote(name)}`)
  for (const start of [4, 0]) {
    if (start === 4 && (bytes.length < 4 || bytes.readUInt32LE(0) !== DATA_DESCRIPTOR)) continue
    const rest = bytes.subarray(start)
    if (rest.length < 12 || rest.readUInt32LE(0) !== crc) continue
    if (rest.readUInt32LE(4) === byteLength && rest.readUInt32LE(8) === byteLength) return
    if (rest.length < 20) continue
    const sizes = [rest.readBigUInt64LE(4), rest.readBigUInt64LE(12)]
    if (sizes.every((size) => size === BigInt(byteLength))) return
  }
  failure(file, name)('has another size or CRC after its data than in the directory')
}

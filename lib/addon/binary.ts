// What machine a compiled file is for, read from its header. Loading a file that was cut short ends
// the process with a bus error, and for another machine's file the C library says "no such file": so
// the header is read first.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

export interface Binary {
  /** As in `process.platform`. */
  platform: 'linux' | 'darwin' | 'win32'
  /** As in `process.arch`; several in a universal file. Numbers stand for processors without a name here. */
  archs: string[]
  /** The program loader that an ELF executable names, such as `/lib64/ld-linux-x86-64.so.2`. */
  interpreter?: string
}

/** The file is no binary of any system, or its end is missing. */
export class DamagedBinaryError extends Error {}

/** A binary for another system or processor. */
export class WrongMachineError extends Error {}

const ELF_MACHINES: Record<number, string> = {
  3: 'ia32',
  8: 'mips',
  21: 'ppc64',
  22: 's390x',
  40: 'arm',
  62: 'x64',
  183: 'arm64',
  243: 'riscv64',
  258: 'loong64',
}
const MACH_CPUS: Record<number, string> = { 16777223: 'x64', 16777228: 'arm64' }

/**
 * Reads the header of an ELF, Mach-O or PE file. Throws `DamagedBinaryError` for a file that is none
 * of these or shorter than its own header says, and what `fs` throws for one that cannot be read.
 *
 * @example examineBinary(process.execPath).interpreter // '/lib64/ld-linux-x86-64.so.2'
 */
export function examineBinary(path: string): Binary {
  const file = openSync(path, 'r')
  try {
    const size = fstatSync(file).size
    const read = (offset: number, length: number) => {
      const bytes = Buffer.alloc(Math.max(0, Math.min(length, size - offset)))
      const count = readSync(file, bytes, 0, bytes.length, offset)
      return bytes.subarray(0, count)
    }
    const magic = read(0, 4).toString('hex')
    if (magic === '7f454c46') return examineElf(read, size)
    if (magic === 'cffaedfe') return examineMachO(read, size)
    if (magic === 'cafebabe') return examineUniversal(read, size)
    if (magic.startsWith('4d5a')) return { platform: 'win32', archs: [] }
    throw new DamagedBinaryError(
      size === 0 ? 'the file is empty' : 'the file is no program or library of any system',
    )
  } catch (error) {
    // By its code: the realm of Node's own errors need not be this one.
    if (
      /^ERR_(OUT_OF_RANGE|BUFFER_OUT_OF_BOUNDS)$/.test((error as NodeJS.ErrnoException).code ?? '')
    )
      throw cutShort(fstatSync(file).size)
    throw error
  } finally {
    closeSync(file)
  }
}

/** Bytes of the file; fewer at its end. */
type Read = (offset: number, length: number) => Buffer

const cutShort = (size: number) =>
  new DamagedBinaryError(`the file ends too early, after ${size} bytes`)

function examineElf(read: Read, size: number): Binary {
  const header = read(0, 64)
  const little = header[5] === 1
  const u16 = (at: number) => (little ? header.readUInt16LE(at) : header.readUInt16BE(at))
  const binary: Binary = { platform: 'linux', archs: [] }
  const machine = u16(18)
  binary.archs.push(ELF_MACHINES[machine] ?? `ELF machine ${machine}`)
  // Only the 64-bit little-endian form is what Node runs on here.
  if (header[4] !== 2 || !little) return binary
  const u64 = (bytes: Buffer, at: number) => Number(bytes.readBigUInt64LE(at))
  const sectionsEnd = u64(header, 40) + u16(58) * u16(60)
  const entry = u16(54)
  const segments = read(u64(header, 32), entry * u16(56))
  if (segments.length < entry * u16(56) || sectionsEnd > size) throw cutShort(size)
  for (let at = 0; at < segments.length; at += entry) {
    const [offset, bytes] = [u64(segments, at + 8), u64(segments, at + 32)]
    if (offset + bytes > size) throw cutShort(size)
    const INTERPRETER = 3
    if (segments.readUInt32LE(at) === INTERPRETER) {
      binary.interpreter = read(offset, Math.min(bytes, 4096)).toString().replace(/\0.*$/s, '')
    }
  }
  return binary
}

function examineMachO(read: Read, size: number): Binary {
  const header = read(0, 32)
  const cpu = header.readUInt32LE(4)
  const count = header.readUInt32LE(16)
  const commands = read(32, header.readUInt32LE(20))
  for (let at = 0, i = 0; i < count; i++) {
    const SEGMENT_64 = 0x19
    if (commands.readUInt32LE(at) === SEGMENT_64) {
      const end = commands.readBigUInt64LE(at + 40) + commands.readBigUInt64LE(at + 48)
      if (end > size) throw cutShort(size)
    }
    at += Math.max(8, commands.readUInt32LE(at + 4))
  }
  return { platform: 'darwin', archs: [MACH_CPUS[cpu] ?? `Mach-O processor ${cpu}`] }
}

function examineUniversal(read: Read, size: number): Binary {
  const count = Math.min(read(4, 4).readUInt32BE(0), 16)
  const archs: string[] = []
  for (let i = 0; i < count; i++) {
    const entry = read(8 + 20 * i, 20)
    const cpu = entry.readUInt32BE(0)
    archs.push(MACH_CPUS[cpu] ?? `Mach-O processor ${cpu}`)
    if (entry.readUInt32BE(8) + entry.readUInt32BE(12) > size) throw cutShort(size)
  }
  return { platform: 'darwin', archs }
}

// Reads a binary for macOS (Mach-O, one architecture of 64 bits) as its loader does.

import { createHash } from 'node:crypto'

/** A name that the loader looks up in a library, or wherever it is (`library` undefined). */
export interface Import {
  name: string
  library: string | undefined
  /** Null when the library lacks it; otherwise nothing loads. */
  weak: boolean
}

export interface MachO {
  architecture: 'arm64' | 'x64'
  isBundle: boolean
  /** Takes part in choosing one definition of a weak name in the whole process. */
  hasWeakNames: boolean
  leastMacos: string
  libraries: string[]
  searchPaths: string[]
  imports: Import[]
  exports: string[]
  /** Of Objective-C, that it sends. */
  selectors: string[]
  signature: Signature | undefined
}

export interface Signature {
  adHoc: boolean
  linkerSigned: boolean
  pages: number
  /** Numbers of the pages whose hash is another. */
  wrongPages: number[]
  /** Whether all that stands before the signature is hashed, by SHA-256. */
  coversFile: boolean
}

const ARCHITECTURES = { 16777228: 'arm64', 16777223: 'x64' } as const
const BUNDLE = 8
const WEAK_FLAGS = 0x8000 | 0x10000 // MH_WEAK_DEFINES, MH_BINDS_TO_WEAK
const [SEGMENT, LOAD_DYLIB, LOAD_WEAK_DYLIB, RPATH] = [0x19, 0xc, 0x80000018, 0x8000001c]
const [BUILD_VERSION, CHAINED_FIXUPS, EXPORTS_TRIE, CODE_SIGNATURE] = [
  0x32, 0x80000034, 0x80000033, 0x1d,
]

/** Throws when the file is none, or has what our linker does not write. */
export function readMachO(file: Buffer): MachO {
  const u32 = (at: number) => file.readUInt32LE(at)
  const architecture = ARCHITECTURES[u32(4) as keyof typeof ARCHITECTURES]
  if (u32(0) !== 0xfeedfacf || architecture === undefined) throw new Error('no Mach-O of 64 bits')
  const result: MachO = {
    architecture,
    isBundle: u32(12) === BUNDLE,
    hasWeakNames: (u32(24) & WEAK_FLAGS) !== 0,
    leastMacos: '',
    libraries: [],
    searchPaths: [],
    imports: [],
    exports: [],
    selectors: [],
    signature: undefined,
  }
  let fixups: number | undefined
  for (let i = 0, at = 32; i < u32(16); i++, at += u32(at + 4)) {
    const command = u32(at)
    const path = () => textAt(file, at + u32(at + 8))
    if (command === SEGMENT) result.selectors.push(...selectorsOf(file, at))
    if (command === LOAD_DYLIB || command === LOAD_WEAK_DYLIB) result.libraries.push(path())
    if (command === RPATH) result.searchPaths.push(path())
    if (command === BUILD_VERSION) result.leastMacos = versionOf(u32(at + 12))
    if (command === CHAINED_FIXUPS) fixups = u32(at + 8)
    if (command === EXPORTS_TRIE) {
      result.exports = exportsOf(file.subarray(u32(at + 8), u32(at + 8) + u32(at + 12)))
    }
    if (command === CODE_SIGNATURE) result.signature = signatureOf(file, u32(at + 8), u32(at + 12))
  }
  if (fixups === undefined) throw new Error('no chained fixups: imports are written in another way')
  result.imports = importsOf(file, fixups, result.libraries)
  return result
}

function textAt(file: Buffer, at: number): string {
  return file.toString('utf8', at, file.indexOf(0, at))
}

function versionOf(packed: number): string {
  return `${packed >>> 16}.${(packed >> 8) & 255}`
}

/** Of a segment with the section __objc_methname, which holds them one after the other. */
function selectorsOf(file: Buffer, segment: number): string[] {
  const count = file.readUInt32LE(segment + 64)
  for (let i = 0; i < count; i++) {
    const section = segment + 72 + 80 * i
    if (textAt(file.subarray(section, section + 16), 0) !== '__objc_methname') continue
    const start = file.readUInt32LE(section + 48)
    const size = Number(file.readBigUInt64LE(section + 40))
    return file
      .toString('utf8', start, start + size)
      .split('\0')
      .filter(Boolean)
  }
  return []
}

/** dyld_chained_fixups_header, then an array of imports. */
function importsOf(file: Buffer, start: number, libraries: string[]): Import[] {
  const [imports, symbols, count, format] = [8, 12, 16, 20].map((at) =>
    file.readUInt32LE(start + at),
  )
  if (format !== 1) throw new Error(`imports of format ${format}, not 1`)
  return Array.from({ length: count! }, (_, i) => {
    const packed = file.readUInt32LE(start + imports! + 4 * i)
    const ordinal = packed & 255 // 1 is the first library, 254 a look-up everywhere
    return {
      name: textAt(file, start + symbols! + (packed >>> 9)),
      library: libraries[ordinal - 1],
      weak: (packed & 256) !== 0,
    }
  })
}

/** A trie of names: each node has its export, if it is one, and then edges to others. */
function exportsOf(trie: Buffer): string[] {
  const found: string[] = []
  const visit = (node: number, prefix: string) => {
    let at = node
    const number = () => {
      let value = 0
      for (let shift = 0; ; shift += 7) {
        const byte = trie[at++]!
        value |= (byte & 127) << shift
        if (byte < 128) return value
      }
    }
    const size = number()
    if (size > 0) found.push(prefix)
    at += size
    for (let edges = trie[at++]!; edges > 0; edges--) {
      const name = textAt(trie, at)
      at += name.length + 1
      visit(number(), prefix + name)
    }
  }
  if (trie.length > 0) visit(0, '')
  return found.sort()
}

/** A SuperBlob of blobs, big-endian; the one that matters is the code directory. */
function signatureOf(file: Buffer, start: number, size: number): Signature | undefined {
  const be = (at: number) => file.readUInt32BE(start + at)
  if (be(0) !== 0xfade0cc0) return undefined
  for (let i = 0; i < be(8); i++) {
    const directory = be(16 + 8 * i)
    if (be(directory) !== 0xfade0c02) continue
    const [flags, hashes, pages, limit] = [12, 16, 28, 32].map((at) => be(directory + at))
    const [length, type, shift] = [36, 37, 39].map((at) => file[start + directory + at])
    const page = 2 ** shift!
    const wrongPages: number[] = []
    for (let n = 0; n < pages!; n++) {
      const bytes = file.subarray(n * page, Math.min((n + 1) * page, limit!))
      const at = start + directory + hashes! + n * length!
      const hash = createHash('sha256').update(bytes).digest()
      if (!hash.equals(file.subarray(at, at + length!))) wrongPages.push(n)
    }
    return {
      adHoc: (flags! & 2) !== 0,
      linkerSigned: (flags! & 0x20000) !== 0,
      pages: pages!,
      wrongPages,
      coversFile:
        type === 2 &&
        limit === start &&
        start + size === file.length &&
        pages === Math.ceil(start / page),
    }
  }
  return undefined
}

// Makes small zip archives, of the kind that torch.save writes and of kinds that it never would.

import { crc32 } from 'node:zlib'

export interface ZipWriterEntry {
  name: string
  data: Uint8Array
  /** Written instead of the true values. */
  method?: number
  flags?: number
  crc?: number
  size?: number
  localHeader?: number
  localName?: string
}

export interface ZipWriterOptions {
  /**
   * `header`: sizes before the data. `descriptor`: after it, as torch.save does; `descriptor64`: as it
   * does from 4 GiB on. Defaults to `descriptor`.
   */
  sizes?: 'header' | 'descriptor' | 'descriptor64'
  /** All sizes, offsets and counts as 64-bit numbers, as in archives beyond 4 GiB. Defaults to false. */
  zip64?: boolean
  comment?: string
}

/** The bytes of an archive with these entries, stored without compression. */
export function makeZip(entries: ZipWriterEntry[], options: ZipWriterOptions = {}): Buffer {
  const { sizes = 'descriptor', zip64 = false, comment = '' } = options
  const body: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  const add = (...parts: Buffer[]) => {
    for (const part of parts) {
      body.push(part)
      offset += part.length
    }
  }
  for (const entry of entries) {
    const name = Buffer.from(entry.name)
    const localName = Buffer.from(entry.localName ?? entry.name)
    const crc = entry.crc ?? crc32(entry.data)
    const size = entry.size ?? entry.data.length
    const flags = (entry.flags ?? 0) | (sizes === 'header' ? 0 : 8)
    const method = entry.method ?? 0
    const start = offset
    const inHeader = sizes === 'header'
    add(
      u32(0x04034b50),
      u16(0, flags, method, 0, 0),
      inHeader ? u32(crc, size, size) : u32(0, 0, 0),
      u16(localName.length, 0),
      localName,
      Buffer.from(entry.data),
    )
    if (sizes === 'descriptor') add(u32(0x08074b50, crc, size, size))
    if (sizes === 'descriptor64') add(u32(0x08074b50, crc), u64(size, size))
    const localHeader = entry.localHeader ?? start
    const extra = zip64
      ? Buffer.concat([u16(1, 24), u64(size, size, localHeader)])
      : Buffer.alloc(0)
    directory.push(
      u32(0x02014b50),
      u16(0, 0, flags, method, 0, 0),
      u32(crc),
      zip64 ? u32(0xffffffff, 0xffffffff) : u32(size, size),
      u16(name.length, extra.length, 0, 0, 0),
      u32(0, zip64 ? 0xffffffff : localHeader),
      name,
      extra,
    )
  }
  const central = Buffer.concat(directory)
  const centralOffset = offset
  add(central)
  if (zip64) {
    const end64 = offset
    add(u32(0x06064b50), u64(44), u16(45, 45), u32(0, 0))
    add(u64(entries.length, entries.length, central.length, centralOffset))
    add(u32(0x07064b50, 0), u64(end64), u32(1))
  }
  const count = zip64 ? 0xffff : entries.length
  add(u32(0x06054b50), u16(0, 0, count, count))
  add(zip64 ? u32(0xffffffff, 0xffffffff) : u32(central.length, centralOffset))
  add(u16(comment.length), Buffer.from(comment))
  return Buffer.concat(body)
}

function u16(...values: number[]): Buffer {
  return Buffer.from(Uint16Array.from(values).buffer)
}

function u32(...values: number[]): Buffer {
  return Buffer.from(Uint32Array.from(values).buffer)
}

function u64(...values: number[]): Buffer {
  return Buffer.from(BigUint64Array.from(values.map(BigInt)).buffer)
}

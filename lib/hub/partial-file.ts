// A file of the cache while it arrives: blobs/<etag>.incomplete, as every client of the Hub calls it, and beside it the
// checksums of its blocks. A process that goes on with it hashes what is there, and finds by the checksums how far it
// is sound: after a power failure the last blocks may not be.

import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import zlib from 'node:zlib'
import { type Signal, throwIfAborted } from '../support/abort.js'
import { isMissing } from '../support/small-file.js'

/** Bytes that have a checksum of their own; those of the last, incomplete one are fetched again. */
export const BLOCK_BYTES = 2 ** 20
const CHECKSUM_BYTES = 4

/** Something else writes the file at the same time. */
export class ForeignWriterError extends Error {}

/** The hash that an etag is; undefined for what is no hash. */
function hashOf(etag: string, size: number): Hash | undefined {
  if (/^[0-9a-f]{64}$/.test(etag)) return createHash('sha256')
  if (/^[0-9a-f]{40}$/.test(etag)) return createHash('sha1').update(`blob ${size}\0`)
  return undefined
}

export const partialOf = (blob: string): string => `${blob}.incomplete`
export const checksumsOf = (blob: string): string => `${partialOf(blob)}.crc32`

async function openForUpdate(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDWR | constants.O_CREAT, 0o666)
}

/** Whether this package has begun with a blob, and not another client. */
export async function isOurs(blob: string): Promise<boolean> {
  try {
    await stat(checksumsOf(blob))
    return true
  } catch (error) {
    if (isMissing(error)) return false
    throw error
  }
}

export class PartialFile implements AsyncDisposable {
  readonly #blob: string
  readonly #etag: string
  readonly #size: number
  readonly #data: FileHandle
  readonly #checksums: FileHandle
  #hash: Hash | undefined
  #position = 0
  /** Of the block that `#position` is in. */
  #crc = 0

  private constructor(
    blob: string,
    { etag, size }: { etag: string; size: number },
    data: FileHandle,
    checksums: FileHandle,
  ) {
    this.#blob = blob
    this.#etag = etag
    this.#size = size
    this.#data = data
    this.#checksums = checksums
    this.#hash = hashOf(etag, size)
  }

  /**
   * Opens what there is of a blob, and keeps as much of it as is sound.
   *
   * @example
   * await using file = await PartialFile.open(blob, { etag, size }, signal)
   * for await (const part of answer) await file.append(part)
   * if (file.isRight()) await file.finish()
   */
  static async open(
    blob: string,
    remote: { etag: string; size: number },
    signal: Signal | undefined,
  ): Promise<PartialFile> {
    const hadChecksums = await isOurs(blob)
    const data = await openForUpdate(partialOf(blob))
    let checksums: FileHandle | undefined
    try {
      checksums = await openForUpdate(checksumsOf(blob))
      const file = new PartialFile(blob, remote, data, checksums)
      await file.#readBack(hadChecksums, signal)
      return file
    } catch (error) {
      await data.close()
      await checksums?.close()
      throw error
    }
  }

  /** How many bytes are there, which is where the next ones belong. */
  get position(): number {
    return this.#position
  }

  async #readBack(hadChecksums: boolean, signal: Signal | undefined): Promise<void> {
    const { size } = await this.#data.stat()
    const known = hadChecksums ? await this.#checksums.readFile() : undefined
    // Of another client all is taken: the hash of the whole decides.
    const blocks = known ? Math.floor(known.length / CHECKSUM_BYTES) : Number.POSITIVE_INFINITY
    const end = size > this.#size ? 0 : Math.min(size, blocks * BLOCK_BYTES)
    const buffer = Buffer.alloc(Math.min(BLOCK_BYTES, end))
    if (!known) await this.#checksums.truncate(0)
    while (this.#position < end) {
      throwIfAborted(signal)
      const wanted = Math.min(BLOCK_BYTES, end - this.#position)
      const { bytesRead } = await this.#data.read(buffer, 0, wanted, this.#position)
      const block = buffer.subarray(0, bytesRead)
      const at = (this.#position / BLOCK_BYTES) * CHECKSUM_BYTES
      if (bytesRead < wanted || (known && zlib.crc32(block) !== known.readUInt32LE(at))) break
      await this.#count(block)
    }
    await this.#data.truncate(this.#position)
    await this.#checksums.truncate(Math.floor(this.#position / BLOCK_BYTES) * CHECKSUM_BYTES)
  }

  /** Adds bytes of which all are on the disk to the hash, and to the checksums of blocks that they complete. */
  async #count(bytes: Buffer): Promise<void> {
    this.#hash?.update(bytes)
    for (let rest = bytes; rest.length > 0; ) {
      const room = BLOCK_BYTES - (this.#position % BLOCK_BYTES)
      const part = rest.subarray(0, room)
      this.#crc = zlib.crc32(part, this.#crc)
      this.#position += part.length
      rest = rest.subarray(part.length)
      if (part.length < room) continue
      const checksum = Buffer.alloc(CHECKSUM_BYTES)
      checksum.writeUInt32LE(this.#crc)
      this.#crc = 0
      const block = this.#position / BLOCK_BYTES - 1
      await this.#checksums.write(checksum, 0, CHECKSUM_BYTES, block * CHECKSUM_BYTES)
    }
  }

  /** Appends bytes as they arrive. Throws the errors of `fs`, and `ForeignWriterError`. */
  async append(bytes: Buffer): Promise<void> {
    const begun = this.#position
    if (begun + bytes.length > this.#size) {
      throw new RangeError(`${partialOf(this.#blob)}: more than ${this.#size} bytes arrive`)
    }
    if (begun % BLOCK_BYTES < bytes.length && (await this.#data.stat()).size !== begun) {
      throw new ForeignWriterError(
        `${partialOf(this.#blob)}: another program writes this file as well. Wait until it is done, then try again.`,
      )
    }
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#data.write(
        bytes,
        done,
        bytes.length - done,
        begun + done,
      )
      done += bytesWritten
    }
    await this.#count(bytes)
  }

  /** Throws away what there is. */
  async restart(): Promise<void> {
    await this.#data.truncate(0)
    await this.#checksums.truncate(0)
    this.#hash = hashOf(this.#etag, this.#size)
    this.#position = 0
    this.#crc = 0
  }

  /** Whether all bytes are there, and are those that the Hub has. Asked once, at the end. */
  isRight(): boolean {
    if (this.#position !== this.#size) return false
    return this.#hash === undefined || this.#hash.digest('hex') === this.#etag
  }

  /** Gives the file its name in the cache. */
  async finish(): Promise<void> {
    // A system may write down the new name before the bytes that belong to it.
    await this.#data.sync()
    await rename(partialOf(this.#blob), this.#blob)
    await rm(checksumsOf(this.#blob), { force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#data.close()
    await this.#checksums.close()
  }
}

/** Removes what there is of a blob. */
export async function removePartial(blob: string): Promise<void> {
  await rm(partialOf(blob), { force: true })
  await rm(checksumsOf(blob), { force: true })
}

import { readSync } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { CorruptFileError } from '../support/errors.js'

/** An open file of known size, read by position. Nothing is allocated for bytes it does not have. */
export class FileReader {
  readonly path: string
  /** Bytes. */
  readonly size: number
  readonly #handle: FileHandle

  private constructor(path: string, size: number, handle: FileHandle) {
    this.path = path
    this.size = size
    this.#handle = handle
  }

  /**
   * Opens `path`, runs `read` and closes the file again.
   *
   * @throws CorruptFileError if `path` is not a regular file; the error of `fs.open` if there is none.
   */
  static async use<T>(path: string, read: (file: FileReader) => Promise<T>): Promise<T> {
    // Looked at before it is opened: opening a named pipe would wait for a writer for ever.
    if (!(await stat(path)).isFile()) throw new CorruptFileError(`${path}: not a regular file`)
    const handle = await open(path, 'r')
    try {
      return await read(new FileReader(path, (await handle.stat()).size, handle))
    } finally {
      await handle.close()
    }
  }

  /**
   * The `length` bytes from `offset` on. `what` names them in the message.
   *
   * @throws CorruptFileError if the file does not have them.
   */
  async read(offset: number, length: number, what: string): Promise<Buffer> {
    this.#checkRange(offset, length, what)
    const buffer = Buffer.alloc(length)
    let done = 0
    while (done < length) {
      const { bytesRead } = await this.#handle.read(buffer, done, length - done, offset + done)
      if (bytesRead === 0) this.#failShrunk(what)
      done += bytesRead
    }
    return buffer
  }

  /**
   * The same at once, for a few bytes here and there, where the way through the thread pool takes most of
   * the time.
   */
  readNow(offset: number, length: number, what: string): Buffer {
    this.#checkRange(offset, length, what)
    const buffer = Buffer.alloc(length)
    let done = 0
    while (done < length) {
      const bytesRead = readSync(this.#handle.fd, buffer, done, length - done, offset + done)
      if (bytesRead === 0) this.#failShrunk(what)
      done += bytesRead
    }
    return buffer
  }

  #checkRange(offset: number, length: number, what: string): void {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size)) {
      throw new CorruptFileError(
        `${this.path}: ${what} should lie at bytes ${offset} to ${offset + length}` +
          ` but the file has ${this.size} bytes`,
      )
    }
  }

  #failShrunk(what: string): never {
    throw new CorruptFileError(`${this.path}: ${what}: the file shrank while it was read`)
  }

  /** What the file probably is, where its first bytes show a well-known mistake; else ''. */
  async mistakenFor(): Promise<string> {
    return mistakenFor(await this.read(0, Math.min(this.size, 64), 'the first bytes'), this.path)
  }
}

/** The same of the first bytes of a file. */
export function mistakenFor(head: Buffer, path: string): string {
  const text = head.toString('latin1', 0, 64).trimStart().toLowerCase()
  if (text.startsWith('version https://git-lfs')) {
    return (
      `; it is a Git LFS pointer, not the data: run \`git lfs install && git lfs pull\` in ` +
      `${dirname(path)}, or download the model again`
    )
  }
  if (text.startsWith('<!doctype') || text.startsWith('<html')) {
    return '; it is a web page: the download went wrong'
  }
  if (text.startsWith('pk\x03\x04')) return '; it is a zip archive, perhaps of PyTorch'
  if (text.startsWith('gguf')) return '; it is a GGUF file, which is not supported'
  return ''
}

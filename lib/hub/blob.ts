// Brings one file of a repository into the blobs of the cache: goes on where an earlier call was stopped, checks all
// bytes, and asks the Hub again where a connection breaks off.

import { stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DownloadError } from '../support/errors.js'
import { formatBytes } from '../support/format.js'
import type { Signal } from '../support/abort.js'
import { ofConnection, PassingError, pauseFor, persist, type Wish } from './failures.js'
import { withLock } from './lock.js'
import {
  ForeignWriterError,
  isOurs,
  PartialFile,
  partialOf,
  removePartial,
} from './partial-file.js'
import { openFile, type RemoteFile } from './repository.js'
import type { Way } from './request.js'
import { kindOf } from './snapshots.js'

/** Failures in a row without one new byte. */
const ATTEMPTS = 7

/** A file and where it goes. */
export interface BlobTask {
  readonly wish: Wish
  readonly commit: string
  readonly file: RemoteFile
  /** `<cache>/models--organisation--name`. */
  readonly repository: string
  /** Called with how many bytes of it are there. */
  readonly onBytes: (bytes: number) => void
}

export const blobPath = (repository: string, etag: string): string =>
  join(repository, 'blobs', etag)

/** Where the locks of a repository's files are. Python's own, of the system, are beside them. */
export const locksOf = (cache: string, repositoryFolder: string): string =>
  join(cache, '.locks', repositoryFolder)

export const LOCK_SUFFIX = '.ssm-metal.lock'

/** Fetches a file unless it is there. The folder of the blobs exists. */
export async function fetchBlob(way: Way, task: BlobTask): Promise<void> {
  const { file, repository, onBytes } = task
  const blob = blobPath(repository, file.etag)
  const cache = dirname(repository)
  const locks = locksOf(cache, repository.slice(cache.length + 1))
  const work = async () => {
    if (!(await isOurs(blob))) await waitForOthers(blob, way.signal)
    if ((await kindOf(blob)) === 'missing') await transfer(way, task, blob)
    // Of a process that was stopped when all was there.
    else await removePartial(blob)
  }
  const onWait = async () => {
    const found = await stat(partialOf(blob)).catch(() => undefined)
    if (found) onBytes(Math.min(found.size, file.size))
  }
  const lock = join(locks, file.etag + LOCK_SUFFIX)
  await withLock(lock, { signal: way.signal, onWait }, work).catch((error: unknown) => {
    throw ofWriting(error, file, 0)
  })
  onBytes(file.size)
}

/** Lets another client of the Hub that writes the same file, as older ones in Python do, come to its end. */
async function waitForOthers(blob: string, signal: Signal | undefined): Promise<void> {
  const looked = async () => {
    const { size, mtimeMs } = await stat(partialOf(blob)).catch(() => ({ size: -1, mtimeMs: 0 }))
    return { size, isFresh: Date.now() - mtimeMs < 3000 }
  }
  for (let before = await looked(); before.isFresh; ) {
    await pauseFor(1000, signal)
    const now = await looked()
    if (now.size === before.size) return
    before = now
  }
}

async function transfer(way: Way, task: BlobTask, blob: string): Promise<void> {
  const { file } = task
  // A file that is wrong as a whole, though it arrived without a failure, is fetched once more from its beginning.
  for (let isLast = false; ; isLast = true) {
    await using partial = await PartialFile.open(blob, file, way.signal)
    await receiveAll(way, task, partial)
    if (partial.isRight()) {
      await partial.finish()
      return
    }
    await removePartial(blob)
    if (isLast) throw damaged(file)
  }
}

async function receiveAll(way: Way, task: BlobTask, partial: PartialFile): Promise<void> {
  const { file, onBytes } = task
  onBytes(partial.position)
  let known = partial.position
  await persist(
    async () => {
      if (partial.position < file.size) await receive(way, task, partial)
    },
    {
      attempts: ATTEMPTS,
      signal: way.signal,
      hasAdvanced() {
        const advanced = partial.position > known
        known = partial.position
        return advanced
      },
    },
  )
}

async function receive(way: Way, { wish, commit, file, onBytes }: BlobTask, partial: PartialFile) {
  const { answer, start } = await openFile(way, wish, commit, file, partial.position)
  try {
    // Where the server knows no ranges, what is there arrives once more.
    let toSkip = partial.position - start
    const parts = answer.body[Symbol.asyncIterator]()
    for (;;) {
      const { value, done } = await parts.next().catch((error: unknown) => {
        throw ofConnection(error, way)
      })
      if (done) break
      const bytes: Buffer = toSkip > 0 ? value.subarray(toSkip) : value
      toSkip = Math.max(0, toSkip - value.length)
      if (bytes.length === 0) continue
      if (partial.position + bytes.length > file.size) throw damaged(file)
      await partial.append(bytes)
      onBytes(partial.position)
    }
  } catch (error) {
    throw ofWriting(error, file, partial.position)
  } finally {
    answer.end()
  }
  if (partial.position === file.size) return
  const error = new Error(`${answer.url.host} ended the transfer of ${file.name} early`)
  throw ofConnection(Object.assign(error, { code: 'ECONNRESET' }), way)
}

function damaged({ name, etag }: RemoteFile): Error {
  return new DownloadError(
    `${name} arrives damaged: its bytes do not have the hash ${etag} that the Hub gives. Twice in a row this is not the network: look at proxies, and at the server of HF_ENDPOINT.`,
    { reason: 'damaged' },
  )
}

const FULL = ['ENOSPC', 'EDQUOT', 'EFBIG']

/** What a failure to write means; other errors as they are. */
export function ofWriting(error: unknown, { name, size }: RemoteFile, position: number): unknown {
  if (error instanceof PassingError || error instanceof DownloadError) return error
  if (error instanceof ForeignWriterError) {
    return new DownloadError(error.message, { reason: 'not-written', cause: error })
  }
  const { code, syscall, message } = error as NodeJS.ErrnoException
  if (FULL.includes(code ?? '')) {
    const missing = formatBytes(size - position)
    return new DownloadError(
      `no room for ${name}: ${message}. ${missing} of it are missing. Make room, or name another cache (HF_HUB_CACHE, cacheDir), and try again: what has arrived is kept.`,
      { reason: 'no-space', cause: error },
    )
  }
  if (syscall === undefined) return error
  return new DownloadError(`${name} cannot be written: ${message}. What has arrived is kept.`, {
    reason: 'not-written',
    cause: error,
  })
}

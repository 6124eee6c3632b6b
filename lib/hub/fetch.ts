// Brings what is missing of a repository into the cache of the Hub, in the layout that all its clients share. Files
// become visible in the snapshot once all of them are there, so whoever looks at the folder has the whole model or
// none; the reference comes last.

import { mkdir, rm, statfs, symlink } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { DownloadError } from '../support/errors.js'
import { formatBytes } from '../support/format.js'
import type { OnNotice } from '../support/notices.js'
import { onAbort, reasonOf, type Signal, throwIfAborted } from '../support/abort.js'
import { replaceFile } from '../weights/replace-file.js'
import { blobPath, fetchBlob } from './blob.js'
import type { Wish } from './failures.js'
import { partialOf } from './partial-file.js'
import { listRepository, type RemoteFile, type Repository, remoteFile } from './repository.js'
import type { Way } from './request.js'
import { hubEndpoint, hubToken, idleTimeout } from './settings.js'
import { kindOf, repositoryFolder, sizeOf } from './snapshots.js'
import { type DownloadProgress, TransferRate } from './transfer-rate.js'

/** Files at once. */
const TRANSFERS = 4

export interface FetchOptions {
  /** The folder with the `models--*` folders. */
  readonly cache: string
  readonly signal?: Signal | undefined
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined
  readonly onNotice?: OnNotice | undefined
}

/** Chooses files of a repository; `read` fetches a small one first, and gives its path. */
export type ChooseFiles = (
  names: readonly string[],
  read: (name: string) => Promise<string>,
) => Promise<readonly string[]>

/**
 * Fetches those files of a repository that are chosen and not there yet; resolves to the folder of the snapshot.
 *
 * @throws ModelNotFoundError or TokenizerNotFoundError for what the Hub does not have.
 * @throws DownloadError for everything that keeps the files from arriving.
 */
export async function fetchSnapshot(
  wish: Wish,
  choose: ChooseFiles,
  { cache, signal, onProgress, onNotice }: FetchOptions,
): Promise<string> {
  const way: Way = {
    endpoint: hubEndpoint(),
    token: await hubToken(),
    timeout: idleTimeout(),
    signal,
  }
  const listed = await listRepository(way, wish)
  const repository = repositoryFolder(cache, wish.name)
  const snapshot = join(repository, 'snapshots', listed.commit)
  await writing(repository, () => mkdir(join(repository, 'blobs'), { recursive: true }))
  const job = { way, wish, listed, repository, snapshot }

  const read = async (name: string): Promise<string> => {
    const [file] = await missingOf(job, [name])
    if (file === undefined) return join(snapshot, name)
    await fetchBlob(way, { ...job, commit: listed.commit, file, onBytes: () => {} })
    return blobPath(repository, file.etag)
  }
  const names = await choose([...listed.files.keys()], read)
  const missing = await missingOf(job, names)
  await fetchAll(job, missing, { onProgress, onNotice })
  await writing(snapshot, async () => {
    for (const file of missing) await linkFile(job, file)
    await writeReference(job)
  })
  if (listed.name !== wish.name) {
    onNotice?.({
      code: 'MODEL_RENAMED',
      message: `${wish.name} is called ${listed.name} on the Hub now; the cache keeps it by the name that was given`,
    })
  }
  return snapshot
}

interface Job {
  readonly way: Way
  readonly wish: Wish
  readonly listed: Repository
  readonly repository: string
  readonly snapshot: string
}

/** Failures of the disk that have no file of the repository. */
async function writing<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const { syscall, message } = error as NodeJS.ErrnoException
    if (syscall === undefined) throw error
    throw new DownloadError(
      `${folder}: cannot be written: ${message}. HF_HUB_CACHE or cacheDir names another cache.`,
      { reason: 'not-written', cause: error },
    )
  }
}

/** Those of the files that the snapshot does not have, or has as links to nowhere, in the given order. */
async function missingOf(
  { way, wish, listed, snapshot }: Job,
  names: readonly string[],
): Promise<RemoteFile[]> {
  const missing: RemoteFile[] = []
  for (const name of names) {
    if ((await kindOf(join(snapshot, name))) === 'file') continue
    missing.push(await remoteFile(way, wish, listed, name))
  }
  return missing
}

async function fetchAll(
  job: Job,
  missing: readonly RemoteFile[],
  options: Pick<FetchOptions, 'onProgress' | 'onNotice'>,
): Promise<void> {
  // The same bytes may have several names.
  const files = [...new Map(missing.map((file) => [file.etag, file])).values()]
  const arriving = new Map<RemoteFile, number>()
  for (const file of files) {
    const blob = blobPath(job.repository, file.etag)
    if ((await kindOf(blob)) === 'file') continue
    arriving.set(file, Math.min(file.size, (await sizeOf(partialOf(blob))) ?? 0))
  }
  const rate = await announce(job, arriving, options)
  // Small ones first: the large one that is left alone has the whole connection. Those that are there cost nothing, and
  // what a process that was stopped left beside them goes away.
  const queue = files.toSorted((a, b) => a.size - b.size)
  await inParallel(job.way, queue, async (way, file) => {
    const { etag } = file
    const onBytes = (bytes: number) => {
      if (arriving.has(file)) rate.update(etag, bytes)
    }
    await fetchBlob(way, { ...job, commit: job.listed.commit, file, onBytes })
  })
  if (arriving.size > 0) rate.report()
}

/** Says what is to arrive, with how much of each file is there; refuses what the disk has no room for. */
async function announce(
  job: Job,
  arriving: ReadonlyMap<RemoteFile, number>,
  { onProgress, onNotice }: Pick<FetchOptions, 'onProgress' | 'onNotice'>,
): Promise<TransferRate> {
  const { wish, way, repository } = job
  const total = [...arriving.keys()].reduce((sum, { size }) => sum + size, 0)
  const there = [...arriving.values()].reduce((sum, bytes) => sum + bytes, 0)
  const rate = new TransferRate(total, (progress) => onProgress?.(progress))
  if (arriving.size === 0) return rate
  await checkRoom(job, total - there)
  const { host } = new URL(way.endpoint)
  const size = `${formatBytes(total)} in ${arriving.size === 1 ? '1 file' : `${arriving.size} files`}`
  const already = there === 0 ? '' : `, of which ${formatBytes(there)} are there`
  onNotice?.({
    code: 'DOWNLOAD',
    message: `downloading the ${wish.kind} ${wish.name} from ${host}: ${size}${already}, to ${repository}`,
  })
  // Told of all before any arrives, so that what is there counts from the first report on.
  for (const [{ etag }, bytes] of arriving) rate.update(etag, bytes)
  return rate
}

/** Works on several files at once. The first failure ends all, and is the one that is thrown. */
async function inParallel(
  { signal, ...way }: Way,
  queue: RemoteFile[],
  work: (way: Way, file: RemoteFile) => Promise<void>,
): Promise<void> {
  throwIfAborted(signal)
  const stop = new AbortController()
  const forget = onAbort(signal, () => stop.abort(reasonOf(signal!)))
  const worker = async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      throwIfAborted(stop.signal)
      await work({ ...way, signal: stop.signal }, file)
    }
  }
  const workers = Array.from({ length: TRANSFERS }, () =>
    worker().catch((error: unknown) => stop.abort(error)),
  )
  await Promise.all(workers)
  forget()
  throwIfAborted(stop.signal)
}

/** Refuses what would not fit, before it begins. */
async function checkRoom({ repository, wish }: Job, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(join(repository, 'blobs'))
  const free = Number(bavail) * Number(bsize)
  if (bytes <= free) return
  throw new DownloadError(
    `no room for the ${wish.kind} ${wish.name}: ${formatBytes(bytes)} are to arrive but ${repository} has ${formatBytes(free)} left. Make room (ssm-metal list shows what is there, ssm-metal rm deletes it), or name another cache (HF_HUB_CACHE, cacheDir).`,
    { reason: 'no-space' },
  )
}

/** Puts a file into the snapshot: a relative link, so that the cache can be moved. */
async function linkFile({ repository, snapshot }: Job, { name, etag }: RemoteFile): Promise<void> {
  const path = join(snapshot, name)
  const target = relative(dirname(path), blobPath(repository, etag))
  await mkdir(dirname(path), { recursive: true })
  for (;;) {
    try {
      await symlink(target, path)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    // Another process was faster, or a link to nowhere was left.
    if ((await kindOf(path)) !== 'missing') return
    await rm(path, { force: true })
  }
}

async function writeReference({ wish, listed, repository }: Job): Promise<void> {
  if (wish.revision === listed.commit) return
  const file = join(repository, 'refs', ...wish.revision.split('/'))
  await mkdir(dirname(file), { recursive: true })
  await replaceFile(file, (handle) => handle.writeFile(listed.commit))
}

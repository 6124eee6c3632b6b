// What the cache of the Hub holds, and how a model leaves it.

import { lstat, readdir, readlink, realpath, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { DownloadError, ModelNotFoundError } from '../support/errors.js'
import { isMissing } from '../support/small-file.js'
import { LOCK_SUFFIX, locksOf } from './blob.js'
import { isHeld } from './lock.js'
import {
  cachedNames,
  entriesOf,
  kindOf,
  readReference,
  repositoryFolder,
  sizeOf,
} from './snapshots.js'

/** A commit of a repository that the cache has files of. */
export interface CachedRevision {
  readonly name: string
  readonly commit: string
  /** Branches and tags that name it. */
  readonly references: readonly string[]
  readonly path: string
  /** Files of the snapshot with what they lead to; undefined for a link to nowhere. */
  readonly files: ReadonlyMap<string, CachedFile | undefined>
}

interface CachedFile {
  /** The real path, of a blob as a rule. */
  readonly target: string
  readonly size: number
}

/** The bytes of revisions, those that they share counted once. */
export function bytesOf(revisions: readonly CachedRevision[]): number {
  const sizes = new Map<string, number>()
  for (const { files } of revisions) {
    for (const file of files.values()) if (file) sizes.set(file.target, file.size)
  }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0)
}

/** All revisions of all models in a cache. */
export async function cachedRevisions(cache: string | undefined): Promise<CachedRevision[]> {
  const names = await cachedNames(cache)
  return (await Promise.all(names.map((name) => revisionsOf(cache!, name)))).flat()
}

/** Models of which a download was stopped before there was a snapshot, and the bytes that have arrived. */
export async function unfinishedDownloads(
  cache: string,
): Promise<{ name: string; path: string; bytes: number }[]> {
  const unfinished = []
  for (const name of await cachedNames(cache)) {
    const path = repositoryFolder(cache, name)
    if ((await entriesOf(join(path, 'snapshots'))).length > 0) continue
    const bytes = await bytesIn(join(path, 'blobs'), [])
    if (bytes > 0) unfinished.push({ name, path, bytes })
  }
  return unfinished
}

/** The revisions of a model in a cache. */
export async function revisionsOf(cache: string, name: string): Promise<CachedRevision[]> {
  const repository = repositoryFolder(cache, name)
  const references = await referencesOf(join(repository, 'refs'))
  const commits = await entriesOf(join(repository, 'snapshots'))
  return Promise.all(
    commits.map(async (commit) => {
      const path = join(repository, 'snapshots', commit)
      const named = [...references].filter(([, target]) => target === commit)
      return {
        name,
        commit,
        references: named.map(([reference]) => reference),
        path,
        files: await filesOf(path),
      }
    }),
  )
}

/** References by name, and the commits that they name. */
async function referencesOf(folder: string): Promise<Map<string, string>> {
  const references = new Map<string, string>()
  for (const name of await filesIn(folder)) {
    const commit = await readReference(join(folder, name)).catch(() => undefined)
    if (commit !== undefined) references.set(name, commit)
  }
  return references
}

/** The paths of all that is no folder, in order; none where there is no such folder. */
async function filesIn(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true, recursive: true })
    const files = entries.filter((entry) => !entry.isDirectory())
    return files
      .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
      .sort()
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

async function filesOf(snapshot: string): Promise<Map<string, CachedFile | undefined>> {
  const files = new Map<string, CachedFile | undefined>()
  for (const name of await filesIn(snapshot)) {
    const target = await realpath(join(snapshot, name)).catch(() => undefined)
    const size = target === undefined ? undefined : await sizeOf(target)
    files.set(name, size === undefined ? undefined : { target: target!, size })
  }
  return files
}

/** What the removal of revisions removes. */
export interface Removal {
  readonly revisions: readonly CachedRevision[]
  /** Bytes that this frees. */
  readonly bytes: number
  /** Does it. */
  remove(): Promise<void>
}

/**
 * What removing a model, or one revision of it, comes to: blobs that another revision uses stay.
 *
 * @throws ModelNotFoundError for what is not in the cache, DownloadError while somebody downloads it.
 */
export async function planRemoval(
  cache: string,
  name: string,
  revision: string | undefined,
): Promise<Removal> {
  const repository = repositoryFolder(cache, name)
  if ((await kindOf(repository)) !== 'folder') {
    throw new ModelNotFoundError(
      `${name} is not in the cache ${cache}: ssm-metal list shows what is`,
    )
  }
  const all = await revisionsOf(cache, name)
  const isWanted = ({ commit, references }: CachedRevision) =>
    revision === undefined || commit === revision || references.includes(revision)
  const revisions = all.filter(isWanted)
  if (revision !== undefined && revisions.length === 0) {
    const there = all.map(({ commit, references }) => references[0] ?? commit).join(', ')
    throw new ModelNotFoundError(
      `${name} has no revision ${revision} in the cache ${cache}; it has ${there || 'none'}`,
    )
  }
  const kept = all.filter((other) => !isWanted(other))
  if (kept.length === 0) {
    const bytes = await bytesIn(join(repository, 'blobs'), revisions)
    return { revisions, bytes, remove: () => removeRepository(cache, repository) }
  }
  const isUsed = new Set(
    kept.flatMap(({ files }) => [...files.values()].map((file) => file?.target)),
  )
  const blobs = await blobsOf(repository, revisions)
  const freed = [...blobs].filter(([target]) => !isUsed.has(target))
  return {
    revisions,
    bytes: freed.reduce((sum, [, size]) => sum + size, 0),
    async remove() {
      await refuseWhileHeld(cache, repository)
      for (const { references, path } of revisions) {
        for (const reference of references) await rm(join(repository, 'refs', reference))
        await rm(path, { recursive: true })
      }
      for (const [target] of freed) await rm(target, { force: true })
    },
  }
}

/** The blobs that revisions lead to, and their sizes: nothing outside of the repository. */
async function blobsOf(
  repository: string,
  revisions: readonly CachedRevision[],
): Promise<Map<string, number>> {
  const folder = await realpath(join(repository, 'blobs')).catch(() => undefined)
  const blobs = new Map<string, number>()
  for (const { files } of revisions) {
    for (const file of files.values()) {
      if (file && dirname(file.target) === folder) blobs.set(file.target, file.size)
    }
  }
  return blobs
}

/** All bytes of a folder of blobs, half of a download among them, and files that are no links to it. */
async function bytesIn(folder: string, revisions: readonly CachedRevision[]): Promise<number> {
  const sizes = new Map<string, number>()
  const real = await realpath(folder).catch(() => folder)
  for (const name of await entriesOf(real)) {
    const path = join(real, name)
    sizes.set(path, (await lstat(path)).size)
  }
  for (const { path, files } of revisions) {
    for (const [name, file] of files) {
      const isOwn = (await readlink(join(path, name)).catch(() => undefined)) === undefined
      if (file && isOwn) sizes.set(resolve(path, name), file.size)
    }
  }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0)
}

async function removeRepository(cache: string, repository: string): Promise<void> {
  await refuseWhileHeld(cache, repository)
  await rm(repository, { recursive: true })
}

/** Throws while a process fetches files of the repository. */
async function refuseWhileHeld(cache: string, repository: string): Promise<void> {
  const locks = locksOf(cache, repository.slice(cache.length + 1))
  for (const lock of await entriesOf(locks)) {
    if (!lock.endsWith(LOCK_SUFFIX) || !(await isHeld(join(locks, lock)))) continue
    throw new DownloadError(
      `${repository}: a process downloads this model now. Wait until it is done, or stop it, and try again.`,
      { reason: 'not-written' },
    )
  }
}

// The cache of the Hub, which Python and every other client share:
//
//   <cache>/models--<organisation>--<name>/refs/<revision>      holds a commit hash
//   <cache>/models--<organisation>--<name>/snapshots/<commit>/  the files of that commit, links to blobs
//   <cache>/models--<organisation>--<name>/blobs/<hash>         the bytes of a file
//
// Nothing is downloaded here: fetch.ts fills a snapshot folder where findSnapshot finds none.

import { lstat, open, readdir, readlink, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { cacheFolder, pathVariable } from '../machine/cache-folder.js'
import { CorruptFileError } from '../support/errors.js'
import { isHubName } from './names.js'

const commitPattern = /^[0-9a-f]{40}$/

/**
 * The folder of the shared Hugging Face cache: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub,
 * XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub, the first that is set. It may not exist.
 * Undefined where none is set and the user has no home.
 *
 * @example hubCacheFolder() // '/Users/ada/.cache/huggingface/hub'
 */
export function hubCacheFolder(): string | undefined {
  const direct = pathVariable('HF_HUB_CACHE') ?? pathVariable('HUGGINGFACE_HUB_CACHE')
  if (direct !== undefined) return resolve(direct)
  const home = pathVariable('HF_HOME')
  if (home !== undefined) return resolve(home, 'hub')
  const caches = cacheFolder()
  return caches === undefined ? undefined : resolve(caches, 'huggingface', 'hub')
}

export type Kind = 'file' | 'folder' | 'missing'

/** What is at a path, links followed. */
export async function kindOf(path: string): Promise<Kind> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file'
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    // A name too long or with a NUL cannot be a path, but may turn out to be something else.
    const none = ['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ELOOP', 'ERR_INVALID_ARG_VALUE']
    if (none.includes(code ?? '')) return 'missing'
    throw error
  }
}

/** Bytes of a file, links followed; undefined where there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size
  } catch {
    return undefined
  }
}

/** Where a cache has a repository. */
export function repositoryFolder(cache: string, name: string): string {
  return join(cache, `models--${name.replace('/', '--')}`)
}

/** What a folder has, in order; nothing when it cannot be read. */
export async function entriesOf(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort()
  } catch {
    return []
  }
}

/** Where a link leads that leads nowhere; undefined for what is no such link. */
export async function danglingLink(path: string): Promise<string | undefined> {
  if ((await kindOf(path)) !== 'missing') return undefined
  try {
    return (await lstat(path)).isSymbolicLink() ? await readlink(path) : undefined
  } catch {
    return undefined
  }
}

/** The commit that `refs/<revision>` names; `undefined` if there is no such file. */
export async function readReference(file: string): Promise<string | undefined> {
  if ((await kindOf(file)) !== 'file') return undefined
  const handle = await open(file, 'r')
  try {
    // One byte more than a hash and a line ending need shows whether there is anything else.
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(64), 0, 64, 0)
    const commit = buffer.toString('latin1', 0, bytesRead).trim()
    if (!commitPattern.test(commit)) {
      throw new CorruptFileError(
        `${file}: must hold a commit hash of 40 hexadecimal digits but holds ` +
          `${JSON.stringify(commit.slice(0, 48))}`,
      )
    }
    return commit
  } finally {
    await handle.close()
  }
}

export interface Found {
  readonly path?: string
  /** What was looked at, one line each, for the message. */
  readonly lookedAt: string[]
}

/** The snapshot folder of a Hub name, and what was looked at on the way. */
export async function findSnapshot(
  name: string,
  cache: string | undefined,
  revision: string,
): Promise<Found> {
  if (cache === undefined) {
    return { lookedAt: ['no cache of the Hub: the user has no home; set HF_HOME or HOME'] }
  }
  const repository = repositoryFolder(cache, name)
  try {
    return await findIn(repository, cache, revision)
  } catch (error) {
    // Such as root's, where a container's user has root's HOME.
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error
    return { lookedAt: [`${repository} (no permission to look there)`] }
  }
}

async function findIn(repository: string, cache: string, revision: string): Promise<Found> {
  if ((await kindOf(cache)) !== 'folder') {
    return { lookedAt: [`${repository} (there is no folder ${cache})`] }
  }
  if ((await kindOf(repository)) !== 'folder')
    return { lookedAt: [`${repository} (no such folder)`] }

  const lookedAt: string[] = []
  const candidates: string[] = []
  const reference = join(repository, 'refs', ...revision.split('/'))
  const commit = await readReference(reference)
  if (commit !== undefined) candidates.push(commit)
  else lookedAt.push(`${reference} (no such file)`)
  if (commitPattern.test(revision)) candidates.push(revision)

  for (const candidate of candidates) {
    const path = join(repository, 'snapshots', candidate)
    if ((await kindOf(path)) === 'folder') return { path, lookedAt }
    lookedAt.push(`${path} (no such folder)`)
  }
  const present = await entriesOf(join(repository, 'snapshots'))
  if (present.length > 0) {
    lookedAt.push(`other revisions that are there: ${present.slice(0, 5).join(', ')}`)
  }
  return { lookedAt }
}

/** The names of all models in a cache. */
export async function cachedNames(cache: string | undefined): Promise<string[]> {
  const names = cache === undefined ? [] : await entriesOf(cache)
  return names
    .filter((entry) => entry.startsWith('models--'))
    .map((entry) => entry.slice('models--'.length).replace('--', '/'))
    .filter(isHubName)
}

function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

/** The command that fetches a model, or only its tokenizer. */
export function pullCommand(
  name: string,
  {
    kind = 'model',
    revision = 'main',
    cacheDir,
  }: {
    kind?: 'model' | 'tokenizer'
    revision?: string | undefined
    cacheDir?: string | undefined
  } = {},
): string {
  const words = ['ssm-metal pull']
  if (kind === 'tokenizer') words.push('--tokenizer-only')
  words.push(name)
  if (revision !== 'main') words.push('--revision', revision)
  if (cacheDir !== undefined) words.push('--cache-dir', shellWord(cacheDir))
  return words.join(' ')
}

/**
 * For the end of a message about a folder that lacks something: the command that fetches it, where the
 * folder is a snapshot of the Hub. '' for other folders.
 */
export async function completionAdvice(
  folder: string,
  kind: 'model' | 'tokenizer' = 'model',
): Promise<string> {
  const [snapshots, repository] = [dirname(folder), dirname(dirname(folder))]
  const name = basename(repository)
    .replace(/^models--/, '')
    .replace('--', '/')
  const isSnapshot =
    basename(snapshots) === 'snapshots' &&
    basename(repository).startsWith('models--') &&
    isHubName(name)
  if (!isSnapshot) return ''
  const cache = dirname(repository)
  const commit = basename(folder)
  const main = await readReference(join(repository, 'refs', 'main')).catch(() => undefined)
  const command = pullCommand(name, {
    kind,
    revision: main === commit ? undefined : commit,
    cacheDir: cache === hubCacheFolder() ? undefined : cache,
  })
  return `\n  It is a part of ${name} in the cache of the Hub; this command fetches what is missing:\n    ${command}`
}

// Where models and tokenizers are on this machine: a path, or a name in the Hugging Face cache. The
// cache is the one that Python and every other client share:
//
//   <cache>/models--<organisation>--<name>/refs/<revision>      holds a commit hash
//   <cache>/models--<organisation>--<name>/snapshots/<commit>/  the files of that commit
//
// Nothing is downloaded here. A downloader would fill a snapshot folder where findSnapshot finds none.

import { open, readdir, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheFolder, expandHome, pathVariable } from '../cache-folder.js'
import {
  CorruptFileError,
  ModelNotFoundError,
  TokenizerNotFoundError,
  UnsupportedOptionError,
} from '../errors.js'

/** Options of {@link resolveModelPath} and {@link resolveTokenizerPath}. */
export interface CacheOptions {
  /** The folder with the `models--*` folders. Defaults to {@link hubCacheFolder}'s. */
  cacheDir?: string | undefined
  /** Branch, tag or commit hash of a Hub name. Defaults to `'main'`. */
  revision?: string | undefined
}

/** What is looked for, so that messages and commands fit. */
interface Wanted {
  readonly operation: string
  readonly kind: 'model' | 'tokenizer'
  /** Files named in the download command: a model's weights are not wanted with its tokenizer. */
  readonly files: readonly string[]
  readonly NotFound: typeof ModelNotFoundError | typeof TokenizerNotFoundError
}

const wantedModel: Wanted = {
  operation: 'loadModel',
  kind: 'model',
  files: [],
  NotFound: ModelNotFoundError,
}

const wantedTokenizer: Wanted = {
  operation: 'loadModel',
  kind: 'tokenizer',
  files: ['tokenizer.json', 'tokenizer_config.json'],
  NotFound: TokenizerNotFoundError,
}

const commitPattern = /^[0-9a-f]{40}$/

/**
 * The folder of the shared Hugging Face cache: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub,
 * XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub, the first that is set. It may not exist.
 *
 * @example hubCacheFolder() // '/Users/ada/.cache/huggingface/hub'
 */
export function hubCacheFolder(): string {
  const direct = pathVariable('HF_HUB_CACHE') ?? pathVariable('HUGGINGFACE_HUB_CACHE')
  if (direct !== undefined) return resolve(direct)
  return resolve(pathVariable('HF_HOME') ?? join(cacheFolder(), 'huggingface'), 'hub')
}

/**
 * Whether `name` has the form `organisation/name` of the Hub. Such a name is safe inside a path.
 *
 * @example isHubName('state-spaces/mamba2-130m') // true
 */
export function isHubName(name: string): boolean {
  const parts = name.split('/')
  if (parts.length !== 2) return false
  return parts.every(
    (part) => /^[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?$/.test(part) && !/--|\.\./.test(part),
  )
}

/** Branches may have slashes; nothing may climb out of `refs`. */
function isRevision(revision: string): boolean {
  return (
    revision.length <= 255 &&
    revision.split('/').every((part) => /^[A-Za-z0-9_][\w.+-]*$/.test(part) && !part.includes('..'))
  )
}

type Kind = 'file' | 'folder' | 'missing'

async function kindOf(path: string): Promise<Kind> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file'
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    // A name too long or with a NUL cannot be a path, but may turn out to be something else.
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ERR_INVALID_ARG_VALUE'].includes(code ?? '')) {
      return 'missing'
    }
    throw error
  }
}

async function entriesOf(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort()
  } catch {
    return []
  }
}

/** The commit that `refs/<revision>` names; `undefined` if there is no such file. */
async function readReference(file: string): Promise<string | undefined> {
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

interface Found {
  readonly path?: string
  /** What was looked at, one line each, for the message. */
  readonly lookedAt: string[]
}

/** The snapshot folder of a Hub name, and what was looked at on the way. */
async function findSnapshot(name: string, cacheFolder: string, revision: string): Promise<Found> {
  const repository = join(cacheFolder, `models--${name.replace('/', '--')}`)
  if ((await kindOf(cacheFolder)) !== 'folder') {
    return { lookedAt: [`${repository} (there is no folder ${cacheFolder})`] }
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

function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

function downloadCommands(name: string, wanted: Wanted, options: CacheOptions): string {
  const words = ['download', name, ...wanted.files]
  if (options.revision !== undefined && options.revision !== 'main') {
    words.push('--revision', options.revision)
  }
  if (options.cacheDir !== undefined) words.push('--cache-dir', shellWord(options.cacheDir))
  const rest = words.join(' ')
  return `    hf ${rest}\n    huggingface-cli ${rest}`
}

/** How far a path exists: the part that is missing, and the folder it should be in. */
async function describeMissing(path: string): Promise<string> {
  let missing = path
  for (;;) {
    const parent = dirname(missing)
    const kind = parent === missing ? 'missing' : await kindOf(parent)
    if (kind === 'file') return `${parent} is a file, not a folder`
    if (kind === 'folder') {
      const entries = await entriesOf(parent)
      const shown = entries.slice(0, 8).join(', ') + (entries.length > 8 ? ', ...' : '')
      return `the folder ${parent} has no ${basename(missing)}; it has ${shown || 'nothing'}`
    }
    if (parent === missing) return 'no part of it exists'
    missing = parent
  }
}

/** Written as a path, whether or not it exists. */
function isWrittenAsPath(value: string): boolean {
  return (
    /^(?:\.|~|file:)/.test(value) ||
    value.startsWith(sep) ||
    value.includes('\\') ||
    value.endsWith('/') ||
    /\.(?:safetensors|bin|json|gguf|pt|pth|npz)$/.test(value)
  )
}

async function resolvePath(value: string, wanted: Wanted, options: CacheOptions): Promise<string> {
  const { operation, kind, NotFound } = wanted
  if (typeof value !== 'string' || value === '') {
    throw new TypeError(
      `[${operation}] ${kind} must be a path or a Hub name but is ${value || "''"}`,
    )
  }
  const revision = options.revision ?? 'main'
  if (!isRevision(revision)) {
    throw new RangeError(
      `[${operation}] revision must be a branch, tag or commit hash but is ` +
        JSON.stringify(revision),
    )
  }

  const path = resolve(value.startsWith('file:') ? fileURLToPath(value) : expandHome(value))
  if ((await kindOf(path)) !== 'missing') {
    if (options.revision === undefined) return path
    throw new UnsupportedOptionError(
      `[${operation}] revision is for Hub names, but ${JSON.stringify(value)} is a path here (${path}): leave it out`,
    )
  }

  if (isWrittenAsPath(value) || value.split('/').length > 2) {
    throw new NotFound(
      `[${operation}] no such file or folder: ${path}\n  ${await describeMissing(path)}`,
    )
  }
  if (!isHubName(value)) {
    throw new NotFound(
      `[${operation}] ${kind} must be an existing path, or a Hub name of the form ` +
        `organisation/name, but is ${JSON.stringify(value)} (looked at ${path})`,
    )
  }

  const cacheFolder =
    options.cacheDir === undefined ? hubCacheFolder() : resolve(expandHome(options.cacheDir))
  const { path: snapshot, lookedAt } = await findSnapshot(value, cacheFolder, revision)
  if (snapshot !== undefined) return snapshot

  const parent = dirname(path)
  const places = [
    (await kindOf(parent)) === 'folder'
      ? `${path} (${await describeMissing(path)})`
      : `${path} (no such file or folder)`,
    ...lookedAt,
  ]
  throw new NotFound(
    `[${operation}] the ${kind} ${value} (revision ${revision}) is not on this machine. ` +
      `Looked at:\n${places.map((place) => `    ${place}`).join('\n')}\n` +
      '  Downloading is not built in yet; this command fetches it:\n' +
      downloadCommands(value, wanted, options),
  )
}

/**
 * The file or folder that a model's name stands for: an existing path (relative, absolute, with `~`,
 * or a file: URL), or else the snapshot of a Hub name in the Hugging Face cache.
 *
 * @throws ModelNotFoundError naming the places looked at and the command that would fetch the model.
 * @throws CorruptFileError if the cache names a commit that is not one.
 * @throws RangeError if `revision` cannot be one.
 * @throws UnsupportedOptionError for a `revision` of what is a path.
 * @example const folder = await resolveModelPath('cartesia-ai/Rene-v0.1-1.3b')
 */
export function resolveModelPath(pathOrId: string, options: CacheOptions = {}): Promise<string> {
  return resolvePath(pathOrId, wantedModel, options)
}

/**
 * The tokenizer.json that a tokenizer's name stands for: that file, the folder it is in, or a Hub name
 * as in {@link resolveModelPath}.
 *
 * @throws TokenizerNotFoundError naming the places looked at and the command that would fetch it.
 * @throws CorruptFileError if the cache names a commit that is not one.
 * @throws RangeError if `revision` cannot be one.
 * @example const file = await resolveTokenizerPath('EleutherAI/gpt-neox-20b')
 */
export async function resolveTokenizerPath(
  nameOrPath: string,
  options: CacheOptions = {},
): Promise<string> {
  const path = await resolvePath(nameOrPath, wantedTokenizer, options)
  if ((await kindOf(path)) === 'file') return path
  const file = join(path, 'tokenizer.json')
  if ((await kindOf(file)) === 'file') return file
  // A snapshot may hold a part of its repository only; a local folder cannot be fetched.
  const isSnapshot = basename(dirname(path)) === 'snapshots' && isHubName(nameOrPath)
  const fetch = isSnapshot
    ? `\n  This command fetches it:\n${downloadCommands(nameOrPath, wantedTokenizer, options)}`
    : ''
  throw new TokenizerNotFoundError(`[resolveTokenizerPath] ${await describeMissing(file)}${fetch}`)
}

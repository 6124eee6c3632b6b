// Where models and tokenizers are on this machine: a path, or a name in the cache of the Hub.

import { basename, dirname, join, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expandHome } from '../machine/cache-folder.js'
import {
  ModelNotFoundError,
  TokenizerNotFoundError,
  UnsupportedOptionError,
} from '../support/errors.js'
import { onDisk } from '../support/location.js'
import { type HubName, isHubAddress, isRevision, parseHubName } from './names.js'
import {
  cachedNames,
  completionAdvice,
  danglingLink,
  entriesOf,
  findSnapshot,
  hubCacheFolder,
  kindOf,
  pullCommand,
} from './snapshots.js'

/** Options of {@link resolveModelPath} and {@link resolveTokenizerPath}. */
export interface CacheOptions {
  /** The folder with the `models--*` folders. Defaults to the shared cache of the Hub. */
  cacheDir?: string | undefined
  /** Branch, tag or commit hash of a Hub name. Defaults to the name's own, or `'main'`. */
  revision?: string | undefined
}

/** What is looked for, so that messages and commands fit. */
interface Wanted {
  readonly operation: string
  readonly kind: 'model' | 'tokenizer'
  readonly NotFound: typeof ModelNotFoundError | typeof TokenizerNotFoundError
}

const WANTED = {
  model: { operation: 'loadModel', kind: 'model', NotFound: ModelNotFoundError },
  tokenizer: { operation: 'loadModel', kind: 'tokenizer', NotFound: TokenizerNotFoundError },
} as const satisfies Record<string, Wanted>

/** What a name stands for: a path that exists, or a name on the Hub. */
export type Place = { readonly path: string } | HubPlace

export interface HubPlace {
  readonly name: string
  readonly revision: string
  /** A file of the repository, where an address names one. */
  readonly file: string | undefined
  /** The cache; undefined where there is none. */
  readonly cache: string | undefined
  /** Paths that were looked at before, one line each, for messages. */
  readonly tried: readonly string[]
}

/** How far a path exists: the part that is missing, and the folder it should be in. */
async function describeMissing(path: string): Promise<string> {
  const target = await danglingLink(path)
  if (target !== undefined) return `${path} is a link to ${target}, which is not there`
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

/**
 * What a model's or tokenizer's name stands for, without looking into the cache.
 *
 * @throws as {@link resolveModelPath}, but for what the cache lacks.
 */
export async function locate(
  value: string,
  wantedKind: Wanted['kind'],
  options: CacheOptions,
): Promise<Place> {
  const wanted: Wanted = WANTED[wantedKind]
  const { operation, kind, NotFound } = wanted
  if (typeof value !== 'string' || value === '') {
    throw new TypeError(
      `[${operation}] ${kind} must be a path or a Hub name but is ${value || "''"}`,
    )
  }
  const { revision } = options
  if (revision !== undefined && !isRevision(revision)) {
    throw new RangeError(
      `[${operation}] revision must be a branch, tag or commit hash but is ` +
        JSON.stringify(revision),
    )
  }
  if (isHubAddress(value)) {
    const hubName = parseHubName(value)
    if (typeof hubName !== 'string') return placeOf(hubName, wanted, options, [])
    throw new NotFound(
      `[${operation}] ${kind} ${JSON.stringify(value)} is not on this machine: ${hubName}`,
    )
  }

  const given = value.startsWith('file:') ? fileURLToPath(value) : expandHome(value)
  const path = onDisk(resolve(given))
  if ((await kindOf(path)) !== 'missing') {
    if (revision === undefined) return { path }
    throw new UnsupportedOptionError(
      `[${operation}] revision: ${path} is a path, which has no revisions; ` +
        `write hf:organisation/name for the ${kind} of the Hub`,
    )
  }
  const hubName = parseHubName(value)
  if (isWrittenAsPath(value) || (typeof hubName === 'string' && value.split('/').length > 2)) {
    throw new NotFound(
      `[${operation}] no such file or folder: ${path}\n  ${await describeMissing(path)}`,
    )
  }
  if (typeof hubName === 'string') throw await unknownName(value, path, wanted, options)
  const parent = dirname(path)
  const tried =
    (await kindOf(parent)) === 'folder'
      ? `${path} (${await describeMissing(path)})`
      : `${path} (no such file or folder)`
  return placeOf(hubName, wanted, options, [tried])
}

function cacheOf({ cacheDir }: CacheOptions): string | undefined {
  return cacheDir === undefined ? hubCacheFolder() : resolve(expandHome(cacheDir))
}

function placeOf(
  { name, revision: ofName, file }: HubName,
  { operation, kind }: Wanted,
  options: CacheOptions,
  tried: readonly string[],
): HubPlace {
  const { revision: ofOptions } = options
  if (ofName !== undefined && ofOptions !== undefined && ofName !== ofOptions) {
    throw new UnsupportedOptionError(
      `[${operation}] revision is ${ofOptions} but the name of the ${kind} says ${ofName}: give one of them`,
    )
  }
  return { name, file, revision: ofName ?? ofOptions ?? 'main', cache: cacheOf(options), tried }
}

/**
 * The snapshot of a name in the cache, or the file in it that an address names; what is not there is an error that
 * names the places looked at and the command that fetches it. `why`: why it is not fetched now.
 */
export async function requireInCache(
  place: HubPlace,
  wantedKind: Wanted['kind'],
  { cacheDir, why }: { cacheDir?: string | undefined; why?: string | undefined } = {},
): Promise<string> {
  const { operation, kind, NotFound } = WANTED[wantedKind]
  const { name, revision, file, tried } = place
  const { path: snapshot, lookedAt } = await findSnapshot(name, place.cache, revision)
  if (snapshot === undefined) {
    const places = [...tried, ...lookedAt].map((line) => `    ${line}\n`).join('')
    throw new NotFound(
      `[${operation}] the ${kind} ${name} (revision ${revision}) is not on this machine. ` +
        `Looked at:\n${places}  ${why === undefined ? '' : `${why} `}This command fetches it:\n` +
        `    ${pullCommand(name, { kind, revision, cacheDir })}`,
    )
  }
  const path = file === undefined ? snapshot : join(snapshot, file)
  if ((await kindOf(path)) !== 'missing') return path
  throw new NotFound(
    `[${operation}] ${await describeMissing(path)}${await completionAdvice(snapshot, kind)}`,
  )
}

async function resolvePath(
  value: string,
  kind: Wanted['kind'],
  options: CacheOptions,
): Promise<string> {
  const place = await locate(value, kind, options)
  return 'path' in place ? place.path : requireInCache(place, kind, options)
}

/** For a word that is neither a path nor of the form of a Hub name. */
async function unknownName(
  value: string,
  path: string,
  { operation, kind, NotFound }: Wanted,
  options: CacheOptions,
): Promise<Error> {
  const cache = cacheOf(options)
  const word = value.toLowerCase()
  const similar = (await cachedNames(cache)).filter((name) => name.toLowerCase().includes(word))
  const found =
    similar.length > 0
      ? `has ${similar.slice(0, 5).join(', ')}: write the whole name`
      : 'has no model with that in its name'
  return new NotFound(
    `[${operation}] ${kind} must be an existing path, or a Hub name of the form ` +
      `organisation/name, but is ${JSON.stringify(value)}. Looked at:\n` +
      `    ${path} (${await describeMissing(path)})\n` +
      `    ${cache ?? 'the cache of the Hub'} (${cache === undefined ? 'there is none: set HF_HOME or HOME' : found})`,
  )
}

/**
 * The file or folder that a model's name stands for: an existing path (relative, absolute, with `~`,
 * or a file: URL), or else the snapshot in the cache of the Hub of a name: `organisation/name`,
 * `organisation/name@revision`, `hf:organisation/name`, or its address on huggingface.co.
 *
 * @throws ModelNotFoundError naming the places looked at and the command that would fetch the model.
 * @throws CorruptFileError if the cache names a commit that is not one.
 * @throws RangeError if `revision` cannot be one.
 * @throws UnsupportedOptionError if `revision` is given and the name is a path, or says another.
 * @example const folder = await resolveModelPath('cartesia-ai/Rene-v0.1-1.3b')
 */
export function resolveModelPath(pathOrId: string, options: CacheOptions = {}): Promise<string> {
  return resolvePath(pathOrId, 'model', options)
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
  return tokenizerFileIn(await resolvePath(nameOrPath, 'tokenizer', options))
}

/** The tokenizer.json that `path` is, or that the folder has. */
export async function tokenizerFileIn(path: string): Promise<string> {
  if ((await kindOf(path)) === 'file') return path
  const file = join(path, 'tokenizer.json')
  if ((await kindOf(file)) === 'file') return file
  throw new TokenizerNotFoundError(
    `[resolveTokenizerPath] ${await describeMissing(file)}` +
      (await completionAdvice(path, 'tokenizer')),
  )
}

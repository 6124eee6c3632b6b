// From the name of a model to its files: those on this machine, and those that the Hub has to send.

import { join } from 'node:path'
import { locate, requireInCache, tokenizerFileIn } from './hub/cache.js'
import type { HubPlace } from './hub/cache.js'
import { type ChooseFiles, type FetchOptions, fetchSnapshot } from './hub/fetch.js'
import { modelFiles, tokenizerFiles } from './hub/needed-files.js'
import { isOffline } from './hub/settings.js'
import { findSnapshot, kindOf } from './hub/snapshots.js'
import { type Checkpoint, checkFamily, openCheckpoint } from './models/checkpoint.js'
import { CorruptFileError, DownloadError, ModelNotFoundError } from './support/errors.js'
import { messageOf } from './support/realms.js'
import { shardsNamedIn } from './weights/shards.js'

/** Options of {@link openModel} and {@link pullModel}. */
export interface ModelFilesOptions extends Omit<FetchOptions, 'cache'> {
  readonly revision?: string | undefined
  readonly cacheDir?: string | undefined
  /** Whether what is missing is fetched; without HF_HUB_OFFLINE. Defaults to true. */
  readonly download?: boolean | undefined
}

export interface OpenedModel {
  readonly checkpoint: Checkpoint
  /**
   * The tokenizer.json of a name, fetched where it is missing: of a caller's own, or, for a model of the Hub, of
   * its authors'.
   */
  readonly tokenizerFile: (name: string) => Promise<string>
  /** Whether the model was named as one of the Hub. */
  readonly isOfHub: boolean
}

const OFF = {
  environment: 'HF_HUB_OFFLINE forbids to fetch it.',
  option: 'The option download: false (--no-download) forbids to fetch it.',
}

function whyNot({ download = true }: ModelFilesOptions): string | undefined {
  if (!download) return OFF.option
  return isOffline() ? OFF.environment : undefined
}

/**
 * Opens the checkpoint that a name stands for. Of a model of the Hub that is not on this machine, or only in part, what
 * is missing is fetched first; one that is there is used without a request.
 *
 * @throws what `openCheckpoint`, `resolveModelPath` and `fetchSnapshot` throw.
 */
export async function openModel(
  pathOrId: string,
  options: ModelFilesOptions,
): Promise<OpenedModel> {
  const place = await locate(pathOrId, 'model', options)
  const tokenizerFile = (name: string) => openTokenizer(name, options)
  if ('path' in place) {
    return { checkpoint: await openCheckpoint(place.path), tokenizerFile, isOfHub: false }
  }
  return { checkpoint: await openOfHub(place, options), tokenizerFile, isOfHub: true }
}

async function openOfHub(place: HubPlace, options: ModelFilesOptions): Promise<Checkpoint> {
  const why = whyNot(options)
  const { cacheDir } = options
  if (why !== undefined) {
    return openCheckpoint(await requireInCache(place, 'model', { cacheDir, why }))
  }
  const { path } = await findSnapshot(place.name, place.cache, place.revision)
  const file = place.file ?? ''
  if (path === undefined) return openCheckpoint(join(await fetchModel(place, options), file))
  try {
    return await openCheckpoint(join(path, file))
  } catch (error) {
    const isPart = error instanceof ModelNotFoundError || error instanceof CorruptFileError
    if (!isPart) throw error
    const snapshot = await fetchModel(place, options).catch((failure: unknown) => {
      if (!(failure instanceof DownloadError)) throw failure
      const message = `${messageOf(error)}\n  To fetch what is missing failed: ${failure.message}`
      throw new DownloadError(message, { reason: failure.reason, cause: error })
    })
    return openCheckpoint(join(snapshot, file))
  }
}

/** Asks the Hub for the model, whether it is there or not; resolves to the folder of its snapshot. */
async function fetchModel(place: HubPlace, options: ModelFilesOptions): Promise<string> {
  const { name, revision, file, tried } = place
  const choose: ChooseFiles = async (names, read) => {
    if (names.includes('config.json')) {
      // Before gigabytes arrive that would be of no use.
      await checkFamily(await read('config.json'), `${name}/config.json`)
    }
    const shardsOf = async (index: string) => shardsNamedIn(await read(index))
    return modelFiles(name, names, { file, shardsOf })
  }
  try {
    return await fetchSnapshot({ kind: 'model', name, revision }, choose, {
      ...options,
      cache: await cacheOf(place, 'model', options),
    })
  } catch (error) {
    // Who meant a path wants to know that it is none.
    if (error instanceof ModelNotFoundError && tried.length > 0) {
      error.message = `[loadModel] ${error.message}\n  No such path either: ${tried.join(', ')}`
    }
    throw error
  }
}

/** The cache to write to; the error that says so where there is none. */
async function cacheOf(
  place: HubPlace,
  kind: 'model' | 'tokenizer',
  options: ModelFilesOptions,
): Promise<string> {
  if (place.cache !== undefined) return place.cache
  return requireInCache(place, kind, options)
}

async function openTokenizer(name: string, options: ModelFilesOptions): Promise<string> {
  // The revision is that of the model.
  const place = await locate(name, 'tokenizer', { cacheDir: options.cacheDir })
  if ('path' in place) return tokenizerFileIn(place.path)
  const why = whyNot(options)
  const { path } = await findSnapshot(place.name, place.cache, place.revision)
  const isThere =
    path !== undefined && (await kindOf(join(path, place.file ?? 'tokenizer.json'))) === 'file'
  if (isThere || why !== undefined) {
    const { cacheDir } = options
    return tokenizerFileIn(await requireInCache(place, 'tokenizer', { cacheDir, why }))
  }
  return tokenizerFileIn(join(await fetchTokenizer(place, options), place.file ?? ''))
}

async function fetchTokenizer(place: HubPlace, options: ModelFilesOptions): Promise<string> {
  const { name, revision } = place
  return fetchSnapshot(
    { kind: 'tokenizer', name, revision },
    async (names) => tokenizerFiles(name, names),
    { ...options, cache: await cacheOf(place, 'tokenizer', options) },
  )
}

/** What {@link pullModel} brought. */
export interface Pulled {
  /** The folder of the snapshot. */
  readonly path: string
  /** That of the tokenizer, where it is in a repository of its own. */
  readonly tokenizerPath: string | undefined
}

/**
 * Brings a model of the Hub, as it is there now, and the tokenizer that its authors use; or a tokenizer alone.
 *
 * @example await pullModel('state-spaces/mamba2-130m', { onProgress })
 */
export async function pullModel(
  name: string,
  options: Omit<ModelFilesOptions, 'download'>,
  kind: 'model' | 'tokenizer' = 'model',
): Promise<Pulled> {
  const why = whyNot({})
  if (why !== undefined)
    throw new DownloadError(
      `HF_HUB_OFFLINE is set, which forbids every request to the Hub: unset it to fetch ${name}`,
      { reason: 'unreachable' },
    )
  const place = await locate(name, kind, options)
  if ('path' in place) {
    throw new ModelNotFoundError(
      `${place.path} is a path, of which nothing is to be fetched; write hf:organisation/name for the ${kind} of the Hub`,
    )
  }
  if (kind === 'tokenizer') {
    return { path: await fetchTokenizer(place, options), tokenizerPath: undefined }
  }
  const path = await fetchModel(place, options)
  const { config } = await openCheckpoint(join(path, place.file ?? ''))
  const ofAuthors = config.tokenizerName
  const hasOwn = (await kindOf(join(path, 'tokenizer.json'))) === 'file'
  if (hasOwn || ofAuthors === undefined) return { path, tokenizerPath: undefined }
  const tokenizer = await locate(`hf:${ofAuthors}`, 'tokenizer', { cacheDir: options.cacheDir })
  if ('path' in tokenizer) return { path, tokenizerPath: undefined }
  try {
    return { path, tokenizerPath: await fetchTokenizer(tokenizer, options) }
  } catch (error) {
    if (!(error instanceof DownloadError)) throw error
    const message = `the model is there, in ${path}, but not its tokenizer: ${error.message}`
    throw new DownloadError(message, { reason: error.reason, cause: error })
  }
}

// What a repository of the Hub has, by its two endpoints: the list of files, and the files.

import { CorruptFileError, DownloadError } from '../support/errors.js'
import { isHubName } from './names.js'
import { ofAnswer, ofConnection, persist, type Wish } from './failures.js'
import { type Answer, send, textOf, type Way } from './request.js'

export interface RemoteFile {
  /** Its path in the repository, which stays inside a folder. */
  readonly name: string
  readonly size: number
  /** What the cache calls it: the sha256 of a large file, the Git hash of another. */
  readonly etag: string
}

/** A file as the list has it, which may lack what the file itself then says. */
interface ListedFile {
  readonly name: string
  readonly size: number | undefined
  readonly etag: string | undefined
}

export interface Repository {
  /** What it is called now. */
  readonly name: string
  readonly commit: string
  readonly files: ReadonlyMap<string, ListedFile>
}

// A list of 100,000 files has about 20 MB.
const MOST_LIST_BYTES = 64 * 2 ** 20
const LIST_ATTEMPTS = 3

/** Whether a path of a repository stays inside the folder that it is put into. */
export function isSafeFile(name: string): boolean {
  return (
    name.length <= 1024 &&
    !/[\\\0]/.test(name) &&
    name.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
  )
}

const encoded = (path: string) => path.split('/').map(encodeURIComponent).join('/')

/** The files of a revision, with their sizes and hashes. */
export async function listRepository(way: Way, wish: Wish): Promise<Repository> {
  const { name, revision } = wish
  const path = `/api/models/${encoded(name)}/revision/${encodeURIComponent(revision)}?blobs=true`
  const text = await persist(
    async () => {
      const answer = await answered(way, 'GET', path)
      if (answer.status !== 200) {
        answer.end()
        throw ofAnswer(answer, way, wish)
      }
      try {
        return await textOf(answer, MOST_LIST_BYTES)
      } catch (error) {
        throw ofConnection(error, way)
      }
    },
    { attempts: LIST_ATTEMPTS, signal: way.signal },
  )
  return parsed(text, way.endpoint + path, name)
}

/** As `send`; a connection that fails is told as one. */
async function answered(
  way: Way,
  ...request: Parameters<typeof send> extends [Way, ...infer R] ? R : never
): Promise<Answer> {
  try {
    return await send(way, ...request)
  } catch (error) {
    throw ofConnection(error, way)
  }
}

function parsed(text: string, source: string, name: string): Repository {
  const wrong = (what: string): never => {
    throw new CorruptFileError(
      `${source}: ${what}: this is not the Hub, or HF_ENDPOINT names another server`,
    )
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return wrong('answers with no JSON')
  }
  const { id, sha, siblings } = (json ?? {}) as Record<string, unknown>
  if (typeof sha !== 'string' || !/^[0-9a-f]{40}$/.test(sha)) return wrong('names no commit')
  if (!Array.isArray(siblings)) return wrong('has no list of files')
  const files = new Map<string, ListedFile>()
  for (const sibling of siblings) {
    const { rfilename, size, blobId, lfs } = (sibling ?? {}) as Record<string, unknown>
    if (typeof rfilename !== 'string') return wrong('has a file without a name')
    if (!isSafeFile(rfilename)) {
      throw new CorruptFileError(
        `${source}: the file name ${JSON.stringify(rfilename.slice(0, 200))} would leave the folder of the model: nothing is fetched`,
      )
    }
    const etag = (lfs as { sha256?: unknown } | undefined)?.sha256 ?? blobId
    files.set(rfilename, {
      name: rfilename,
      size: isSize(size) ? size : undefined,
      etag: typeof etag === 'string' && isEtag(etag) ? etag : undefined,
    })
  }
  return { name: typeof id === 'string' && isHubName(id) ? id : name, commit: sha, files }
}

const isSize = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0

/** Whether a name of a blob is one: a hash, or of other servers a word. */
const isEtag = (etag: string) => /^[\w-]{1,128}$/.test(etag)

const pathOf = (wish: Wish, commit: string, file: string) =>
  `/${encoded(wish.name)}/resolve/${commit}/${encoded(file)}`

/** Size and hash of a file: as they were listed, or as its head says. */
export async function remoteFile(
  way: Way,
  wish: Wish,
  { commit, files }: Repository,
  name: string,
): Promise<RemoteFile> {
  const { size, etag } = files.get(name)!
  if (size !== undefined && etag !== undefined) return { name, size, etag }
  const path = pathOf(wish, commit, name)
  return persist(
    async () => {
      const answer = await answered(way, 'HEAD', path, {}, { followsTo: 'hub' })
      answer.end()
      const { status, headers } = answer
      if (status >= 400) throw ofAnswer(answer, way, wish, name)
      const given = String(headers['x-linked-etag'] ?? headers.etag ?? '')
      const ofHead = given.replace(/^W\//, '').replace(/^"|"$/g, '')
      const length = Number(headers['x-linked-size'] ?? headers['content-length'])
      if (isEtag(ofHead) && isSize(length)) return { name, size: length, etag: ofHead }
      throw new DownloadError(
        `${way.endpoint}${path}: the answer has no ETag or no size, so what arrives could not be checked. Is HF_ENDPOINT a mirror of the Hub?`,
        { reason: 'refused' },
      )
    },
    { attempts: LIST_ATTEMPTS, signal: way.signal },
  )
}

/** The bytes of a file from `offset` on, or all of them where the server knows no ranges: `start` says which. */
export async function openFile(
  way: Way,
  wish: Wish,
  commit: string,
  { name, size }: RemoteFile,
  offset: number,
): Promise<{ answer: Answer; start: number }> {
  const range: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {}
  const answer = await answered(way, 'GET', pathOf(wish, commit, name), range)
  const { status, headers } = answer
  if (status === 200) return { answer, start: 0 }
  if (status === 206) {
    const [, start, total] =
      /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers['content-range'] ?? '') ?? []
    if (Number(start) === offset && (total === '*' || Number(total) === size)) {
      return { answer, start: offset }
    }
  }
  answer.end()
  if (status < 400) {
    throw new DownloadError(
      `${answer.url.host}: answers with status ${status} and the range ${headers['content-range'] ?? 'of nothing'} when asked for ${name} from byte ${offset} of ${size} on`,
      { reason: 'refused' },
    )
  }
  throw ofAnswer(answer, way, wish, name)
}

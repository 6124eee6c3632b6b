// A server that speaks the two endpoints of the Hub, and a second one, on another port, that has the large files, as
// the Hub's own do: behind signed addresses that expire. What goes wrong is up to a test.

import { createHash } from 'node:crypto'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { onTestFinished } from 'vitest'

export const COMMIT = '0123456789abcdef0123456789abcdef01234567'

export interface HubRepository {
  commit?: string
  files: Record<string, Buffer | string>
  /** Files that the Hub itself sends; by default those below this many bytes. */
  largeFrom?: number
  gated?: boolean
  renamedTo?: string
  /** Only the token `hf_secret` may read it. */
  isPrivate?: boolean
  /** The list has no sizes and hashes. */
  isBare?: boolean
  /** As a repository of any age has them. */
  branches?: readonly string[]
}

/** A request that was answered. */
export interface Seen {
  host: 'hub' | 'files'
  method: string
  path: string
  authorization: string | undefined
  /** Where the range begins; 0 for none. */
  offset: number
  /** Bytes of the body that were handed to the system. */
  sent: number
}

/** Takes a request over; `true` when it has answered it. `seen` is what is noted of it. */
export type Interceptor = (
  request: IncomingMessage,
  response: ServerResponse,
  seen: Seen,
) => boolean

export interface HubServer {
  readonly endpoint: string
  readonly filesOrigin: string
  readonly repositories: Map<string, HubRepository>
  readonly seen: Seen[]
  /** Tried in order; one that answers is not removed. */
  readonly interceptors: Interceptor[]
  /** Bytes a second of each file; undefined for as fast as it goes. */
  rate: number | undefined
  /** Requests for files so far. */
  filesSeen(name?: string): Seen[]
  /** The environment of a process that uses it. */
  env(cache: string): Record<string, string>
}

export const sha256 = (bytes: Buffer | string): string =>
  createHash('sha256').update(bytes).digest('hex')

export const gitHash = (bytes: Buffer): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')

function isLarge({ largeFrom = 1000 }: HubRepository, bytes: Buffer): boolean {
  return bytes.length >= largeFrom
}

/** What the cache calls a file. */
export function etagOf(repository: HubRepository, name: string): string {
  const bytes = Buffer.from(repository.files[name]!)
  return isLarge(repository, bytes) ? sha256(bytes) : gitHash(bytes)
}

/** Starts both servers; they end with the test. The Hub speaks https where it has a certificate. */
export async function startHub(
  repositories: Record<string, HubRepository>,
  certificate?: { key: Buffer; cert: Buffer },
): Promise<HubServer> {
  const signatures = new Set<string>()
  const server: { -readonly [Key in keyof HubServer]: HubServer[Key] } = {
    endpoint: '',
    filesOrigin: '',
    repositories: new Map(Object.entries(repositories)),
    seen: [],
    interceptors: [],
    rate: undefined,
    filesSeen: (name = '') =>
      server.seen.filter(
        ({ host, path, method }) =>
          method === 'GET' &&
          path.includes(name) &&
          (host === 'files' || path.startsWith('/resolve-cache')),
      ),
    env: (cache) => ({
      HF_HUB_OFFLINE: '',
      HF_ENDPOINT: server.endpoint,
      HF_HUB_CACHE: cache,
      HF_TOKEN: '',
      HF_TOKEN_PATH: '/nowhere/token',
      ...Object.fromEntries(PROXIES.map((name) => [name, ''])),
    }),
  }
  const noted = (host: Seen['host'], request: IncomingMessage): Seen => {
    const [, offset = '0'] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? []
    const { authorization } = request.headers
    const { method = '', url: path = '' } = request
    const seen: Seen = { host, method, path, authorization, offset: Number(offset), sent: 0 }
    server.seen.push(seen)
    return seen
  }
  const hub = async (request: IncomingMessage, response: ServerResponse) => {
    const seen = noted('hub', request)
    if (server.interceptors.some((intercept) => intercept(request, response, seen))) return
    await answerAsHub(server, signatures, request, response, seen)
  }
  const files = async (request: IncomingMessage, response: ServerResponse) => {
    const seen = noted('files', request)
    if (server.interceptors.some((intercept) => intercept(request, response, seen))) return
    const [, hash, signature] = /^\/([0-9a-f]{64})\/[^?]*\?signature=(\w+)$/.exec(seen.path) ?? []
    if (!signatures.has(signature ?? '')) return refuse(response, 403)
    for (const repository of server.repositories.values()) {
      for (const file of Object.values(repository.files)) {
        const bytes = Buffer.from(file)
        if (sha256(bytes) === hash) return sendBytes(server, response, bytes, seen)
      }
    }
    refuse(response, 404)
  }
  server.endpoint = await listen(hub, certificate)
  server.filesOrigin = await listen(files)
  return server
}

const PROXIES = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY'].flatMap((name) => [
  name,
  name.toLowerCase(),
])

async function listen(
  handle: (request: IncomingMessage, response: ServerResponse) => Promise<unknown>,
  certificate?: { key: Buffer; cert: Buffer },
): Promise<string> {
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    response.on('error', () => {})
    handle(request, response).catch((error) => response.destroy(error))
  }
  const server = certificate ? https.createServer(certificate, answer) : http.createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return `${certificate ? 'https' : 'http'}://127.0.0.1:${port}`
}

export function refuse(
  response: ServerResponse,
  status: number,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, headers).end()
}

async function answerAsHub(
  server: HubServer,
  signatures: Set<string>,
  request: IncomingMessage,
  response: ServerResponse,
  seen: Seen,
): Promise<void> {
  const path = decodeURIComponent(request.url!.replace(/\?.*/, ''))
  const api = /^\/api\/models\/([^/]+\/[^/]+)\/revision\/(.+)$/.exec(path)
  const file = /^\/(?:resolve-cache\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path)
  const [, name = '', revision = '', fileName] = api ?? file ?? []
  const repository = server.repositories.get(name)
  const isAllowed = seen.authorization === 'Bearer hf_secret'
  if (repository?.renamedTo) {
    // Relative, as the Hub has it.
    return refuse(response, 307, { location: request.url!.replace(name, repository.renamedTo) })
  }
  if (seen.authorization !== undefined && !isAllowed) {
    const headers = { 'x-error-message': 'Invalid credentials in Authorization header' }
    return refuse(response, 401, headers)
  }
  if (!repository || (repository.isPrivate && !isAllowed)) {
    return refuse(response, 401, { 'x-error-code': 'RepoNotFound' })
  }
  const { commit = COMMIT, branches = ['main'] } = repository
  if (revision !== commit && !branches.includes(revision)) {
    return refuse(response, 404, { 'x-error-code': 'RevisionNotFound' })
  }
  if (fileName === undefined) {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(listOf(name, repository, commit)))
    return
  }
  if (repository.gated && !isAllowed) {
    const message = `Access to model ${name} is restricted.`
    return refuse(response, 403, { 'x-error-code': 'GatedRepo', 'x-error-message': message })
  }
  const content = repository.files[fileName]
  if (content === undefined) return refuse(response, 404, { 'x-error-code': 'EntryNotFound' })
  const bytes = Buffer.from(content)
  response.setHeader('x-repo-commit', commit)
  response.setHeader('x-linked-etag', `"${etagOf(repository, fileName)}"`)
  response.setHeader('x-linked-size', bytes.length)
  if (isLarge(repository, bytes)) {
    const signature = `s${signatures.size}`
    signatures.add(signature)
    const location = `${server.filesOrigin}/${sha256(bytes)}/${fileName}?signature=${signature}`
    return refuse(response, 302, { location })
  }
  if (!path.startsWith('/resolve-cache')) {
    return refuse(response, 307, { location: `/resolve-cache${request.url}` })
  }
  await sendBytes(server, response, bytes, seen)
}

function listOf(name: string, repository: HubRepository, sha: string) {
  const siblings = Object.entries(repository.files).map(([rfilename, content]) => {
    if (repository.isBare) return { rfilename }
    const bytes = Buffer.from(content)
    const large = isLarge(repository, bytes) && {
      lfs: { sha256: sha256(bytes), size: bytes.length, pointerSize: 134 },
    }
    return { rfilename, size: bytes.length, blobId: gitHash(bytes), ...large }
  })
  return { id: name, sha, siblings }
}

const PIECE = 16 * 1024

/** Sends the bytes from the offset on, at the rate of the server. */
export async function sendBytes(
  server: Pick<HubServer, 'rate'>,
  response: ServerResponse,
  bytes: Buffer,
  seen: Seen,
): Promise<void> {
  const { offset } = seen
  const rest = bytes.subarray(offset)
  response.writeHead(offset > 0 ? 206 : 200, {
    'content-length': rest.length,
    ...(offset > 0 && { 'content-range': `bytes ${offset}-${bytes.length - 1}/${bytes.length}` }),
  })
  if (seen.method === 'HEAD') {
    response.end()
    return
  }
  if (server.rate === undefined) {
    seen.sent = rest.length
    response.end(rest)
    return
  }
  for (let at = 0; at < rest.length && !response.destroyed; at += PIECE) {
    const piece = rest.subarray(at, at + PIECE)
    response.write(piece)
    seen.sent += piece.length
    await sleep((1000 * piece.length) / server.rate)
  }
  response.end()
}

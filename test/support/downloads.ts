// A Hub with one repository, and a cache to download it to.

import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, vi } from 'vitest'
import { type ChooseFiles, type FetchOptions, fetchSnapshot } from '../../lib/hub/fetch.js'
import { BLOCK_BYTES } from '../../lib/hub/partial-file.js'
import { temporaryFolder } from './checkpoints.js'
import { ROOT } from './child-process.js'
import {
  COMMIT,
  etagOf,
  type HubServer,
  type Interceptor,
  type Seen,
  sha256,
  startHub,
} from './hub-server.js'

export const CHILD = join(ROOT, 'test/support/pull-child.ts')
export const NAME = 'org/name'
export const SMALL = Buffer.from('{"small": true}')
/** Two blocks and a half. */
export const LARGE = randomBytes(2.5 * BLOCK_BYTES)
export const REPOSITORY = 'models--org--name'

/** Of the test that runs. */
export let cache: string
export let hub: HubServer

/** Gives each test of a file a Hub and an empty cache. */
export function useDownloads(): void {
  beforeEach(async () => {
    cache = join(await temporaryFolder(), 'hub')
    const files = { 'config.json': SMALL, 'model.safetensors': LARGE }
    hub = await startHub({ [NAME]: { files } })
    for (const [name, value] of Object.entries(hub.env(cache))) vi.stubEnv(name, value)
  })
  afterEach(() => vi.unstubAllEnvs())
}

const all: ChooseFiles = async (names) => names

export function pull(
  options: Partial<FetchOptions> = {},
  { name = NAME, revision = 'main', choose = all } = {},
): Promise<string> {
  return fetchSnapshot({ kind: 'model', name, revision }, choose, { cache, ...options })
}

export const inRepository = (...parts: string[]) => join(cache, REPOSITORY, ...parts)
export const partial = () => inRepository('blobs', `${sha256(LARGE)}.incomplete`)
export const pause = (milliseconds: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, milliseconds))
export const sizeOf = async (path: string) => (existsSync(path) ? (await stat(path)).size : 0)

/** Everything is there, right, and nothing else is. */
export async function expectComplete(files = hub.repositories.get(NAME)!.files): Promise<void> {
  for (const [name, bytes] of Object.entries(files)) {
    const path = inRepository('snapshots', COMMIT, name)
    expect(sha256(await readFile(path)), name).toBe(sha256(bytes))
  }
  const blobs = Object.keys(files).map((name) => etagOf(hub.repositories.get(NAME)!, name))
  expect(await readdir(inRepository('blobs'))).toEqual(blobs.sort())
  expect(await readFile(inRepository('refs', 'main'), 'utf8')).toBe(COMMIT)
  expect(await readdir(join(cache, '.locks', REPOSITORY))).toEqual([])
}

/** Answers the requests for the large file in the given ways, one after the other; then as usual. */
export function onLarge(...ways: ((response: ServerResponse, seen: Seen) => void)[]): void {
  const intercept: Interceptor = (_, response, seen) => {
    if (seen.host !== 'files' || seen.method !== 'GET') return false
    const way = ways.shift()
    way?.(response, seen)
    return way !== undefined
  }
  hub.interceptors.push(intercept)
}

/** Sends a part of the rest and cuts the connection. */
export const dropAfter = (bytes: number) => (response: ServerResponse, seen: Seen) => {
  const rest = LARGE.subarray(seen.offset)
  const range = `bytes ${seen.offset}-${LARGE.length - 1}/${LARGE.length}`
  response.writeHead(seen.offset > 0 ? 206 : 200, {
    'content-length': rest.length,
    ...(seen.offset > 0 && { 'content-range': range }),
  })
  response.write(rest.subarray(0, bytes))
  // Cut only when the other side has read it all: what is on the way then is lost.
  const cut = setInterval(async () => {
    if ((await sizeOf(partial())) < seen.offset + bytes) return
    clearInterval(cut)
    response.destroy()
  }, 10)
}

// Downloads from a local server that speaks the endpoints of the Hub (test/support/hub-server.ts): what arrives, what
// is fetched again after all that can go wrong, and what the errors say.

import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import {
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type ChooseFiles, type FetchOptions, fetchSnapshot } from '../../lib/hub/fetch.js'
import { BLOCK_BYTES } from '../../lib/hub/partial-file.js'
import type { DownloadProgress } from '../../lib/hub/transfer-rate.js'
import {
  CorruptFileError,
  DownloadError,
  ModelNotFoundError,
  UnsupportedOptionError,
} from '../../lib/support/errors.js'
import { temporaryFolder } from '../support/checkpoints.js'
import { ROOT, runChild, startChild } from '../support/child-process.js'
import {
  COMMIT,
  etagOf,
  gitHash,
  type HubServer,
  type Interceptor,
  refuse,
  type Seen,
  sha256,
  startHub,
} from '../support/hub-server.js'

const CHILD = join(ROOT, 'test/support/pull-child.ts')
const NAME = 'org/name'
const SMALL = Buffer.from('{"small": true}')
// Two blocks and a half.
const LARGE = randomBytes(2.5 * BLOCK_BYTES)
const REPOSITORY = join('models--org--name')

let cache: string
let hub: HubServer

beforeEach(async () => {
  cache = join(await temporaryFolder(), 'hub')
  hub = await startHub({ [NAME]: { files: { 'config.json': SMALL, 'model.safetensors': LARGE } } })
  useHub(hub)
})
afterEach(() => vi.unstubAllEnvs())

function useHub(server: HubServer): void {
  for (const [name, value] of Object.entries(server.env(cache))) vi.stubEnv(name, value)
}

const all: ChooseFiles = async (names) => names

function pull(
  options: Partial<FetchOptions> = {},
  { name = NAME, revision = 'main', choose = all } = {},
): Promise<string> {
  return fetchSnapshot({ kind: 'model', name, revision }, choose, { cache, ...options })
}

const inRepository = (...parts: string[]) => join(cache, REPOSITORY, ...parts)
const partial = () => inRepository('blobs', `${sha256(LARGE)}.incomplete`)
const pause = (milliseconds: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, milliseconds))
const sizeOf = async (path: string) => (existsSync(path) ? (await stat(path)).size : 0)

/** Everything is there, right, and nothing else is. */
async function expectComplete(files = hub.repositories.get(NAME)!.files): Promise<void> {
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
function onLarge(...ways: ((response: ServerResponse, seen: Seen) => void)[]): void {
  const intercept: Interceptor = (_, response, seen) => {
    if (seen.host !== 'files' || seen.method !== 'GET') return false
    const way = ways.shift()
    way?.(response, seen)
    return way !== undefined
  }
  hub.interceptors.push(intercept)
}

/** Sends a part of the rest and cuts the connection. */
const dropAfter = (bytes: number) => (response: ServerResponse, seen: Seen) => {
  const rest = LARGE.subarray(seen.offset)
  const range = `bytes ${seen.offset}-${LARGE.length - 1}/${LARGE.length}`
  response.writeHead(seen.offset > 0 ? 206 : 200, {
    'content-length': rest.length,
    ...(seen.offset > 0 && { 'content-range': range }),
  })
  response.write(rest.subarray(0, bytes), () => setTimeout(() => response.destroy(), 30))
}

describe('the cache', () => {
  it('gets the layout that all clients of the Hub share', async () => {
    const repository = hub.repositories.get(NAME)!
    repository.files['additional_chat_templates/tools.jinja'] = 'x'
    const snapshot = await pull()
    expect(snapshot).toBe(inRepository('snapshots', COMMIT))
    expect(await readlink(join(snapshot, 'config.json'))).toBe(`../../blobs/${gitHash(SMALL)}`)
    expect(await readlink(join(snapshot, 'model.safetensors'))).toBe(`../../blobs/${sha256(LARGE)}`)
    expect(await readlink(join(snapshot, 'additional_chat_templates/tools.jinja'))).toBe(
      `../../../blobs/${gitHash(Buffer.from('x'))}`,
    )
    await expectComplete()
  })

  it('is used: what is there is not fetched, and dangling links are mended', async () => {
    await pull()
    hub.seen.length = 0
    await pull()
    expect(hub.seen.map(({ path }) => path)).toEqual([
      `/api/models/${NAME}/revision/main?blobs=true`,
    ])
    await rm(inRepository('blobs', gitHash(SMALL)))
    await pull()
    expect(hub.filesSeen().map(({ path }) => path)).toEqual([
      `/resolve-cache/${NAME}/resolve/${COMMIT}/config.json`,
    ])
    await expectComplete()
  })

  it('keeps a reference for each revision, and shares blobs among commits', async () => {
    const repository = hub.repositories.get(NAME)!
    repository.branches = ['main', 'refs/pr/1']
    await pull()
    await pull({}, { revision: 'refs/pr/1' })
    expect(await readFile(inRepository('refs', 'refs/pr/1'), 'utf8')).toBe(COMMIT)
    repository.commit = COMMIT.replace('0', 'f')
    repository.files['config.json'] = '{}'
    hub.seen.length = 0
    expect(await pull()).toBe(inRepository('snapshots', repository.commit))
    expect(await readFile(inRepository('refs', 'main'), 'utf8')).toBe(repository.commit)
    expect(hub.filesSeen().length).toBe(1)
    expect(await pull({}, { revision: repository.commit })).toContain(repository.commit)
    expect(existsSync(inRepository('refs', repository.commit))).toBe(false)
  })

  it('shows files of a snapshot only once all are there', async () => {
    onLarge(...Array(9).fill((response: ServerResponse) => refuse(response, 403)))
    const signal = AbortSignal.timeout(300)
    await expect(pull({ signal })).rejects.toThrow(/timeout/)
    expect(existsSync(inRepository('blobs', gitHash(SMALL)))).toBe(true)
    expect(existsSync(inRepository('snapshots'))).toBe(false)
    expect(existsSync(inRepository('refs'))).toBe(false)
  })

  it('takes the sizes and hashes of the files themselves where the list has none', async () => {
    hub.repositories.get(NAME)!.isBare = true
    await pull()
    expect(hub.seen.filter(({ method }) => method === 'HEAD').length).toBe(3)
    expect(hub.seen.some(({ host, method }) => host === 'files' && method === 'HEAD')).toBe(false)
    await expectComplete()
  })

  it('is never left by way of a name of a file or a hash', async () => {
    const repository = hub.repositories.get(NAME)!
    for (const name of ['../x', '/etc/x', 'a/../../x', 'a\\..\\x', 'a//x', './x', 'x\0']) {
      repository.files = { 'config.json': SMALL, [name]: 'x' }
      await expect(pull()).rejects.toThrow(/would leave the folder of the model/)
    }
    expect(existsSync(cache)).toBe(false)
    for (const list of [
      { sha: '../..', siblings: [] },
      { sha: COMMIT, siblings: 'x' },
      { sha: COMMIT, siblings: [{ rfilename: 7 }] },
      [],
    ]) {
      hub.interceptors[0] = (_, response) => !!response.end(JSON.stringify(list))
      await expect(pull()).rejects.toThrow(CorruptFileError)
    }
    hub.interceptors[0] = (request, response) => {
      if (!request.url!.startsWith('/api')) return false
      const files = [{ rfilename: 'config.json', size: 15, blobId: '../../../x' }]
      response.end(JSON.stringify({ sha: COMMIT, siblings: files }))
      return true
    }
    repository.files = { 'config.json': SMALL }
    await pull() // by the hash of the file itself
    await expectComplete()
  })
})

describe('the token', () => {
  it('goes to the Hub, and not to the host of the files', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_secret')
    hub.repositories.get(NAME)!.isPrivate = true
    await pull()
    const tokens = (host: Seen['host']) =>
      new Set(hub.seen.filter((seen) => seen.host === host).map((seen) => seen.authorization))
    expect(tokens('hub')).toEqual(new Set(['Bearer hf_secret']))
    expect(tokens('files')).toEqual(new Set([undefined]))
  })

  it('is read from the file that the login of other clients writes', async () => {
    const home = await temporaryFolder()
    await writeFile(join(home, 'token'), 'hf_secret\n')
    vi.stubEnv('HF_TOKEN_PATH', '')
    vi.stubEnv('HF_HOME', home)
    hub.repositories.get(NAME)!.isPrivate = true
    await pull()
    vi.stubEnv('HF_HUB_DISABLE_IMPLICIT_TOKEN', '1')
    await rm(cache, { recursive: true })
    await expect(pull()).rejects.toThrow(ModelNotFoundError)
  })

  it('is refused, unseen, where it cannot be one', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_se\ncret')
    const refused = pull()
    await expect(refused).rejects.toThrow(UnsupportedOptionError)
    await expect(refused).rejects.not.toThrow(/cret/)
    expect(hub.seen).toEqual([])
  })
})

describe('a transfer', () => {
  it('goes on where a connection broke off, with a new address each time', async () => {
    onLarge(dropAfter(700_000), dropAfter(900_000), (response) => refuse(response, 403))
    await pull()
    const seen = hub.filesSeen('model.safetensors')
    expect(seen.map(({ offset }) => offset)).toEqual([0, 700_000, 1_600_000, 1_600_000])
    expect(new Set(seen.map(({ path }) => path)).size).toBe(4)
    await expectComplete()
  })

  it('gives up a connection that says nothing more', async () => {
    vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '0.2')
    onLarge((response) => {
      response.writeHead(200, { 'content-length': LARGE.length })
      response.write(LARGE.subarray(0, 500_000))
    })
    await pull()
    expect(hub.filesSeen('model.safetensors').map(({ offset }) => offset)).toEqual([0, 500_000])
    await expectComplete()
  })

  it('skips what it has where a server knows no ranges', async () => {
    onLarge(dropAfter(700_000), (response) => response.end(LARGE))
    await pull()
    await expectComplete()
  })

  it('fetches a file once more whose bytes are wrong, and says so the second time', async () => {
    const wrong = Buffer.from(LARGE)
    wrong[BLOCK_BYTES] = wrong[BLOCK_BYTES]! ^ 1
    const send = (response: ServerResponse) => response.end(wrong)
    onLarge(send)
    await pull()
    await expectComplete()

    await rm(cache, { recursive: true })
    onLarge(send, send)
    const failed = pull()
    await expect(failed).rejects.toThrow(/model.safetensors arrives damaged/)
    await expect(failed).rejects.toMatchObject({ code: 'ERR_DOWNLOAD', reason: 'damaged' })
    expect(await readdir(inRepository('blobs'))).toEqual([gitHash(SMALL)])
    await pull()
    await expectComplete()
  })

  it('refuses more bytes than there are', async () => {
    onLarge((response) => response.end(Buffer.concat([LARGE, SMALL])))
    await expect(pull()).rejects.toThrow(/arrives damaged/)
  })

  it('waits as long as it is asked to', async () => {
    onLarge((response) => refuse(response, 429, { 'retry-after': '1' }))
    const start = performance.now()
    await pull()
    expect(performance.now() - start).toBeGreaterThan(950)
    await expectComplete()
  })

  it('ends with a signal, and goes on from there', async () => {
    hub.rate = 4e6
    const controller = new AbortController()
    const reason = new Error('enough')
    const onProgress = ({ loaded }: DownloadProgress) => {
      if (loaded > 1.2 * BLOCK_BYTES) controller.abort(reason)
    }
    await expect(pull({ signal: controller.signal, onProgress })).rejects.toBe(reason)
    const there = await sizeOf(partial())
    expect(there).toBeGreaterThan(BLOCK_BYTES)
    expect(await readdir(join(cache, '.locks', REPOSITORY))).toEqual([])
    hub.rate = undefined
    hub.seen.length = 0
    await pull()
    const [again] = hub.filesSeen('model.safetensors')
    expect(there - again!.offset).toBeLessThan(BLOCK_BYTES)
    await expectComplete()
    await expect(pull({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  it('finds a block that was damaged on the disk, and fetches from there on', async () => {
    onLarge(dropAfter(2.2 * BLOCK_BYTES), ...Array(6).fill((r: ServerResponse) => r.destroy()))
    const signal = AbortSignal.timeout(400)
    await expect(pull({ signal })).rejects.toThrow()
    hub.interceptors.length = 0
    const file = await open(partial(), 'r+')
    await file.write(Buffer.from([LARGE[BLOCK_BYTES + 5]! ^ 1]), 0, 1, BLOCK_BYTES + 5)
    await file.close()
    hub.seen.length = 0
    await pull()
    expect(hub.filesSeen('model.safetensors').map(({ offset }) => offset)).toEqual([BLOCK_BYTES])
    await expectComplete()
  })

  it('goes on with what another client left, right or wrong', async () => {
    await mkdir(inRepository('blobs'), { recursive: true })
    for (const [content, offsets] of [
      [LARGE.subarray(0, 1_500_000), [1_500_000]],
      [randomBytes(1_500_000), [1_500_000, 0]],
      [Buffer.concat([LARGE, SMALL]), [0]],
      [LARGE, []],
    ] as const) {
      await writeFile(partial(), content)
      const old = new Date(Date.now() - 60_000)
      const file = await open(partial(), 'r+')
      await file.utimes(old, old)
      await file.close()
      hub.seen.length = 0
      await pull()
      expect(hub.filesSeen('model.safetensors').map(({ offset }) => offset)).toEqual(offsets)
      await expectComplete()
      await rm(inRepository('snapshots'), { recursive: true })
      await rm(inRepository('blobs', sha256(LARGE)))
    }
  })

  it('leaves a file to another client that writes it', async () => {
    await mkdir(inRepository('blobs'), { recursive: true })
    let size = 1_000_000
    await writeFile(partial(), LARGE.subarray(0, size))
    const writer = setInterval(async () => {
      if (size >= LARGE.length) return
      await writeFile(partial(), LARGE.subarray(size, size + 1_000_000), { flag: 'a' })
      size += 1_000_000
    }, 600)
    await pull().finally(() => clearInterval(writer))
    expect(hub.filesSeen('model.safetensors')).toEqual([])
    await expectComplete()
  })

  it('stops where another program writes into its file', async () => {
    hub.rate = 6e6
    let isWritten = false
    const onProgress = ({ loaded }: DownloadProgress) => {
      if (loaded < 100_000 || isWritten) return
      isWritten = true
      writeFile(partial(), Buffer.alloc(BLOCK_BYTES), { flag: 'a' })
    }
    await expect(pull({ onProgress })).rejects.toThrow(/another program writes this file as well/)
    hub.rate = undefined
    await pull()
    await expectComplete()
  })

  it('takes over from a process that is gone, and only then', async () => {
    const lock = join(cache, '.locks', REPOSITORY, `${sha256(LARGE)}.ssm-metal.lock`)
    await mkdir(join(cache, '.locks', REPOSITORY), { recursive: true })
    // On another machine, and silent for long.
    await writeFile(lock, JSON.stringify({ host: 'elsewhere', pid: 1, id: 'x' }))
    const file = await open(lock, 'r+')
    const signal = AbortSignal.timeout(500)
    await expect(pull({ signal })).rejects.toThrow()
    const old = new Date(Date.now() - 100_000)
    await file.utimes(old, old)
    await file.close()
    await pull()
    await expectComplete()
  })

  it('reports bytes, rate and time left', async () => {
    hub.rate = 5e6
    const reports: DownloadProgress[] = []
    await pull({ onProgress: (progress) => void reports.push(progress) })
    const total = LARGE.length + SMALL.length
    expect(reports.length).toBeGreaterThan(3)
    expect(reports.every((report) => report.total === total)).toBe(true)
    expect(reports.at(-1)!.loaded).toBe(total)
    const loaded = reports.map((report) => report.loaded)
    expect(loaded).toEqual(loaded.toSorted((a, b) => a - b))
    const { bytesPerSecond, secondsLeft, loaded: then } = reports.at(-2)!
    expect(bytesPerSecond).toBeGreaterThan(1e5)
    expect(secondsLeft).toBeCloseTo((total - then) / bytesPerSecond!, 6)
  })

  it('runs four at a time, and ends all with the first failure', async () => {
    const repository = hub.repositories.get(NAME)!
    delete repository.files['model.safetensors']
    for (let i = 0; i < 8; i++) repository.files[`${i}.bin`] = randomBytes(200_000 + i)
    let now = 0
    let most = 0
    hub.rate = 1e6
    hub.interceptors.push((_, response, { host }) => {
      if (host !== 'files') return false
      most = Math.max(most, ++now)
      response.on('close', () => now--)
      return false
    })
    await pull()
    expect(most).toBe(4)
    await expectComplete()

    await rm(cache, { recursive: true })
    hub.interceptors[0] = (request, response) => {
      if (!request.url!.endsWith(`/resolve/${COMMIT}/0.bin`)) return false
      refuse(response, 404, { 'x-error-code': 'EntryNotFound' })
      return true
    }
    const start = performance.now()
    await expect(pull()).rejects.toThrow(/has no file 0.bin in revision main/)
    expect(performance.now() - start).toBeLessThan(1000)
  })
})

describe('another process', () => {
  it('that was killed at 20 points is gone on from, no block fetched twice', async () => {
    const env = hub.env(cache)
    const points: number[] = []
    for (let kills = 0; kills < 20; kills++) {
      hub.rate = 2e7
      hub.seen.length = 0
      const child = startChild(CHILD, [NAME, cache], { env })
      // Anywhere in the file, and in what follows its last byte.
      const point = Math.random() * (LARGE.length + BLOCK_BYTES / 4)
      const sent = () => hub.filesSeen('model.safetensors')[0]?.sent ?? 0
      while (sent() < Math.min(point, LARGE.length)) await pause(1)
      if (point > LARGE.length) await pause(Math.random() * 20)
      child.process.kill('SIGKILL')
      await child.result
      const there = await sizeOf(partial())
      points.push(there)
      hub.rate = undefined
      hub.seen.length = 0
      await pull()
      const again = hub.filesSeen('model.safetensors')
      expect(again.length).toBeLessThanOrEqual(1)
      for (const { offset } of again) expect(there - offset).toBeLessThan(BLOCK_BYTES)
      await expectComplete()
      await rm(cache, { recursive: true })
    }
    // So that this shows something.
    expect(new Set(points).size).toBeGreaterThan(10)
    expect(Math.max(...points)).toBeGreaterThan(BLOCK_BYTES)
  })

  it('that fetches the same is waited for: nothing is fetched twice', async () => {
    hub.rate = 4e6
    const env = hub.env(cache)
    const results = await Promise.all([
      runChild(CHILD, [NAME, cache], { env }),
      runChild(CHILD, [NAME, cache], { env }),
      pull(),
    ])
    for (const result of results.slice(0, 2)) {
      expect(result).toMatchObject({ code: 0, stderr: '' })
    }
    expect(hub.filesSeen('model.safetensors').length).toBe(1)
    await expectComplete()
  })

  it.skipIf(process.platform === 'win32')(
    'that runs out of room says so, and another goes on',
    async () => {
      // A limit on the size of files, of the system: in blocks of 1,024 bytes in bash.
      const script = `ulimit -f 1500; exec "$@"`
      const { spawn } = await import('node:child_process')
      const { programWords } = await import('../support/compiled.js')
      const words = ['-c', script, 'bash', process.execPath, ...programWords(CHILD), NAME, cache]
      const child = spawn('bash', words, { env: { ...process.env, ...hub.env(cache) } })
      let stderr = ''
      child.stderr.on('data', (text) => {
        stderr += text
      })
      const [code] = await new Promise<[number]>((resolve) =>
        child.on('close', (code) => resolve([code!])),
      )
      expect(code).toBe(1)
      expect(stderr).toMatch(
        /^DownloadError: no room for model.safetensors: EFBIG.*Make room, or name another cache/,
      )
      const there = await sizeOf(partial())
      expect(there).toBe(1500 * 1024)
      hub.seen.length = 0
      await pull()
      expect(hub.filesSeen('model.safetensors').map(({ offset }) => offset)).toEqual([BLOCK_BYTES])
      await expectComplete()
    },
  )
})

describe('errors say what to do', () => {
  const failing = async (promise: Promise<unknown>) =>
    promise.then(
      () => expect.fail('nothing failed'),
      (error: Error) => error,
    )

  it('a repository that is not there, or is private', async () => {
    const error = await failing(pull({}, { name: 'org/other' }))
    expect(error).toBeInstanceOf(ModelNotFoundError)
    expect(error.message).toMatch(
      /the Hub at 127.0.0.1:\d+ has no model org\/other: check how it is written; if it is private, put a token .* into HF_TOKEN/,
    )
  })

  it('a gated one', async () => {
    hub.repositories.get(NAME)!.gated = true
    const error = await failing(pull())
    expect(error).toMatchObject({ name: 'DownloadError', reason: 'no-access' })
    expect(error.message).toContain(`Open ${hub.endpoint}/org/name, accept them, then put a token`)
    expect(error.message).toContain('It says: Access to model org/name is restricted.')
    vi.stubEnv('HF_TOKEN', 'hf_secret')
    await pull()
  })

  it('a token that is no longer one', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_old')
    expect((await failing(pull())).message).toMatch(
      /does not accept the token in use .* Make a new one at .*settings\/tokens/,
    )
  })

  it('a revision that is not there', async () => {
    expect((await failing(pull({}, { revision: 'v7' }))).message).toMatch(
      /has no branch, tag or commit v7 on the Hub: .*org\/name\/tree\/main lists them/,
    )
  })

  it('one that was renamed, which is fetched', async () => {
    hub.repositories.set('old/name', { files: {}, renamedTo: NAME })
    const notices: string[] = []
    const snapshot = await pull(
      { onNotice: ({ code, message }) => void notices.push(`${code} ${message}`) },
      { name: 'old/name' },
    )
    expect(snapshot).toContain('models--old--name')
    expect(sha256(await readFile(join(snapshot, 'model.safetensors')))).toBe(sha256(LARGE))
    expect(notices).toEqual([
      expect.stringMatching(/^DOWNLOAD downloading the model old\/name .* 2 files/),
      expect.stringMatching(/^MODEL_RENAMED old\/name is called org\/name on the Hub now/),
    ])
  })

  it('too many requests', async () => {
    hub.interceptors.push((_, response) => {
      refuse(response, 429, { ratelimit: '"api";r=0;t=300' })
      return true
    })
    const error = await failing(pull())
    expect(error).toMatchObject({ reason: 'rate-limited' })
    expect(error.message).toMatch(/Try again in 300 s; with a token in HF_TOKEN the limits/)
    expect(hub.seen.length).toBe(1)
  })

  it('a Hub that cannot be reached, or is none', async () => {
    vi.stubEnv('HF_ENDPOINT', 'http://127.0.0.1:9')
    const error = await failing(pull())
    expect(error).toMatchObject({ reason: 'unreachable' })
    expect(error.message).toMatch(
      /cannot reach the Hub at 127.0.0.1:9: .*ECONNREFUSED.*HTTPS_PROXY/,
    )
    vi.stubEnv('HF_ENDPOINT', 'ftp://x')
    expect((await failing(pull())).message).toMatch(/HF_ENDPOINT must be an address such as/)
    vi.stubEnv('HF_ENDPOINT', hub.endpoint)
    hub.interceptors.push((_, response) => !!response.end('<html>'))
    expect((await failing(pull())).message).toMatch(/answers with no JSON: this is not the Hub/)
  })

  it('a disk that has too little room, before anything arrives', async () => {
    const list = {
      sha: COMMIT,
      siblings: [{ rfilename: 'x', size: 2 ** 52, lfs: { sha256: sha256('x') } }],
    }
    hub.interceptors.push((_, response) => !!response.end(JSON.stringify(list)))
    const error = await failing(pull())
    expect(error).toMatchObject({ reason: 'no-space' })
    expect(error.message).toMatch(/4096 TiB are to arrive but .* has .* left. Make room/)
    expect(hub.seen.length).toBe(1)
  })

  it('a cache that cannot be written', async () => {
    await writeFile(cache, 'a file')
    expect((await failing(pull())).message).toMatch(
      /cannot be written: ENOTDIR.*HF_HUB_CACHE or cacheDir names another cache/,
    )
    await rm(cache)
    await symlink('/proc/nowhere', cache)
    expect(await failing(pull())).toBeInstanceOf(DownloadError)
  })
})

it('truncated checksums only cost the blocks that they were of', async () => {
  onLarge(dropAfter(2.2 * BLOCK_BYTES), ...Array(6).fill((r: ServerResponse) => r.destroy()))
  await expect(pull({ signal: AbortSignal.timeout(400) })).rejects.toThrow()
  hub.interceptors.length = 0
  await truncate(`${partial()}.crc32`, 5)
  hub.seen.length = 0
  await pull()
  expect(hub.filesSeen('model.safetensors').map(({ offset }) => offset)).toEqual([BLOCK_BYTES])
  await expectComplete()
})

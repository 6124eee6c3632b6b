// What a reader is told when a download fails.

import { readFile, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { DownloadError, ModelNotFoundError } from '../../lib/support/errors.js'
import { cache, hub, LARGE, NAME, pull, useDownloads } from '../support/downloads.js'
import { COMMIT, refuse, sha256 } from '../support/hub-server.js'

useDownloads()

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
    await rename(cache, `${cache}.file`)
    await symlink(`${cache}.file/x`, cache)
    expect(await failing(pull())).toBeInstanceOf(DownloadError)
  })
})

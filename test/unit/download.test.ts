// Downloads from a local server that speaks the endpoints of the Hub (test/support/hub-server.ts): the layout of the cache,
// and who gets the token.

import { existsSync } from 'node:fs'
import { readFile, readlink, rm, writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import {
  CorruptFileError,
  ModelNotFoundError,
  UnsupportedOptionError,
} from '../../lib/support/errors.js'
import { temporaryFolder } from '../support/checkpoints.js'
import {
  cache,
  expectComplete,
  hub,
  inRepository,
  LARGE,
  NAME,
  onLarge,
  pull,
  SMALL,
  useDownloads,
} from '../support/downloads.js'
import { COMMIT, gitHash, refuse, sha256, type Seen } from '../support/hub-server.js'

useDownloads()

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

  it('is not sent where others could read it on the way', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_secret')
    hub.interceptors.push((request, response) => {
      if (!request.url!.includes('/resolve/')) return false
      refuse(response, 302, { location: 'http://files.example/x' })
      return true
    })
    await expect(pull()).rejects.toThrow(
      /redirects to http:\/\/files.example, which is no https address/,
    )
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

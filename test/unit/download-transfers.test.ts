// Single transfers from the Hub: what is fetched again after all that can go wrong, and what is not.

import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { BLOCK_BYTES } from '../../lib/hub/partial-file.js'
import type { DownloadProgress } from '../../lib/hub/transfer-rate.js'
import {
  cache,
  dropAfter,
  expectComplete,
  hub,
  inRepository,
  LARGE,
  NAME,
  onLarge,
  partial,
  pull,
  REPOSITORY,
  sizeOf,
  SMALL,
  useDownloads,
} from '../support/downloads.js'
import { COMMIT, gitHash, refuse, sha256 } from '../support/hub-server.js'

useDownloads()

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
    }, 350)
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

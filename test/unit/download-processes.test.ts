// Downloads of several processes, of which some are killed or have too little room.

import { spawn } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { BLOCK_BYTES } from '../../lib/hub/partial-file.js'
import { runChild, startChild } from '../support/child-process.js'
import { programWords } from '../support/compiled.js'
import {
  cache,
  CHILD,
  expectComplete,
  hub,
  LARGE,
  NAME,
  partial,
  pause,
  pull,
  sizeOf,
  useDownloads,
} from '../support/downloads.js'

useDownloads()

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

  it('that is killed is taken over from by the one that waits', async () => {
    hub.rate = 4e6
    const first = startChild(CHILD, [NAME, cache], { env: hub.env(cache) })
    while ((await sizeOf(partial())) < 1.2 * BLOCK_BYTES) await pause(5)
    const second = pull()
    await pause(100)
    first.process.kill('SIGKILL')
    await second
    expect(hub.filesSeen('model.safetensors').map(({ offset }) => offset)).toEqual([0, BLOCK_BYTES])
    await expectComplete()
  })

  it.skipIf(process.platform === 'win32')(
    'that runs out of room says so, and another goes on',
    async () => {
      // A limit of the system on the size of files, in blocks of 1,024 bytes or, in some shells, 512.
      const script = `ulimit -f 1500; exec "$@"`
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
      expect(there).toBeGreaterThan(700_000)
      hub.seen.length = 0
      await pull()
      const sound = there - (there % BLOCK_BYTES)
      expect(hub.filesSeen('model.safetensors').map(({ offset }) => offset)).toEqual([sound])
      await expectComplete()
    },
  )
})

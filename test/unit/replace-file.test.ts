import { mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, expect, it } from 'vitest'
import { replaceFile } from '../../lib/weights/replace-file.js'

const folder = await mkdtemp(join(tmpdir(), 'replace-'))
const path = join(folder, 'a')
beforeEach(() => writeFile(path, 'old'))
afterAll(() => rm(folder, { recursive: true }))

it('replaces: who has the old file open keeps it', async () => {
  const reader = await open(path)
  try {
    await replaceFile(path, async (file) => {
      await file.writeFile('n')
      await file.writeFile('ew')
    })
    expect(await reader.readFile('utf8')).toBe('old')
  } finally {
    await reader.close()
  }
  expect(await readFile(path, 'utf8')).toBe('new')
  expect(await readdir(folder)).toEqual(['a'])
})

it('shows nothing before it is complete, and leaves nothing behind when it fails', async () => {
  const failing = replaceFile(path, async (file) => {
    await file.writeFile('half')
    expect(await readFile(path, 'utf8')).toBe('old')
    throw new Error('no more')
  })
  await expect(failing).rejects.toThrow('no more')
  expect(await readFile(path, 'utf8')).toBe('old')
  expect(await readdir(folder)).toEqual(['a'])
})

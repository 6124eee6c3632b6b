import {
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { createServer } from 'node:net'
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

it('follows a link, and leaves it', async () => {
  const elsewhere = await mkdtemp(join(tmpdir(), 'replace-'))
  const link = join(elsewhere, 'link')
  await symlink(path, link)
  await replaceFile(link, (file) => file.writeFile('new'))
  expect((await lstat(link)).isSymbolicLink()).toBe(true)
  expect(await readFile(path, 'utf8')).toBe('new')
  expect(await readdir(elsewhere)).toEqual(['link'])
  await rm(elsewhere, { recursive: true })
})

it('replaces nothing but a file', async () => {
  const elsewhere = await mkdtemp(join(tmpdir(), 'replace-'))
  const write = (name: string) =>
    replaceFile(join(elsewhere, name), (file) => file.writeFile('new'))
  await mkdir(join(elsewhere, 'folder'))
  await expect(write('folder')).rejects.toThrow(/folder: cannot be replaced: not a regular file$/)
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(join(elsewhere, 'socket'), resolve))
  await expect(write('socket')).rejects.toThrow(/socket: cannot be replaced: not a regular file$/)
  expect((await lstat(join(elsewhere, 'socket'))).isSocket()).toBe(true)
  expect((await readdir(elsewhere)).sort()).toEqual(['folder', 'socket'])
  server.close()
  await rm(elsewhere, { recursive: true })
})

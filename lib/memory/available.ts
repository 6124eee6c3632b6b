// How much memory this process can still have.

import { readFile } from 'node:fs/promises'
import { freemem } from 'node:os'
import { dirname, join } from 'node:path'
import { addon } from '../addon.js'

/**
 * Bytes that the system can give to this process without writing other programs' memory to disk: what is
 * free, and pages of files that can be read again. On Linux also what limits of its cgroup leave.
 * `root` is where files of the system lie.
 *
 * @example
 * if ((await availableMemory()) < 2 ** 30) console.error('memory is short')
 */
export async function availableMemory(root = '/'): Promise<number> {
  if (process.platform === 'darwin') return addon().availableMemory() || freemem()
  // os.freemem() counts pages of files as taken, but there is nothing better where /proc is missing.
  const system = (await meminfo(root)) ?? freemem()
  const limits = await Promise.all([
    cgroupLimits(root, 'sys/fs/cgroup', VERSION_2),
    cgroupLimits(root, 'sys/fs/cgroup/memory', VERSION_1),
  ])
  return Math.max(0, Math.min(system, ...limits.flat()))
}

/** Files of a cgroup's folder, and what memory.stat calls pages of files. */
interface CgroupFiles {
  controller: string
  limit: string
  usage: string
  fileCache: readonly string[]
}

const VERSION_2: CgroupFiles = {
  controller: '',
  limit: 'memory.max',
  usage: 'memory.current',
  fileCache: ['inactive_file', 'active_file'],
}
const VERSION_1: CgroupFiles = {
  controller: 'memory',
  limit: 'memory.limit_in_bytes',
  usage: 'memory.usage_in_bytes',
  fileCache: ['total_inactive_file', 'total_active_file'],
}

/** What each limit leaves, of this process's cgroup and of those around it. */
async function cgroupLimits(root: string, mount: string, files: CgroupFiles): Promise<number[]> {
  const own = await read(root, 'proc/self/cgroup')
  // Lines are "number:controllers:path"; version 2 has no controllers.
  const line = own
    ?.split('\n')
    .map((text) => text.split(':'))
    .find(([, controllers]) => controllers?.split(',').includes(files.controller))
  if (!line) return []
  const left: number[] = []
  // In a container the path may be that outside, of which only the last folder, the mount, is there.
  for (let path = join('/', line.slice(2).join(':')); ; path = dirname(path)) {
    const bytes = await leftIn(root, join(mount, path), files)
    if (bytes !== undefined) left.push(bytes)
    if (path === '/') return left
  }
}

async function leftIn(
  root: string,
  folder: string,
  { limit, usage, fileCache }: CgroupFiles,
): Promise<number | undefined> {
  const most = wholeNumber(await read(root, join(folder, limit))) // "max" is none
  const used = wholeNumber(await read(root, join(folder, usage)))
  if (most === undefined || used === undefined) return undefined
  const stat = (await read(root, join(folder, 'memory.stat'))) ?? ''
  const cache = fileCache.map((name) => wholeNumber(field(stat, name)) ?? 0)
  // The cgroup's own cache of files is given up before anybody is refused memory.
  return most - used + cache.reduce((sum, bytes) => sum + bytes, 0)
}

async function meminfo(root: string): Promise<number | undefined> {
  const text = (await read(root, 'proc/meminfo')) ?? ''
  const kibibytes = wholeNumber(field(text, 'MemAvailable:'))
  return kibibytes === undefined ? undefined : kibibytes * 1024
}

/** The word after a name at the beginning of a line. */
function field(text: string, name: string): string | undefined {
  for (const line of text.split('\n')) {
    const [first, value] = line.split(/\s+/)
    if (first === name) return value
  }
  return undefined
}

function wholeNumber(text: string | undefined): number | undefined {
  const digits = /^\s*(\d+)\s*$/.exec(text ?? '')?.[1]
  return digits === undefined ? undefined : Number(digits)
}

async function read(root: string, path: string): Promise<string | undefined> {
  return readFile(join(root, path), 'utf8').catch(() => undefined)
}

// How much memory this process can still have.

import { freemem } from 'node:os'
import { join } from 'node:path'
import { addon } from '../operations/addon.js'
import { type Cgroup, cgroupsOf, readText, wholeNumber } from '../machine/cgroup.js'

/**
 * Bytes that the system can give to this process without writing other programs' memory to disk: what is
 * free, and pages of files that can be read again. On Linux also what limits of its cgroup leave.
 * `root` is where files of the system lie.
 *
 * @example
 * if (availableMemory() < 2 ** 30) console.error('memory is short')
 */
export function availableMemory(root = '/'): number {
  if (process.platform === 'darwin') return addon().availableMemory() || freemem()
  // os.freemem() counts pages of files as taken, but there is nothing better where /proc is missing.
  const system = meminfo(root) ?? freemem()
  const limits = cgroupsOf('memory', root).flatMap((cgroup) => leftIn(cgroup) ?? [])
  return Math.max(0, Math.min(system, ...limits))
}

/** Files of a cgroup's folder, and what memory.stat calls pages of files. */
const FILES = {
  1: {
    limit: 'memory.limit_in_bytes',
    usage: 'memory.usage_in_bytes',
    fileCache: ['total_inactive_file', 'total_active_file'],
  },
  2: {
    limit: 'memory.max',
    usage: 'memory.current',
    fileCache: ['inactive_file', 'active_file'],
  },
} as const

/** What the limit of a cgroup leaves; undefined where it has none. */
function leftIn({ version, folder }: Cgroup): number | undefined {
  const { limit, usage, fileCache } = FILES[version]
  const most = wholeNumber(readText(join(folder, limit))) // "max" is none
  const used = wholeNumber(readText(join(folder, usage)))
  if (most === undefined || used === undefined) return undefined
  const stat = readText(join(folder, 'memory.stat')) ?? ''
  const cache = fileCache.map((name) => wholeNumber(field(stat, name)) ?? 0)
  // The cgroup's own cache of files is given up before anybody is refused memory.
  return most - used + cache.reduce((sum, bytes) => sum + bytes, 0)
}

function meminfo(root: string): number | undefined {
  const text = readText(join(root, 'proc/meminfo')) ?? ''
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

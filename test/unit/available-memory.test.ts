// What is left of the machine's memory and of the limits of cgroups, from files as systems write them.

import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { availableMemory } from '../../lib/memory/available.js'
import { ROOT } from '../support/child-process.js'
import { temporaryFolder } from '../support/checkpoints.js'

const GIBIBYTE = 2 ** 30

async function system(files: Record<string, string | number>): Promise<string> {
  const root = await temporaryFolder()
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), `${text}\n`)
  }
  return root
}

const MEMINFO =
  'MemTotal:       33554432 kB\nMemFree:         1048576 kB\nMemAvailable:   25165824 kB\nBuffers: 0 kB'
const available = async (files: Record<string, string | number>) =>
  (await availableMemory(await system({ 'proc/meminfo': MEMINFO, ...files }))) / GIBIBYTE

describe.skipIf(process.platform === 'darwin')('available memory', () => {
  it('is what /proc/meminfo says where no cgroup limits it', async () => {
    expect(await available({})).toBe(24)
    expect(await available({ 'proc/self/cgroup': '0::/' })).toBe(24)
  })

  const v2 = (folder: string, max: string | number, current: number, stat = '') => ({
    [`sys/fs/cgroup${folder}/memory.max`]: max,
    [`sys/fs/cgroup${folder}/memory.current`]: current,
    [`sys/fs/cgroup${folder}/memory.stat`]: stat,
  })

  it('is what the limit of the cgroup leaves, with its cache of files', async () => {
    const stat = `anon ${3 * GIBIBYTE}\ninactive_file ${GIBIBYTE}\nactive_file ${GIBIBYTE / 2}\nfile 7`
    const files = v2('/user/app', 8 * GIBIBYTE, 5 * GIBIBYTE, stat)
    expect(await available({ 'proc/self/cgroup': '0::/user/app', ...files })).toBe(4.5)
  })

  it.each([
    ['of the folder itself', '/a/b', 2],
    ['of a folder around it', '/a/b/c', 2],
    ['none, of a folder beside it', '/a/other', 24],
    ['none, of a folder inside it', '/a', 24],
  ])('counts limits %s', async (_, own, left) => {
    const files = { ...v2('/a/b', 3 * GIBIBYTE, GIBIBYTE), ...v2('/a', 'max', 2 * GIBIBYTE) }
    expect(await available({ 'proc/self/cgroup': `0::${own}`, ...files })).toBe(left)
  })

  it('counts the limit of a container whose path is that of the host', async () => {
    const files = v2('', 6 * GIBIBYTE, 2 * GIBIBYTE)
    expect(await available({ 'proc/self/cgroup': '0::/docker/0123abcd', ...files })).toBe(4)
  })

  it('is not below zero', async () => {
    const files = v2('', GIBIBYTE, 2 * GIBIBYTE)
    expect(await available({ 'proc/self/cgroup': '0::/', ...files })).toBe(0)
  })

  it('takes the smaller of the machine and the limit', async () => {
    const files = v2('', 100 * GIBIBYTE, GIBIBYTE)
    expect(await available({ 'proc/self/cgroup': '0::/', ...files })).toBe(24)
  })

  const v1 = (folder: string, limit: number | string, usage: number, stat = '') => ({
    [`sys/fs/cgroup/memory${folder}/memory.limit_in_bytes`]: limit,
    [`sys/fs/cgroup/memory${folder}/memory.usage_in_bytes`]: usage,
    [`sys/fs/cgroup/memory${folder}/memory.stat`]: stat,
  })
  const OWN_V1 = '12:cpu,cpuacct:/other\n5:memory:/docker/4711\n1:name=systemd:/x\n0::/y'

  it('knows version 1 too', async () => {
    const stat = `inactive_file 5\ntotal_inactive_file ${GIBIBYTE}\ntotal_active_file 0`
    const files = v1('/docker/4711', 4 * GIBIBYTE, 3 * GIBIBYTE, stat)
    expect(await available({ 'proc/self/cgroup': OWN_V1, ...files })).toBe(2)
  })

  it('knows the mount of version 1 in a container', async () => {
    const files = v1('', 4 * GIBIBYTE, GIBIBYTE)
    expect(await available({ 'proc/self/cgroup': OWN_V1, ...files })).toBe(3)
  })

  it('takes the number with which version 1 says "none" for none', async () => {
    const files = v1('/docker/4711', '9223372036854771712', 3 * GIBIBYTE)
    expect(await available({ 'proc/self/cgroup': OWN_V1, ...files })).toBe(24)
  })

  it.each([
    ['limit', { 'sys/fs/cgroup/memory.max': 'a lot', 'sys/fs/cgroup/memory.current': 1 }],
    ['usage', { 'sys/fs/cgroup/memory.max': 1, 'sys/fs/cgroup/memory.current': '' }],
    ['list of cgroups', { 'proc/self/cgroup': '\u0000' }],
  ])('does without a %s that is not what it should be', async (_, files) => {
    expect(await available({ 'proc/self/cgroup': '0::/', ...files })).toBe(24)
  })

  it('of this machine is a part of its memory', async () => {
    const bytes = await availableMemory()
    expect(bytes).toBeGreaterThan(0)
    expect(bytes).toBeLessThanOrEqual(totalmem())
  })
})

/** A new cgroup with a limit, inside this process's own; undefined where this machine gives none. */
function makeCgroup(limit: number): string | undefined {
  try {
    const own = /^\d+:memory:(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1]
    if (own === undefined) return undefined
    const folder = join('/sys/fs/cgroup/memory', own, `ssm-metal-${process.pid}`)
    mkdirSync(folder)
    writeFileSync(join(folder, 'memory.limit_in_bytes'), String(limit))
    return folder
  } catch {
    return undefined
  }
}

it('is what a real limit leaves', ({ skip }) => {
  const folder = makeCgroup(2 * GIBIBYTE)
  if (folder === undefined) return skip('only root may make a cgroup of version 1')
  onTestFinished(() => rmdirSync(folder))
  const script =
    "import('./lib/memory/available.ts').then(async (m) => console.log(await m.availableMemory()))"
  const enter = `echo $$ > ${folder}/cgroup.procs && exec "$0" --import tsx -e "$1"`
  const words = ['-c', enter, process.execPath, script]
  const available = Number(execFileSync('/bin/sh', words, { cwd: ROOT, encoding: 'utf8' }))
  expect(available).toBeGreaterThan(1.5 * GIBIBYTE)
  expect(available).toBeLessThan(2 * GIBIBYTE)
})

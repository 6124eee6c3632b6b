// How many threads a process may use: affinity and quotas of cgroups, from files as systems write them and for
// real where the tests may change them; and what is said where the system starts no more.

import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { createDevice, referenceDevice } from '../../lib/operations/create-device.js'
import { availableThreads } from '../../lib/machine/threads.js'
import { bundle } from '../support/bundle.js'
import { temporaryFolder } from '../support/checkpoints.js'
import { ROOT } from '../support/child-process.js'

const execute = promisify(execFile)

vi.mock('node:os', async (original) => {
  const os = await original<typeof import('node:os')>()
  return { ...os, availableParallelism: vi.fn(os.availableParallelism) }
})

/** As on a machine of so many CPUs. */
async function threads(cpus: number, files: Record<string, string>): Promise<number> {
  const root = await temporaryFolder()
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), `${text}\n`)
  }
  vi.mocked(availableParallelism).mockReturnValueOnce(cpus)
  return availableThreads(root)
}

const v2 = (own: string, limits: Record<string, string>) => ({
  'proc/self/cgroup': `0::${own}`,
  ...Object.fromEntries(
    Object.entries(limits).map(([folder, max]) => [`sys/fs/cgroup${folder}/cpu.max`, max]),
  ),
})
const v1 = (mount: string, folder: string, quota: number, period: number) => ({
  'proc/self/cgroup': '12:cpu,cpuacct:/docker/4711\n5:cpuset:/docker/4711\n0::/y',
  [`sys/fs/cgroup/${mount}${folder}/cpu.cfs_quota_us`]: String(quota),
  [`sys/fs/cgroup/${mount}${folder}/cpu.cfs_period_us`]: String(period),
})

describe.runIf(process.platform === 'linux')('threads on a machine of 64 CPUs', () => {
  it.each<[string, Record<string, string>, number]>([
    ['without cgroups', {}, 64],
    ['without a quota', v2('/', { '/': 'max 100000' }), 64],
    ['with a quota', v2('/app', { '/app': '400000 100000' }), 4],
    ['with a period of its own', v2('/app', { '/app': '60000 20000' }), 3],
    ['with a part of a CPU more', v2('/app', { '/app': '250000 100000' }), 2],
    ['with less than a CPU', v2('/app', { '/app': '50000 100000' }), 1],
    ['with a quota around it', v2('/a/b/c', { '/a': '300000 100000', '/a/b': 'max 100000' }), 3],
    [
      'with a smaller quota around it',
      v2('/a/b', { '/a': '200000 100000', '/a/b': '900000 100000' }),
      2,
    ],
    ['with a quota beside it', v2('/a/b', { '/a/c': '100000 100000' }), 64],
    [
      'in a container that sees the path of its host',
      v2('/docker/0123', { '/': '500000 100000' }),
      5,
    ],
    ['with a quota of more CPUs than there are', v2('/', { '/': '9900000 100000' }), 64],
    ['with version 1', v1('cpu', '/docker/4711', 300_000, 100_000), 3],
    [
      'with version 1, both names on the mount',
      v1('cpu,cpuacct', '/docker/4711', 700_000, 100_000),
      7,
    ],
    ['with version 1 in a container', v1('cpu', '', 150_000, 100_000), 1],
    ['with version 1 without a quota', v1('cpu', '/docker/4711', -1, 100_000), 64],
    ['with nonsense for a quota', v2('/', { '/': 'a lot' }), 64],
    ['with a period of nothing', v2('/', { '/': '100000 0' }), 64],
  ])('%s', async (_, files, expected) => {
    expect(await threads(64, files)).toBe(expected)
  })

  it('are not more than a device takes', async () => {
    expect(await threads(2000, {})).toBe(1024)
  })
})

it('a device has as many, unless told otherwise', () => {
  using device = createDevice('cpu')
  expect(device.threads).toBe(availableThreads())
  using reference = referenceDevice()
  expect(reference.threads).toBe(availableThreads())
  using told = createDevice('cpu', { threads: 3 })
  expect(told.threads).toBe(3)
})

/** Prints how many threads a device has by default, or why there is none. */
const program = (threads?: number) => `
  import { createDevice } from 'ssm-metal'
  try {
    using device = createDevice('cpu', { threads: ${threads} })
    console.log(device.threads)
  } catch ({ name, code, message }) {
    console.log(JSON.stringify({ name, code, message }))
  }`

/** Runs it with the words of a command before it. */
async function output(file: string, words: readonly string[]): Promise<string> {
  const env = { ...process.env, SSM_METAL_ADDON: join(ROOT, 'build/Release/ssm.node') }
  const [first, ...rest] = [...words, process.execPath, file]
  return (await execute(first!, rest, { env, cwd: '/' })).stdout.trim()
}

const isRoot = process.getuid?.() === 0

describe.runIf(process.platform === 'linux')('for real', () => {
  it('one CPU of the affinity mask is one thread', async ({ skip }) => {
    const file = await bundle(program(), 'cjs')
    const allowed = /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))
    if (!allowed) return skip('no affinity mask in /proc')
    expect(await output(file, ['taskset', '-c', allowed[1]!])).toBe('1')
  })

  it('a quota of a cgroup counts', async ({ skip }) => {
    const folder = makeCgroup()
    if (folder === undefined) return skip('only root may make a cgroup of version 1')
    onTestFinished(() => rmdirSync(folder))
    const file = await bundle(program(), 'cjs')
    const enter = `echo $$ > ${folder}/cgroup.procs && exec "$@"`
    const words = ['/bin/sh', '-c', enter, 'sh']
    writeFileSync(join(folder, 'cpu.cfs_quota_us'), '150000')
    expect(await output(file, words)).toBe('1')
    writeFileSync(join(folder, 'cpu.cfs_quota_us'), '-1')
    expect(await output(file, words)).toBe(String(availableParallelism()))
  })

  it.runIf(isRoot)(
    'where the system starts no more, the error names threads and the option',
    async () => {
      const file = await bundle(program(64), 'cjs')
      // Another user, whose limit is not that of root, which has none. It must be able to read all.
      const script = `chmod -R a+rX ${dirname(file)} && exec setpriv --reuid 54321 --clear-groups bash -c 'ulimit -u 30 && exec "$@"' sh "$@"`
      const error = JSON.parse(await output(file, ['/bin/sh', '-c', script, 'sh']))
      expect(error).toMatchObject({ name: 'ThreadLimitError', code: 'ERR_THREAD_LIMIT' })
      expect(error.message).toMatch(
        /no more threads.*option threads \(--threads\): 64 were asked for.*ulimit/,
      )
    },
  )
})

/** A new cgroup for CPU time inside this process's own; undefined where this machine gives none. */
function makeCgroup(): string | undefined {
  try {
    const own = /^\d+:cpu(?:,cpuacct)?:(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1]
    if (own === undefined) return undefined
    const folder = join('/sys/fs/cgroup/cpu', own, `ssm-metal-threads-${process.pid}`)
    mkdirSync(folder)
    return folder
  } catch {
    return undefined
  }
}

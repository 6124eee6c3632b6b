// How many threads can compute at a time in this process.

import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { cgroupsOf, readText, wholeNumber } from './cgroup.js'

/** The most that a device takes. */
export const MOST_THREADS = 1024

/**
 * The CPUs that this process may use: those of its affinity mask, in which Linux also keeps to its cpuset, but
 * not more than the CPU time that a quota of its cgroup leaves. Parts of a CPU do not count: a thread for half
 * of one would be stopped half of the time, with all others waiting for it. At least 1.
 * `root` is where files of the system lie.
 *
 * @example availableThreads() // 2 in `docker run --cpus 2.5`
 */
export function availableThreads(root = '/'): number {
  const quotas = process.platform === 'linux' ? cpuQuotas(root) : []
  const cpus = Math.min(availableParallelism(), MOST_THREADS, ...quotas)
  return Math.max(1, Math.floor(cpus))
}

/** CPUs' worth of time that each limit around this process gives. */
function cpuQuotas(root: string): number[] {
  return cgroupsOf('cpu', root).flatMap(({ version, folder }) => {
    const [quota, period] =
      version === 2
        ? (readText(join(folder, 'cpu.max')) ?? '').trim().split(/\s+/) // "max" is none
        : ['cpu.cfs_quota_us', 'cpu.cfs_period_us'].map((name) => readText(join(folder, name))) // -1 is none
    const [time, of] = [wholeNumber(quota), wholeNumber(period)]
    return time && of ? [time / of] : []
  })
}

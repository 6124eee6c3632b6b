// Control groups of Linux: where the files lie that limit this process.

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export interface Cgroup {
  version: 1 | 2
  /** Has the files of the controller. It may not exist. */
  folder: string
}

/**
 * The cgroup of this process that a controller, such as `memory` or `cpu`, may limit, and those around it,
 * in both versions. `root` is where files of the system lie.
 *
 * @example for (const { folder } of cgroupsOf('cpu')) console.log(readText(join(folder, 'cpu.max')))
 */
export function cgroupsOf(controller: string, root = '/'): Cgroup[] {
  const mount = join(root, 'sys/fs/cgroup')
  const found: Cgroup[] = []
  // Lines are "number:controllers:path"; version 2 has no controllers.
  for (const line of (readText(join(root, 'proc/self/cgroup')) ?? '').split('\n')) {
    const [, controllers, ...rest] = line.split(':')
    if (controllers === undefined || rest.length === 0) continue
    const isSecond = controllers === ''
    if (!isSecond && !controllers.split(',').includes(controller)) continue
    // Controllers that share a mount have one folder of both names, and mostly a link for each.
    const mounts = isSecond
      ? [mount]
      : new Set([controller, controllers].map((n) => join(mount, n)))
    // In a container the path may be that outside, of which only the last folder, the mount, is there.
    for (let path = join('/', rest.join(':')); ; path = dirname(path)) {
      for (const each of mounts) {
        found.push({ version: isSecond ? 2 : 1, folder: join(each, path) })
      }
      if (path === '/') break
    }
  }
  return found
}

/** What a small file of the system says; undefined where it cannot be read. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** The number that a text is, with white space around it; undefined for any other. */
export function wholeNumber(text: string | undefined): number | undefined {
  const digits = /^\s*(\d+)\s*$/.exec(text ?? '')?.[1]
  return digits === undefined ? undefined : Number(digits)
}

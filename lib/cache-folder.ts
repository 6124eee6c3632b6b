// Where programs keep what they can do without.

import { homedir } from 'node:os'
import { join } from 'node:path'

export function expandHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path
}

/** An environment variable's value as a path, where set to nothing counts as not set. */
export function pathVariable(name: string): string | undefined {
  const value = process.env[name]
  return value === undefined || value === '' ? undefined : expandHome(value)
}

/** The folder of the user's caches: XDG_CACHE_HOME or ~/.cache. It may not exist. */
export function cacheFolder(): string {
  return pathVariable('XDG_CACHE_HOME') ?? join(homedir(), '.cache')
}

// Where programs keep what they can do without, and how paths in the environment are written.

import { homedir } from 'node:os'
import { join } from 'node:path'

/**
 * The user's home; undefined where there is none: HOME not set, and no entry for the user in the list of
 * users, as for a container's user that is only a number.
 */
export function homeFolder(): string | undefined {
  try {
    return homedir() || undefined
  } catch {
    return undefined
  }
}

/** A path with `~` written out; as it is where nobody knows what `~` is. */
export function expandHome(path: string): string {
  const home = path === '~' || path.startsWith('~/') ? homeFolder() : undefined
  return home === undefined ? path : join(home, path.slice(1))
}

/** `$NAME` and `${NAME}` as the environment has them, as in Python; one that is not set stays as it is. */
function expandVariables(path: string): string {
  return path.replace(/\$(?:(\w+)|\{([^}]*)\})/g, (written, bare, braced) => {
    return process.env[bare ?? braced] ?? written
  })
}

/**
 * An environment variable's value as a path, where set to nothing counts as not set. `~`, `$NAME` and
 * `${NAME}` are expanded: no shell has seen values from an .env file or a service unit.
 */
export function pathVariable(name: string): string | undefined {
  const value = process.env[name]
  return value === undefined || value === '' ? undefined : expandVariables(expandHome(value))
}

/**
 * The folder of the user's caches: XDG_CACHE_HOME or ~/.cache. It may not exist. Undefined without
 * XDG_CACHE_HOME and a home.
 */
export function cacheFolder(): string | undefined {
  const given = pathVariable('XDG_CACHE_HOME')
  if (given !== undefined) return given
  const home = homeFolder()
  return home === undefined ? undefined : join(home, '.cache')
}

/**
 * A file of this package in the user's caches.
 *
 * @throws Error where there is no folder for caches.
 */
export function ownCacheFile(name: string): string {
  const folder = cacheFolder()
  if (folder !== undefined) return join(folder, 'ssm-metal', name)
  throw new Error(
    `${name}: there is no folder to keep it in, for the user has no home; set XDG_CACHE_HOME or HOME`,
  )
}

// One process, and one call in it, fetches a file at a time: whoever holds a lock file does. Node knows no locks of
// the system, which Python's client takes; so a holder writes down who it is, and that it lives.

import { randomUUID } from 'node:crypto'
import { link, mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { pauseFor } from './failures.js'
import type { Signal } from '../support/abort.js'
import { isMissing } from '../support/small-file.js'
import { isAlive } from '../support/processes.js'

// A sign of life every few seconds; a holder without one for much longer is gone, with its machine perhaps.
const SIGN_OF_LIFE = 5000
const STALE_AFTER = 60_000
const POLL = 150

interface Holder {
  readonly host: string
  readonly pid: number
  readonly id: string
}

/** Whether somebody who lives holds a lock. */
export async function isHeld(path: string): Promise<boolean> {
  const text = await contentOf(path)
  return text !== undefined && !(await isStale(path, text))
}

async function contentOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

async function isStale(path: string, text: string): Promise<boolean> {
  const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }))
  if (Date.now() - mtimeMs > STALE_AFTER) return true
  let holder: Partial<Holder>
  try {
    holder = JSON.parse(text)
  } catch {
    return false // being written
  }
  return holder.host === hostname() && typeof holder.pid === 'number' && !isAlive(holder.pid)
}

/**
 * Runs `work` while holding the lock at `path`, after whoever else holds it. Throws the reason of the signal when it
 * aborts while waiting, during which `onWait` is called now and then.
 *
 * @example await withLock(join(locks, `${etag}.lock`), { signal }, () => download())
 */
export async function withLock<T>(
  path: string,
  { signal, onWait }: { signal?: Signal | undefined; onWait?: () => Promise<void> },
  work: () => Promise<T>,
): Promise<T> {
  await mkdir(dirname(path), { recursive: true })
  const own = JSON.stringify({ host: hostname(), pid: process.pid, id: randomUUID() })
  while (!(await take(path, own))) {
    const text = await contentOf(path)
    if (text === undefined) continue
    if (await isStale(path, text)) {
      await clearAway(path, text)
      continue
    }
    await onWait?.()
    await pauseFor(POLL, signal)
  }
  const signs = setInterval(() => {
    const now = new Date()
    utimes(path, now, now).catch(() => {})
  }, SIGN_OF_LIFE)
  signs.unref()
  try {
    return await work()
  } finally {
    clearInterval(signs)
    // Unless others took it for that of a machine that is gone.
    if ((await contentOf(path).catch(() => undefined)) === own) await rm(path, { force: true })
  }
}

async function take(path: string, own: string): Promise<boolean> {
  try {
    await writeFile(path, own, { flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Removes a stale lock, but not the new one that another process may have put there meanwhile. */
async function clearAway(path: string, stale: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`
  try {
    await rename(path, aside)
  } catch (error) {
    if (isMissing(error)) return
    throw error
  }
  if ((await contentOf(aside)) !== stale) await link(aside, path).catch(() => {})
  await rm(aside, { force: true })
}

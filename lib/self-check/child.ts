// Checks a device in a process of its own, where one can be started.

import { onAbort, throwIfAborted, type Signal } from '../support/abort.js'
import { type ChildProcess, fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { isTypeScript, requireFrom, scriptOf } from '../support/location.js'
import type { ProcessMessage, ProcessRequest } from './check-process.js'
import type { CheckProgress } from './run.js'

const script = () => scriptOf('self-check/check-process')

/** How long a process may take. */
export interface ChildLimits {
  /** Milliseconds until it says that it runs. */
  start: number
  /** Milliseconds of one check, with the compiling of its kernels. */
  check: number
}

export const CHILD_LIMITS: ChildLimits = { start: 30_000, check: 60_000 }

/** What became of the checks. */
export type ChildEnd =
  /** All ran, or one did not pass. */
  | { kind: 'done' }
  /** No process could be started, or it was not ours: nothing is known. */
  | { kind: 'not started' }
  /** It crashed, hung or failed in this check, or before the first one. */
  | { kind: 'failed'; id: string | undefined; failure: string }

/**
 * Whether starting this program's executable again would run a script of ours. Not in a bundle without
 * the script; not in an application that is its own executable, which would start a second time; not where
 * the permission model forbids it.
 */
export function canStartChild(): boolean {
  const { permission } = process as { permission?: { has(scope: string): boolean } }
  if (permission && !permission.has('child')) return false
  if (process.versions.electron !== undefined) return false
  const sea = process.getBuiltinModule?.('node:sea') as { isSea?(): boolean } | undefined
  if (sea?.isSea?.()) return false
  if (!/^(node|bun|deno)/i.test(basename(process.execPath))) return false
  const file = script()
  return file !== undefined && existsSync(file)
}

/**
 * Runs the checks of a request in a child process and reports them as they end. Rejects with
 * `signal.reason` when aborted; the process is gone when this settles.
 */
export async function checkInChild(
  request: ProcessRequest,
  progress: CheckProgress,
  limits: ChildLimits = CHILD_LIMITS,
  signal?: Signal,
): Promise<ChildEnd> {
  throwIfAborted(signal)
  const file = script()
  if (file === undefined) return { kind: 'not started' }
  let child: ChildProcess
  try {
    child = fork(file, [], {
      execPath: process.execPath,
      // Nothing that this program was started with is needed, and a debugger's port is taken.
      execArgv: isTypeScript() ? ['--import', requireFrom(file).resolve('tsx')] : [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // Should it come to load models after all, it must not start another one.
      env: { ...process.env, SSM_METAL_SELF_CHECK: 'off' },
      serialization: 'advanced', // JSON has no NaN
    })
  } catch {
    return { kind: 'not started' }
  }
  const forget = onAbort(signal, () => child.kill('SIGKILL'))
  try {
    const end = await follow(child, request, progress, limits)
    throwIfAborted(signal)
    return end
  } finally {
    forget()
  }
}

/** How much of what a process that failed wrote is kept for the message: its beginning says what failed. */
const ERROR_CHARACTERS = 4000

// Settles when the process has ended.
function follow(
  child: ChildProcess,
  request: ProcessRequest,
  progress: CheckProgress,
  limits: ChildLimits,
): Promise<ChildEnd> {
  return new Promise((resolve, reject) => {
    let ready = false
    let current: string | undefined
    let outcome: ChildEnd | undefined
    let thrown: { error: unknown } | undefined
    let written = ''
    let timer: NodeJS.Timeout | undefined
    const within = (milliseconds: number, late: ChildEnd) => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        outcome ??= late
        child.kill('SIGKILL')
      }, milliseconds)
    }
    const checking = () =>
      within(limits.check, {
        kind: 'failed',
        id: current,
        failure: `it did not end within ${limits.check / 1000} s`,
      })
    const finish = (end: ChildEnd) => {
      clearTimeout(timer)
      if (thrown) reject(thrown.error)
      else resolve(outcome ?? end)
    }
    within(limits.start, { kind: 'not started' })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      written = (written + text).slice(0, ERROR_CHARACTERS)
    })
    child.on('message', (message: ProcessMessage) => {
      if (outcome || thrown) return
      switch (message.kind) {
        case 'ready':
          ready = true
          child.send(request, () => {}) // the message of its end says more
          break
        case 'begins':
          current = message.id
          break
        case 'ended':
          current = undefined
          try {
            progress.ended(message.id, message.outcome)
          } catch (error) {
            // The caller's own: it ends the checks.
            thrown = { error }
            child.kill('SIGKILL')
          }
          break
        case 'done':
          outcome = { kind: 'done' }
          break
        case 'failed':
          outcome = { kind: 'failed', id: current, failure: message.message }
      }
      checking()
    })
    child.once('error', () => {
      // It may still run if it was a message that could not be sent.
      if (child.pid === undefined) finish({ kind: 'not started' })
    })
    child.once('close', (code, killedBy) => {
      if (!ready) return finish({ kind: 'not started' })
      finish({ kind: 'failed', id: current, failure: deathMessage(code, killedBy, written) })
    })
  })
}

function deathMessage(code: number | null, signal: string | null, written: string): string {
  const end = signal ? `was ended by ${signal}` : `ended with code ${code}`
  // Warnings of Node come first.
  const line = written
    .split('\n')
    .find((text) => text.trim() !== '' && !/^\((node:|Use )/.test(text))
  return `the process that checked it ${end}${line ? `: ${line.trim()}` : ''}`
}

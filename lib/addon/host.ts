// What of this process decides whether the addon loads.

import { execFileSync } from 'node:child_process'
import { cpus, release } from 'node:os'
import { requireFrom } from '../support/location.js'
import { examineBinary } from './binary.js'

export type Libc = 'glibc' | 'musl'

/** Facts about the process that loads the addon, and how it loads. */
export interface Host {
  platform: string
  arch: string
  /** Version of Node, without the v. */
  node: string
  /** Release of the operating system's kernel. */
  kernel: string
  /** Where the system has a choice of C libraries. */
  libc?: Libc | undefined
  /** Node was told not to load addons. */
  addonsOff?: boolean | undefined
  /** Node's permission model is on and does not allow addons. */
  permissionDenied?: boolean | undefined
  /** An x64 Node that Rosetta 2 translates on Apple silicon. Asked only when it matters. */
  translated(): boolean
  /** Loads a compiled file as Node does. */
  open(path: string): unknown
}

/** The least Node, as in package.json. */
export const LEAST_NODE = '20.19'

/** Whether this version of Node is what package.json asks for. */
export function isNodeNewEnough(version: string): boolean {
  const [[major = 0, minor = 0], [leastMajor = 0, leastMinor = 0]] = [version, LEAST_NODE].map(
    (each) => each.split('.').map(Number),
  ) as [number[], number[]]
  return major > leastMajor || (major === leastMajor && minor >= leastMinor)
}

/** This process. */
export function thisHost(): Host {
  const flags = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)]
  return {
    platform: process.platform,
    arch: process.arch,
    node: process.versions.node,
    kernel: release(),
    libc: process.platform === 'linux' ? libcOfNode() : undefined,
    addonsOff: flags.includes('--no-addons'),
    permissionDenied: permissionDenied(flags),
    translated: isTranslated,
    open: (path) => requireFrom(path)(path),
  }
}

/** The C library that this Node uses. */
function libcOfNode(): Libc {
  try {
    const { interpreter = '' } = examineBinary(process.execPath)
    if (/\bld-musl\b/.test(interpreter)) return 'musl'
    if (/\bld(-linux|64)?\b/.test(interpreter)) return 'glibc'
  } catch {
    // Not a program, or not readable: an emulator or the permission model. Node itself knows.
  }
  return glibcVersion() === undefined ? 'musl' : 'glibc'
}

/** The version of glibc that this Node runs on; undefined where it runs on another library. */
export function glibcVersion(): string | undefined {
  const { report } = process
  if (!report) return undefined
  // Otherwise a report looks up the names of open connections.
  if ('excludeNetwork' in report) report.excludeNetwork = true
  const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } }
  return header?.glibcVersionRuntime
}

function permissionDenied(flags: readonly string[]): boolean {
  const { permission } = process as { permission?: { has(scope: string): boolean } }
  // Before Node 24, has() does not know the scope, and Node 20 has not known the flag for long.
  return permission !== undefined && !permission.has('addon') && !flags.includes('--allow-addons')
}

let translated: boolean | undefined

/** Whether this is an x64 Node on Apple silicon. */
export function isTranslated(): boolean {
  translated ??= process.platform === 'darwin' && process.arch === 'x64' && askSystem()
  return translated
}

function askSystem(): boolean {
  try {
    const words = ['-n', 'sysctl.proc_translated']
    const answer = execFileSync('/usr/sbin/sysctl', words, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 5000,
    })
    return answer.trim() === '1'
  } catch {
    // An old Intel Mac does not know the name, and the permission model may forbid to ask.
    return /apple/i.test(cpus()[0]?.model ?? '')
  }
}

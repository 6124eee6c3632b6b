// Why the addon did not load, and what to do: one cause and one cure.

import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { AddonFailure } from '../support/errors.js'
import { type Binary, DamagedBinaryError, WrongMachineError } from './binary.js'
import { glibcVersion, type Host, isNodeNewEnough, LEAST_NODE } from './host.js'
import { buildCommand, isClone, uselessCommand } from './package-manager.js'
import { KEEP_EXTERNAL, onDisk } from '../support/location.js'
import { wrap } from '../support/wrap.js'

/** A file that exists and was not loaded. */
export interface Attempt {
  path: string
  error: Error
  /** What its header says; absent when that could not be read. */
  binary?: Binary | undefined
}

interface Failure {
  /** The package's folder; empty when its code was bundled. */
  root: string
  /** The file that the code was bundled into. */
  bundle?: string | undefined
  host: Host
  /** Where a binary could have been. */
  paths: readonly string[]
  /** Those that were there. */
  attempts: readonly Attempt[]
  /** The value of SSM_METAL_ADDON. */
  override: string | undefined
}

interface Diagnosis {
  reason: AddonFailure
  cause: string
  cure: string
}

/** What a compilation needs. */
export const TOOLS = 'Python 3, make and a C++20 compiler'
const ROSETTA =
  ', and this Node is an Intel build that Rosetta 2 translates on Apple silicon (sysctl.proc_translated is 1)'
const ARM64_NODE = 'install the arm64 build of Node from https://nodejs.org, then try again'
/** macOS 14. */
const LEAST_DARWIN = 23

/** The reason, and a message of several lines that names cause, cure and what was tried. */
export function explain(failure: Failure): { reason: AddonFailure; message: string } {
  const { host, paths, attempts } = failure
  const { reason, cause, cure } = diagnose(failure)
  const tried = paths.map((path) => {
    const attempt = attempts.find((each) => each.path === onDisk(path))
    const nothing = reason === 'node-version' ? 'not tried' : 'no such file'
    return `  ${path}: ${attempt ? firstLine(attempt.error.message) : nothing}`
  })
  const machine = `${host.platform}-${host.arch}${host.libc ? ` (${host.libc})` : ''}`
  const message = [
    `[addon] the native addon did not load on ${machine}, Node ${host.node}`,
    hanging('Why:   ', `${cause}.`),
    hanging('To do: ', `${cure}.`),
    ...(tried.length > 0 ? ['Tried:', ...tried] : []),
  ].join('\n')
  return { reason, message }
}

/** A text in lines of at most 100 columns, of which all but the first are indented. */
const hanging = (label: string, text: string) =>
  label + wrap(text, 100 - label.length).join(`\n${' '.repeat(label.length)}`)

function diagnose(failure: Failure): Diagnosis {
  const { host, attempts, override, bundle } = failure
  return (
    oldNode(host) ??
    (attempts.length > 0 ? switchedOff(failure) : undefined) ??
    unsupportedSystem(host) ??
    (override ? wrongOverride(failure) : undefined) ??
    (bundle === undefined ? undefined : bundled(bundle)) ??
    // The last is the prebuilt binary, where there is one: the file meant for this very machine.
    (attempts.length > 0 ? broken(failure, attempts.at(-1)!) : missing(failure))
  )
}

function oldNode({ node }: Host): Diagnosis | undefined {
  if (isNodeNewEnough(node)) return
  return {
    reason: 'node-version',
    cause: `Node ${node} is too old: ssm-metal needs ${LEAST_NODE} or newer`,
    cure: 'install a newer Node from https://nodejs.org, then try again',
  }
}

function switchedOff({ host, root, attempts }: Failure): Diagnosis | undefined {
  const codes = attempts.map(({ error }) => (error as NodeJS.ErrnoException).code)
  if (codes.includes('ERR_ACCESS_DENIED')) {
    return {
      reason: 'permission-model',
      cause: "Node's permission model does not let this process read the addon's file",
      cure: `add --allow-addons and --allow-fs-read=${root} to the flags of Node`,
    }
  }
  if (!codes.includes('ERR_DLOPEN_DISABLED')) return
  if (host.permissionDenied && !host.addonsOff) {
    return {
      reason: 'permission-model',
      cause: "Node's permission model is on (--permission) and does not allow native addons",
      cure: 'add --allow-addons to the flags of Node; bench also needs --allow-child-process',
    }
  }
  return {
    reason: 'addons-switched-off',
    cause: 'native addons are switched off: Node was started with --no-addons',
    cure: 'start Node without --no-addons; look at the variable NODE_OPTIONS too',
  }
}

function unsupportedSystem({ platform, kernel }: Host): Diagnosis | undefined {
  const reason = 'unsupported-system'
  if (platform === 'win32') {
    return {
      reason,
      cause: 'Windows is not supported; macOS and Linux are',
      cure: 'run it in WSL 2 (https://learn.microsoft.com/windows/wsl), which is a Linux',
    }
  }
  if (platform !== 'darwin' && platform !== 'linux') {
    return {
      reason,
      cause: `the operating system ${platform} is not supported; macOS and Linux are`,
      cure: 'use a machine, a virtual machine or a container with one of these',
    }
  }
  if (platform === 'darwin' && Number.parseInt(kernel, 10) < LEAST_DARWIN) {
    return {
      reason,
      cause: `this macOS is too old (Darwin ${kernel}): ssm-metal needs macOS 14 or newer`,
      cure: 'update macOS',
    }
  }
  return undefined
}

function bundled(file: string): Diagnosis {
  return {
    reason: 'bundled',
    cause: `the code of ssm-metal was bundled into ${file}, and no bundler takes its native addon along`,
    cure: KEEP_EXTERNAL,
  }
}

function wrongOverride({ override, attempts }: Failure): Diagnosis {
  const problem = attempts[0] ? firstLine(attempts[0].error.message) : 'there is no such file'
  return {
    reason: attempts[0] ? 'damaged-binary' : 'no-binary',
    cause: `SSM_METAL_ADDON names ${override}, and ${problem}`,
    cure: 'unset SSM_METAL_ADDON, or let it name an addon for this machine',
  }
}

function broken(failure: Failure, { path, error, binary }: Attempt): Diagnosis {
  const { root, host } = failure
  const file = relative(root, path)
  const prebuilt = file.startsWith('prebuilds')
  const build = buildHere(failure)
  if (error instanceof WrongMachineError) {
    const translated = binary?.archs.includes('arm64') && host.translated()
    return {
      reason: 'wrong-machine',
      cause:
        `${file} ${firstLine(error.message).replace('it is', 'is')}, but this Node is ` +
        `${host.platform}-${host.arch}${translated ? ROSETTA : ''}`,
      cure: translated
        ? ARM64_NODE
        : `delete ${prebuilt ? 'node_modules' : file}, which was probably copied from another machine, and install again on this one, or ${build}`,
    }
  }
  if (error instanceof DamagedBinaryError) {
    return {
      reason: 'damaged-binary',
      cause: `${file} is damaged: ${firstLine(error.message)}`,
      cure: `delete ${prebuilt ? 'node_modules/ssm-metal' : file} and install again, or ${build}`,
    }
  }
  const lacking = /version [`'"]?((GLIBC|GLIBCXX|CXXABI)_[\d.]+)/.exec(error.message)
  if (lacking) {
    const [, name, library] = lacking
    const here = library === 'GLIBC' ? glibcVersion() : undefined
    return {
      reason: 'libc',
      cause:
        `${file} needs ${name}, and the ${library === 'GLIBC' ? 'C' : 'C++'} library of this ` +
        `system is older${here ? ` (glibc ${here})` : ''}`,
      cure: `use a newer system (glibc 2.28 or newer), or ${build}`,
    }
  }
  if (/ld-linux|ld-musl|libc\.(musl|so)\b|symbol not found/.test(error.message) && host.libc) {
    return {
      reason: 'libc',
      cause: `${file} is made for another C library than this system's, which is ${host.libc}`,
      cure: `delete ${file} and ${build}`,
    }
  }
  return {
    reason: 'damaged-binary',
    cause: `${file} could not be loaded: ${firstLine(error.message)}`,
    cure: prebuilt ? `install the package again, or ${build}` : build,
  }
}

function missing(failure: Failure): Diagnosis {
  const { root, host } = failure
  if (isClone(root)) {
    return {
      reason: 'no-binary',
      cause: 'this is a clone of the repository, and its addon is not compiled yet',
      cure: `run ${buildCommand(root)} (it needs ${TOOLS})`,
    }
  }
  const available = prebuiltNames(root)
  const machine = `${host.platform}-${host.arch}${host.libc ? ` with ${host.libc}` : ''}`
  const others = available.length > 0 ? `only those for ${available.join(', ')}` : 'nor any other'
  if (available.includes('darwin-arm64') && host.translated()) {
    return {
      reason: 'no-binary',
      cause: `the package has no prebuilt binary for ${machine}${ROSETTA}`,
      cure: ARM64_NODE,
    }
  }
  return {
    reason: 'no-binary',
    cause:
      `the package has no prebuilt binary for ${machine}, ${others}, and none was compiled here. ` +
      `No install script compiles one, so ${uselessCommand(root)} changes nothing`,
    cure: buildHere(failure),
  }
}

const buildHere = ({ root, host }: Failure) =>
  `compile it on this machine with \`${buildCommand(root)}\`, which needs ${TOOLS}` +
  (host.platform === 'darwin' ? ' (xcode-select --install)' : '')

/** As in `linux-x64 (musl)`. */
function prebuiltNames(root: string): string[] {
  const list = (folder: string) => {
    try {
      return readdirSync(folder).sort()
    } catch {
      return []
    }
  }
  return list(join(root, 'prebuilds')).flatMap((folder) =>
    list(join(root, 'prebuilds', folder)).map((file) => {
      const libc = /\.(glibc|musl)\.node$/.exec(file)?.[1]
      return libc ? `${folder} (${libc})` : folder
    }),
  )
}

const firstLine = (text: string) => text.split('\n')[0]!

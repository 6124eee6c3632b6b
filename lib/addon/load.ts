// Finds the addon and loads it: a build of this machine first, then the prebuilt binary that the
// package brings. There is no install script: npm, pnpm, bun and yarn block them.

import { join, relative, resolve } from 'node:path'
import type { Addon } from './contract.js'
import { AddonNotFoundError } from '../support/errors.js'
import { bundleFile, onDisk, packageFolder } from '../support/location.js'
import { type Binary, examineBinary, WrongMachineError } from './binary.js'
import { type Attempt, explain } from './explain.js'
import { type Host, isNodeNewEnough, thisHost } from './host.js'

export interface LoadedAddon {
  addon: Addon
  /** The file it came from. */
  path: string
  /** The same as seen from the package's folder. */
  name: string
}

/** The places of a package where its addon may be, the first that loads is taken. */
export function addonPaths(root: string, host: Host): string[] {
  return [join(root, 'build/Release/ssm.node'), prebuiltPath(root, host)]
}

/** Where the prebuilt binary for a machine is, as in `prebuilds/linux-x64/ssm-metal.glibc.node`. */
export function prebuiltPath(root: string, { platform, arch, libc }: Host): string {
  const name = libc ? `ssm-metal.${libc}.node` : 'ssm-metal.node'
  return join(root, 'prebuilds', `${platform}-${arch}`, name)
}

/**
 * Loads the addon of the package in `root`, undefined when the code was bundled into another file.
 * `SSM_METAL_ADDON` names another file. Throws `AddonNotFoundError`, which says why and what to do.
 *
 * @example const { addon, path } = loadAddon()
 */
export function loadAddon(root = packageFolder(), host: Host = thisHost()): LoadedAddon {
  // Internal: an addon built another way, such as the test rig (test/software-metal/README.md).
  const override = process.env.SSM_METAL_ADDON
  const paths = override ? [resolve(override)] : root ? addonPaths(root, host) : []
  const attempts: Attempt[] = []
  if (isNodeNewEnough(host.node)) {
    for (const [i, path] of paths.map(onDisk).entries()) {
      let binary: Binary | undefined
      try {
        binary = examineBinary(path)
        if (!runsHere(binary, host)) throw new WrongMachineError(describeBinary(binary))
        const name = root ? relative(root, paths[i]!) : path
        return { addon: host.open(path) as Addon, path, name }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue
        attempts.push({ path, error: error as Error, binary })
      }
    }
  }
  const bundle = root ? undefined : (bundleFile() ?? 'another file')
  const failure = { root: root ?? '', bundle, host, paths, attempts, override }
  const { reason, message } = explain(failure)
  throw new AddonNotFoundError(message, { reason, cause: attempts.at(-1)?.error })
}

const runsHere = ({ platform, archs }: Binary, host: Host) =>
  platform === host.platform && archs.includes(host.arch)

const describeBinary = ({ platform, archs }: Binary) =>
  `it is made for ${[platform, archs.join(' and ')].filter(Boolean).join('-')}`

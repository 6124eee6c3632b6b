// Compiles the addon where the package is installed, for machines without a prebuilt binary.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, realpathSync, rmSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { KEEP_EXTERNAL, packageFolder, requireFrom } from '../support/location.js'
import { TOOLS } from './explain.js'

/**
 * Compiles the addon with node-gyp into the package's `build/Release`, from where it is loaded from
 * then on. What the compiler prints goes to `output`, a file descriptor. Rejects with what is missing.
 *
 * @example await buildAddon(2)
 */
export async function buildAddon(output: number, root = packageFolder()): Promise<void> {
  if (root === undefined) throw new Error(`[build] ssm-metal was bundled: ${KEEP_EXTERNAL}`)
  const nodeGyp = findNodeGyp(root)
  // The published package keeps it in dist: at the root, npm 11 would compile at every install.
  const gyp = join(root, 'binding.gyp')
  const lent = !existsSync(gyp)
  if (lent) copyFileSync(join(root, 'dist/binding.gyp'), gyp)
  try {
    const words = [nodeGyp, 'rebuild', '--jobs=max', ...headersOfNode()]
    const stdio = ['ignore', output, output] as ['ignore', number, number]
    const child = spawn(process.execPath, words, { cwd: root, stdio })
    const [code] = await once(child, 'close')
    if (code !== 0) {
      throw new Error(
        `[build] the compilation failed, see above; it needs ${TOOLS} (Debian and Ubuntu: ` +
          'apt-get install python3 make g++; macOS: xcode-select --install)',
      )
    }
  } finally {
    if (lent) rmSync(gyp, { force: true })
  }
}

/** Those that come with Node, if they do; node-gyp would download them. */
function headersOfNode(): string[] {
  if (process.env.npm_config_nodedir) return []
  const prefix = dirname(dirname(process.execPath))
  return existsSync(join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : []
}

/** node-gyp comes with npm. */
function findNodeGyp(root: string): string {
  const fromNpm = process.env.npm_config_node_gyp // under npx
  if (fromNpm && existsSync(fromNpm)) return fromNpm
  for (const from of [join(root, 'package.json'), onPath('npm')]) {
    try {
      if (from) return requireFrom(from).resolve('node-gyp/bin/node-gyp.js')
    } catch {
      // Not there.
    }
  }
  const installed = onPath('node-gyp')
  if (installed) return installed
  throw new Error(
    '[build] node-gyp was not found: it comes with npm, so put npm on the PATH, or install node-gyp beside ssm-metal',
  )
}

/** The file behind a command. */
function onPath(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const file = folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
  return file && realpathSync(file)
}

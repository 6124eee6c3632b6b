// npm, pnpm and bun, each a program from the npm registry, and what each is told to install a tarball
// with install scripts blocked.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ROOT } from '../support/child-process.js'

const execute = promisify(execFile)

export interface PackageManager {
  name: 'npm' | 'pnpm' | 'bun'
  /** In the registry. */
  package: string
  version: string
  /** The program, below node_modules, and its first words. */
  program: readonly string[]
  install: readonly string[]
  /** What runs a program of a dependency. */
  run: readonly string[]
  /** The command that our messages name. */
  buildCommand: string
}

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const newNpm = major >= 26 || (major === 24 && minor >= 15) || (major === 22 && minor >= 22)
const bunPlatform = process.platform === 'darwin' ? 'darwin' : 'linux'
// Without AVX2, which not every machine has.
const bunProcessor = process.arch === 'arm64' ? 'aarch64' : 'x64-baseline'
const bunPackage = `@oven/bun-${bunPlatform}-${bunProcessor}`

export const packageManagers: readonly PackageManager[] = [
  {
    name: 'npm',
    package: 'npm',
    version: newNpm ? '12.2.2' : '11.19.1',
    program: ['node', 'npm/bin/npm-cli.js'],
    install: ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=warn'],
    run: ['exec', '--'],
    buildCommand: 'npx ssm-metal build',
  },
  {
    // It blocks scripts by itself, and fails when there is one.
    name: 'pnpm',
    package: 'pnpm',
    version: '12.21.0',
    program: ['.bin/pnpm'],
    install: ['add', '--store-dir=store'],
    run: ['exec'],
    buildCommand: 'pnpm exec ssm-metal build',
  },
  {
    // It blocks scripts by itself, and says so when there is one.
    name: 'bun',
    package: bunPackage,
    version: '1.4.5',
    program: [`${bunPackage}/bin/bun`],
    install: ['add', '--cache-dir=cache'],
    run: ['x'],
    buildCommand: 'bunx ssm-metal build',
  },
]

/**
 * Fetches a package of the registry into a folder of its own, once for this clone. Resolves to its
 * node_modules.
 */
export async function fetchPackage(name: string, version: string): Promise<string> {
  const folder = join(ROOT, 'node_modules/.cache/fetched', `${name.replace('/', '+')}@${version}`)
  const done = join(folder, 'complete')
  if (!existsSync(done)) {
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'package.json'), '{ "private": true }')
    const words = ['install', '--ignore-scripts', '--no-audit', '--no-fund', `${name}@${version}`]
    await execute('npm', words, { cwd: folder })
    await writeFile(done, '')
  }
  return join(folder, 'node_modules')
}

/** A folder for a PATH with Node and a shell and nothing else: no compiler, no other package manager. */
export async function barePath(folder: string): Promise<string> {
  const bin = join(folder, 'bin')
  await mkdir(bin)
  await symlink(process.execPath, join(bin, 'node'))
  // What the small scripts that start a package manager's programs call.
  for (const name of ['sh', 'dirname', 'sed', 'uname']) {
    const file = ['/bin', '/usr/bin']
      .map((each) => join(each, name))
      .find((each) => existsSync(each))
    if (file) await symlink(file, join(bin, name))
  }
  return bin
}

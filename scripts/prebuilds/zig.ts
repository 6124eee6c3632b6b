// zig, which brings compilers, C libraries and a C++ library for every platform. From PyPI.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const VERSION = '0.17.1'
// Of the two wheels that can run here: binaries that users get are made with nothing else.
const HASHES = [
  'ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54', // x86-64
  'b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e', // arm64
]

/**
 * The folder of zig, with the program `zig` and its library `lib/`. Installs it at first use, about
 * 100 MB, into a Python environment below `cache`. Throws what failed.
 *
 *     join(zigFolder('.cache'), 'lib/libc/include/any-darwin-any')
 */
export function zigFolder(cache: string): string {
  const installed = join(cache, `zig-${VERSION}`)
  const folder = join(installed, 'ziglang')
  if (existsSync(join(folder, 'zig'))) return folder
  mkdirSync(cache, { recursive: true })
  // Under other names until it is complete, one for each process that may do this now.
  const [environment, target] = [`${installed}.${process.pid}.venv`, `${installed}.${process.pid}`]
  const requirements = join(cache, `zig-${VERSION}.txt`)
  const hashes = HASHES.map((hash) => `--hash=sha256:${hash}`).join(' ')
  writeFileSync(requirements, `ziglang==${VERSION} ${hashes}\n`)
  try {
    run('python3', '-m', 'venv', environment)
    run(join(environment, 'bin/pip'), ...pipInstall(requirements, target))
    if (!existsSync(join(folder, 'zig'))) renameSync(target, installed)
  } finally {
    for (const path of [environment, target]) rmSync(path, { recursive: true, force: true })
  }
  return folder
}

function pipInstall(requirements: string, target: string): string[] {
  const options = ['--require-hashes', '--only-binary=:all:', '--quiet', '--no-input']
  return [
    'install',
    ...options,
    '--disable-pip-version-check',
    '--target',
    target,
    '-r',
    requirements,
  ]
}

function run(program: string, ...args: string[]): void {
  const { status, error, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status === 0) return
  throw new Error(
    `[prebuilds] zig ${VERSION} could not be installed from PyPI (it needs python3, python3-venv and the network): ${program} ${args.join(' ')}: ${error?.message ?? stdout + stderr}`,
  )
}

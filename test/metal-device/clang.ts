// Clang for a Mac, and what the build of the rig left here.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))
/** The files that speak to Apple's API. */
export const appleFiles = ['native/metal', 'native/metal/apple'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.mm'))
    .map((name) => join(folder, name)),
)
export const builtIn = (path: string) => join(root, 'test/software-metal/build', path)

const sdk = fileURLToPath(new URL('sdk', import.meta.url))
const includes = ['native', 'native/metal', 'native/metal/apple', 'metal'].map((folder) =>
  join(root, folder),
)
const options = [
  ...['-fsyntax-only', '-std=c++20', '-fobjc-arc', '-fblocks', '--target=arm64-apple-macos14'],
  ...['-Wall', '-Wextra', '-Werror', '-Wnullable-to-nonnull-conversion'],
  ...['-nostdlibinc', '-nostdinc++', '-isystem', join(sdk, 'c++')],
  ...['-isystem', '/usr/lib/llvm-19/include/c++/v1', '-isystem', join(sdk, 'c'), '-isystem', sdk],
  ...includes.flatMap((folder) => ['-I', folder]),
]

export function run(program: string, args: string[], env: Record<string, string> = {}) {
  const { status, signal, stdout, stderr } = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    timeout: 240_000,
    env: { ...process.env, ...env },
  })
  return { status, signal, stdout, stderr }
}

/** What clang says of Objective-C++ text as part of an addon for macOS on Apple silicon. */
export function typeCheck(text: string, ...more: string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'type-check-'))
  try {
    const file = join(folder, 'text.mm')
    writeFileSync(file, text)
    return run(process.env.CXX ?? 'clang++-19', [...options, ...more, file])
  } finally {
    rmSync(folder, { recursive: true })
  }
}

// The compiler of the addon for a Mac, and what the build of the rig left here.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { TARGETS } from '../../scripts/prebuilds/targets.js'
import { macCompiler } from '../../scripts/prebuilds/toolchain.js'
import { zigFolder } from '../../scripts/prebuilds/zig.js'
import { macCommands } from '../prebuilds/make.js'

export const root = fileURLToPath(new URL('../..', import.meta.url))
/** The files that speak to Apple's API. */
export const appleFiles = ['native/metal', 'native/metal/apple'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.mm'))
    .map((name) => join(folder, name)),
)
export const builtIn = (path: string) => join(root, 'test/software-metal/build', path)

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

/**
 * What clang says of Objective-C++ text as part of an addon for macOS on Apple silicon: as node-gyp
 * compiles it, with all warnings as errors. `more` are options of the compiler itself (-cc1).
 */
export function typeCheck(text: string, ...more: string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'type-check-'))
  try {
    const file = join(folder, 'text.mm')
    writeFileSync(file, text)
    const command = [...compiler(), ...options(), '-c', file, '-o', join(folder, 'text.o')]
    // zig says what it would do. It has no way to stop after the types; clang itself has.
    const { stderr } = run(command[0]!, [...command.slice(1), '-###'])
    const line = stderr.split('\n').find((text) => text.includes('"-cc1"'))
    if (line === undefined) throw new Error(stderr)
    const words = [...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word]) =>
      word!.replaceAll(/\\(.)/g, '$1'),
    )
    const args = without(words.slice(1), '-o', '-dependency-file')
    args[args.indexOf('-emit-obj')] = '-fsyntax-only'
    return run(compiler()[0]!, ['clang', ...args, ...more])
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Without some options and their values. */
function without(args: string[], ...options: string[]): string[] {
  return args.filter((word, i) => !options.includes(word) && !options.includes(args[i - 1]!))
}

function compiler(): string[] {
  const zig = zigFolder(join(root, '.cache'))
  return macCompiler({ root, zig }, TARGETS['darwin-arm64'])
}

let known: string[] | undefined

/** Those of the makefile for such a file; folders are below the checkout. */
function options(): string[] {
  if (known) return known
  const [, ...args] = macCommands('arm64').compile.get(appleFiles[0]!)!
  const kept = without(args, '-o', '-MF').filter(
    (word) => /^-/.test(word) && !/^-(c|MMD)$/.test(word),
  )
  const words = kept.map((word) => word.replace(/^-I\.\./, `-I${root}`))
  // gyp's -arch has a value of its own; zig has the architecture from its target.
  const warnings = ['-Werror', '-Wnullable-to-nonnull-conversion']
  known = [...words.filter((word) => word !== '-arch'), ...warnings]
  return known
}

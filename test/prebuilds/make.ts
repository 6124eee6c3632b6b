// What make would do with the makefiles that node-gyp writes for a Mac.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { configure, environment } from '../../scripts/prebuilds/node-gyp.js'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export interface MakeCommands {
  /** Arguments of the compiler for each source, by its path in the checkout. */
  compile: Map<string, string[]>
  /** Arguments of the linker. */
  link: string[]
}

/**
 * The commands that build the addon on a Mac, as node-gyp writes them here. `change` returns another
 * text of binding.gyp.
 */
export function macCommands(arch: 'arm64' | 'x64', change = (text: string) => text): MakeCommands {
  const folder = mkdtempSync(join(tmpdir(), 'gyp-'))
  try {
    const gyp = change(readFileSync(join(root, 'binding.gyp'), 'utf8'))
    configure({ root, folder, platform: { os: 'mac', arch }, gyp })
    const args = ['-C', 'build', '-n', '-s', 'BUILDTYPE=Release']
    const env = environment(folder)
    const options = { cwd: folder, env, encoding: 'utf8', maxBuffer: 1 << 28 } as const
    const { status, stdout, stderr } = spawnSync('make', args, options)
    if (status !== 0) throw new Error(stdout + stderr)
    return read(stdout, env)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function read(text: string, { CXX, LINK }: NodeJS.ProcessEnv): MakeCommands {
  const commands = text.split('\n').map(words)
  const compile = commands
    .filter(([program]) => program === CXX)
    .map((args) => [sourceOf(args), args] as const)
  const links = commands.filter(([program]) => program === LINK)
  if (links.length !== 1) throw new Error(`expected one link but there are ${links.length}`)
  return { compile: new Map(compile), link: links[0]! }
}

/** The file that is compiled: in the checkout, which is the folder above build/, or below build/. */
function sourceOf(args: string[]): string {
  return args.find((word) => /^[^-].*\.(cpp|mm)$/.test(word))!.replace(/^\.\.\//, '')
}

/** The words of a line of shell, of which some are quoted: 'a b'. */
function words(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|[^\s'])+/g)].map(([word]) => word.replaceAll("'", ''))
}

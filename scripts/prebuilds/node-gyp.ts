// node-gyp as it runs on another platform: it writes the makefiles that this platform would get from
// binding.gyp, and makes them with the tools that we put in the place of the platform's own.

import { spawnSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import type { Target } from './targets.js'

const nodeGyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js')

/** What a build reads of a checkout. */
const SOURCES = ['binding.gyp', 'package.json', 'native', 'metal', 'scripts', 'node_modules']

type Platform = Pick<Target, 'os' | 'arch'>

export interface Build {
  /** The checkout. */
  root: string
  /** Where the build is; node-gyp always writes to build/, so each target has a folder of its own. */
  folder: string
  platform: Platform
  /** A text in place of the checkout's binding.gyp. */
  gyp?: string
}

/**
 * Writes the makefiles of a platform into `folder/build`. They call the programs in `folder/tools`, which
 * `environment` puts first on the PATH. Throws what node-gyp said when it fails.
 *
 *     configure({ root, folder, platform: { os: 'mac', arch: 'arm64' } })
 */
export function configure({ root, folder, platform, gyp }: Build): void {
  mkdirSync(join(folder, 'tools'), { recursive: true })
  for (const entry of SOURCES) link(join(root, entry), join(folder, entry))
  if (gyp !== undefined) {
    rmSync(join(folder, 'binding.gyp'))
    writeFileSync(join(folder, 'binding.gyp'), gyp)
  }
  // What gyp asks on a Mac. Nothing is installed where `xcrun` fails: no SDK is looked for.
  if (platform.os === 'mac') {
    tool(folder, 'xcodebuild', "printf 'Xcode 16.0\\nBuild version 16A242d\\n'")
    tool(folder, 'xcrun', 'exit 1')
  }
  const nodedir = `--nodedir=${headers(folder, platform)}`
  const format = ['--', '-f', platform.os === 'mac' ? 'make-mac' : 'make-linux']
  run(folder, 'configure', nodedir, `--arch=${platform.arch}`, ...format)
}

/** Makes what `configure` wrote; returns the path of the addon. Throws what failed. */
export function build(folder: string): string {
  run(folder, 'build', `--jobs=${availableParallelism()}`)
  return join(folder, 'build/Release/ssm.node')
}

/** Writes a shell script that a build finds first on its PATH. */
export function tool(folder: string, name: string, text: string): void {
  writeFileSync(join(folder, 'tools', name), `#!/bin/sh\n${text}\n`, { mode: 0o755 })
}

/** The environment of a build: the compiler and the linker are tools of ours. */
export function environment(folder: string): NodeJS.ProcessEnv {
  const tools = join(folder, 'tools')
  const [compiler, linker] = [join(tools, 'cxx'), join(tools, 'link')]
  const names = { CC: compiler, CXX: compiler, LINK: linker }
  return { ...process.env, ...names, PATH: `${tools}:${process.env.PATH}` }
}

/** A folder like that of an installed Node whose `include/node` says what Node says on the platform. */
function headers(folder: string, platform: Platform): string {
  const installed = [process.env.npm_config_nodedir, dirname(dirname(process.execPath))]
    .filter((path) => path !== undefined)
    .map((path) => join(path, 'include/node'))
  const from = installed.find((path) => existsSync(join(path, 'common.gypi')))
  if (from === undefined) {
    throw new Error(
      `[prebuilds] expected the headers of Node but there is no common.gypi in ${installed.join(' or ')}: set npm_config_nodedir to the folder of a Node that has include/node`,
    )
  }
  const include = join(folder, 'node/include/node')
  mkdirSync(include, { recursive: true })
  for (const name of readdirSync(from)) {
    if (name !== 'config.gypi') link(join(from, name), join(include, name))
  }
  const config = parseGyp(readFileSync(join(from, 'config.gypi'), 'utf8'))
  // A Node for macOS was compiled by clang and says so, which adds flags (common.gypi).
  if (platform.os === 'mac') config.variables.clang = 1
  writeFileSync(join(include, 'config.gypi'), JSON.stringify(config))
  return join(folder, 'node')
}

/** A Python literal without anything that JSON lacks, but for quotes and comments. */
function parseGyp(text: string): { variables: Record<string, unknown> } {
  return JSON.parse(text.replace(/#.*/g, '').replace(/'/g, '"'))
}

function link(from: string, to: string): void {
  if (lstatSync(to, { throwIfNoEntry: false })) rmSync(to)
  symlinkSync(from, to)
}

function run(folder: string, ...args: string[]): void {
  const env = environment(folder)
  delete env.npm_config_nodedir // ours is another
  const options = { cwd: folder, env, encoding: 'utf8', maxBuffer: 1 << 28 } as const
  const { status, stdout, stderr } = spawnSync(process.execPath, [nodeGyp, ...args], options)
  if (status !== 0) {
    throw new Error(`[prebuilds] node-gyp ${args[0]} failed in ${folder}:\n${stdout}${stderr}`)
  }
}

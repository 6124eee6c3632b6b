// Makes prebuilt binaries of the addon, for every platform on one Linux machine:
//   npm run prebuilds                      all of them
//   npm run prebuilds -- darwin-arm64 ...  some (targets.ts)
// scripts/prebuilds/README.md says how and what it needs.

import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, renameSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, configure } from './node-gyp.js'
import { prebuiltFile, TARGETS, type TargetName } from './targets.js'
import { writeTools } from './toolchain.js'
import { zigFolder } from './zig.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const cache = join(root, '.cache')

const isTarget = (name: string): name is TargetName => name in TARGETS
const names = process.argv.slice(2)
const unknown = names.find((name) => !isTarget(name))
if (unknown !== undefined) {
  fail(`target must be one of ${Object.keys(TARGETS).join(', ')} but is '${unknown}'`)
}
const missing = ['python3', 'make', 'ld64.lld-19'].filter((program) => {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status !== 0
})
if (process.platform !== 'linux') fail(`needs Linux but this is ${process.platform}`)
if (missing.length > 0) {
  fail(`needs ${missing.join(', ')}: apt-get install python3 python3-venv make lld-19`)
}
try {
  const zig = zigFolder(cache)
  const wanted = names.length > 0 ? names.filter(isTarget) : Object.keys(TARGETS).filter(isTarget)
  for (const name of wanted) make(name, zig)
} catch (error) {
  fail((error as Error).message)
}

function make(name: TargetName, zig: string): void {
  const target = TARGETS[name]
  const folder = join(cache, 'prebuilds', name)
  writeTools({ root, folder, zig }, target)
  configure({ root, folder, platform: target })
  const file = prebuiltFile(root, name)
  mkdirSync(dirname(file), { recursive: true })
  // Renamed, because a process that has the old file loaded would crash with another text in it.
  copyFileSync(build(folder), `${file}.new`)
  renameSync(`${file}.new`, file)
  console.log(`${name}: ${statSync(file).size} bytes`)
}

function fail(message: string): never {
  console.error(message.startsWith('[') ? message : `[prebuilds] ${message}`)
  process.exit(1)
}

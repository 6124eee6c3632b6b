// After `npm install` in a clone: compiles the addon, unless one loads already. It is no install script,
// for those would run, or be blocked, where the package is installed.

import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'

// npm runs `prepare` before it packs, too.
const packing = ['pack', 'publish'].includes(process.env.npm_command)

function loads() {
  try {
    createRequire(import.meta.url)('../build/Release/ssm.node')
    return true
  } catch {
    return false
  }
}

if (!packing && !loads()) {
  const { status } = spawnSync('npm', ['run', 'build:native'], { stdio: 'inherit' })
  process.exitCode = status ?? 1
}

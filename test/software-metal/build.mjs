// Builds the rig before the tests (`npm test`). Where its tools are missing it installs them, as root
// on Debian; elsewhere it says in one line what is skipped. In CI nothing is ever skipped.
// The tests of test/metal-device are part of the same build.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const PACKAGES = [
  ...['clang-19', 'cmake', 'make', 'g++', 'binutils'],
  // Of test/metal-device: AddressSanitizer; zig, which comes from PyPI; crates, from crates.io.
  ...['libclang-rt-19-dev', 'python3-venv', 'cargo-web'],
]
const PROGRAMS = ['clang++-19', 'cmake', 'make', 'addr2line', 'cargo']
const FILES = ['/usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.asan-x86_64.so']

function runs(program, ...args) {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0
}

function isComplete() {
  const programs = PROGRAMS.every((program) => runs(program, '--version'))
  return programs && FILES.every(existsSync) && runs('python3', '-c', 'import ensurepip, venv')
}

function install() {
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) return
  console.log(`installing ${PACKAGES.join(' ')} for the rig (test/software-metal)`)
  const options = { stdio: 'ignore', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } }
  spawnSync('apt-get', ['update'], options)
  spawnSync('apt-get', ['install', '-y', '--no-install-recommends', ...PACKAGES], options)
}

function skip(reason) {
  const message = `skipped: Metal kernels on the rig, the strict pass, the Metal device over its stand-in, its type check for a Mac (${reason}; test/software-metal/README.md)`
  console.log(message)
  process.exit(process.env.CI ? 1 : 0)
}

if (process.platform !== 'linux' || process.arch !== 'x64') skip('needs Linux on x86-64')
if (!isComplete()) install()
if (!isComplete()) skip(`needs ${PACKAGES.join(', ')}`)

const build = spawnSync('npm', ['run', '--silent', 'build:software-metal'], { encoding: 'utf8' })
if (build.status !== 0) {
  console.error(build.stdout + build.stderr)
  process.exit(1)
}

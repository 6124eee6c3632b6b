// Levels of the CPU device that this machine may not be able to run: arm64's under an emulator, and the
// code of avx512 compiled for AVX2, which is all of it but its instructions. Levels that the machine
// has are projects of vitest.config.ts.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const folder = fileURLToPath(new URL('.', import.meta.url))
const canRun = (program: string) => spawnSync(program, ['--version']).status === 0
const hasAvx2 = () =>
  process.platform === 'linux' && /\bavx2\b/.test(readFileSync('/proc/cpuinfo', 'utf8'))

const builds = [
  {
    target: 'neon',
    tools: ['make', 'aarch64-linux-gnu-g++', 'qemu-aarch64'],
    possible: () => process.platform === 'linux',
    command: ['qemu-aarch64', 'build/neon'],
    expected: /^neon: \d+ cases agree\n$/,
  },
  {
    target: 'avx512',
    tools: ['make', 'g++'],
    possible: hasAvx2,
    command: ['build/avx512'],
    expected: /^avx512 without AVX-512: \d+ cases agree\n$/,
  },
]

for (const { target, tools, possible, command, expected } of builds) {
  const missing = tools.filter((tool) => !canRun(tool))
  const skipped = (!possible() || missing.length > 0) && !process.env.CI
  if (skipped) console.log(`skipped: level ${target} (needs Linux, AVX2 or ${tools.join(', ')})`)
  test.skipIf(skipped)(
    `${target}: every fast operation agrees with its loop`,
    () => {
      const run = (program: string, words: string[]) =>
        spawnSync(program, words, { cwd: folder, encoding: 'utf8' })
      const built = run('make', [`-j${availableParallelism()}`, '-s', `build/${target}`])
      expect(built.status, built.stderr).toBe(0)
      const { stdout, stderr, status } = run(command[0]!, command.slice(1))
      expect({ stdout, stderr, status }).toEqual({
        stdout: expect.stringMatching(expected),
        stderr: '',
        status: 0,
      })
    },
    600_000,
  )
}

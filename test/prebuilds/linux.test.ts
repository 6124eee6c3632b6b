// The binaries for Linux (npm run prebuilds), and what this machine's own says of its processor.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { EXPORTS, LEAST_GLIBC, prebuiltFile, TARGETS } from '../../scripts/prebuilds/targets.js'
import { root } from './make.js'

const readelf = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync('readelf', ['-W', ...args], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return stdout
}

const MACHINES = { x64: /X86-64/, arm64: /AArch64/ }
// Of the C library, whatever it is called.
const LIBRARIES = /^(lib(c|m|dl|pthread|rt)\.so(\.\d)?|ld-linux-[\w-]+\.so\.\d)$/

const names = ['linux-x64', 'linux-arm64', 'linux-x64-musl', 'linux-arm64-musl'] as const
for (const name of names) {
  const path = prebuiltFile(root, name)
  // All but the first are made by a command of their own (scripts/prebuilds/README.md).
  const skipped = !(process.env.CI && name === 'linux-x64') && !existsSync(path)
  if (skipped) console.log(`skipped: ${name} (npm run prebuilds -- ${name})`)
  describe.skipIf(skipped)(name, () => {
    const symbols = () =>
      readelf('--dyn-syms', path)
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        .filter((words) => words.length >= 8 && /^\d+:$/.test(words[0]!) && words[0] !== '0:')
        .map(([, , , , bind, , section, symbol]) => ({ bind, section, symbol: symbol! }))

    test('is for its processor', () => {
      expect(readelf('-h', path)).toMatch(MACHINES[TARGETS[name].arch])
    })

    test('exports what Node looks for and nothing else', () => {
      const own = symbols().filter(({ section }) => section !== 'UND')
      expect(own.map(({ symbol }) => symbol.split('@')[0]).sort()).toEqual(EXPORTS)
    })

    test('needs the C library only, and Node', () => {
      const dynamic = readelf('-d', path)
      const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, library]) => library!)
      expect(needed.length).toBeGreaterThan(0)
      expect(needed.filter((library) => !LIBRARIES.test(library))).toEqual([])
      expect(dynamic).not.toMatch(/RPATH|RUNPATH/)
      const open = symbols().filter(({ section }) => section === 'UND')
      // No C++: it is inside.
      expect(open.filter(({ symbol }) => /^_Z/.test(symbol))).toEqual([])
    })

    test('needs no newer C library', () => {
      const versions = [...readelf('-V', path).matchAll(/\bGLIBC_(\d+)\.(\d+)/g)]
      const newer = ([, major, minor]: string[]) => {
        const [least, leastMinor] = LEAST_GLIBC.split('.').map(Number)
        return Number(major) > least! || (Number(major) === least && Number(minor) > leastMinor!)
      }
      expect(versions.length > 0).toBe(!name.endsWith('musl'))
      expect(versions.filter(newer).map(([version]) => version)).toEqual([])
    })

    test('has no path of this machine inside', () => {
      const file = readFileSync(path)
      expect(file.includes(root)).toBe(false)
      expect(file.includes('ziglang')).toBe(false)
    })
  })
}

const own = prebuiltFile(root, 'linux-x64')
test.skipIf(process.arch !== 'x64' || (!process.env.CI && !existsSync(own)))(
  'finds the instructions that the system says the processor has',
  () => {
    const print = 'console.log(JSON.stringify(require(process.argv[1]).cpuLevels()))'
    const { stdout, stderr } = spawnSync(process.execPath, ['-e', print, own], { encoding: 'utf8' })
    expect(stderr).toBe('')
    const flags = new Set(
      /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))![1]!.split(' '),
    )
    const has = (...wanted: string[]) => wanted.every((flag) => flags.has(flag))
    const avx2 = has('avx2', 'fma', 'f16c')
    const avx512 = avx2 && has('avx512f', 'avx512bw', 'avx512vl', 'avx512dq')
    expect(JSON.parse(stdout)).toEqual([
      'reference',
      ...(avx2 ? ['avx2'] : []),
      ...(avx512 ? ['avx512'] : []),
    ])
  },
)

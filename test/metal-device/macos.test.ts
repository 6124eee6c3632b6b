// The addon of a Mac, compiled and linked on Linux (CMakeLists.txt); nobody has run it.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { builtIn, root, run } from './clang.js'

const nm = (...options: string[]) =>
  run('llvm-nm-19', [...options, builtIn('metal-device/macos.node')])
    .stdout.trim()
    .split('\n')

test('leaves only Node-API to be found at run time', () => {
  const open = nm('-u', '-m').filter((line) => line.includes('(dynamically looked up)'))
  const names = open.map((line) => /external (\S+)/.exec(line)?.[1])
  expect(names.length).toBeGreaterThan(20)
  // Any other name: sdk/lib/ has no library with it. Add it there when macOS 14 has it.
  expect(names.filter((name) => !name?.startsWith('_napi_'))).toEqual([])
})

test('does without what macOS 15 added', () => {
  const weak = nm('-u', '-m').filter((line) => line.includes(' weak '))
  expect(weak).toHaveLength(1)
  expect(weak[0]).toContain('_OBJC_CLASS_$_MTLResidencySetDescriptor')
})

test('exports what Node looks for', () => {
  const exported = nm('-g', '-U', '--just-symbol-name').sort()
  expect(exported).toEqual(['_napi_register_module_v1', '_node_api_module_get_api_version_v1'])
})

test('is a bundle for arm64 from macOS 14 on', () => {
  const header = readFileSync(builtIn('metal-device/macos.node'))
  expect(header.readUInt32LE(0)).toBe(0xfeedfacf) // Mach-O, 64 bits
  expect(header.readUInt32LE(4)).toBe(0x0100000c) // arm64
  expect(header.readUInt32LE(12)).toBe(8) // MH_BUNDLE
})

// What a Mac compiles is what the rig compiles.
const folder = mkdtempSync(join(tmpdir(), 'embedded-'))
afterAll(() => rmSync(folder, { recursive: true }))
const kernelFiles = readdirSync(join(root, 'metal')).filter((name) => name.endsWith('.metal'))
const embedded = join(folder, 'kernel_sources.cpp')
execFileSync('node', [join(root, 'scripts/embed-metal.mjs'), embedded])
const sources = readFileSync(embedded, 'utf8')

test.each(kernelFiles)('%s is embedded as it is', (name) => {
  const text = new RegExp(`\\{"${name}", .*R"metal\\(\\n([^]*?)\\)metal"`).exec(sources)?.[1]
  // Token by token, macros expanded comments gone; Metal's own header is empty.
  const tokens = (input: string, ...args: string[]) => {
    const output = execFileSync(
      process.env.CXX ?? 'clang++-19',
      [
        '-E',
        '-P',
        '-nostdinc',
        '-D__METAL_VERSION__=310',
        '-I',
        'test/software-metal/include-empty',
        '-x',
        'c++',
        ...args,
      ],
      { cwd: root, input, encoding: 'utf8' },
    )
    return output.trim().split(/\s+/)
  }
  expect(text).not.toMatch(/#\s*include\s*"/)
  expect(tokens(text ?? '', '-')).toEqual(tokens('', '-I', 'metal', `metal/${name}`))
})

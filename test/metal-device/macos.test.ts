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

// binding.gyp is a Python literal, which is how node-gyp reads it.
const gyp = JSON.parse(
  execFileSync(
    'python3',
    ['-c', 'import ast, json, sys; print(json.dumps(ast.literal_eval(sys.stdin.read())))'],
    { input: readFileSync(join(root, 'binding.gyp')), encoding: 'utf8' },
  ),
)
const [addon] = gyp.targets
// biome-ignore lint/suspicious/noExplicitAny: as deep as binding.gyp
const conditionOf = (conditions: [string, any][], wanted: string) =>
  conditions.find(([condition]) => condition === wanted)![1]
const mac = conditionOf(addon.conditions, "OS=='mac'")
const [level] = conditionOf(gyp.conditions, "target_arch=='arm64'").targets
const expand = (values: string[]) =>
  values.flatMap((value) => {
    const command = /^<!@\((.*)\)$/.exec(value)?.[1]
    return command
      ? execFileSync(command, { shell: true, cwd: root, encoding: 'utf8' }).trim().split('\n')
      : [value]
  })

test('has the sources that binding.gyp has on a Mac', () => {
  const listed = [addon, level, mac].flatMap(({ sources }) => expand(sources))
  const commands: { file: string; command: string }[] = JSON.parse(
    readFileSync(builtIn('compile_commands.json'), 'utf8'),
  )
  const compiled = commands
    .filter(({ command }) => command.includes('macos_objects'))
    .map(({ file }) => file)
    .filter((file) => file.startsWith(join(root, 'native/')))
    .map((file) => file.slice(root.length))
  expect(compiled.sort()).toEqual(listed.sort())
  expect(gyp.target_defaults.defines).toContain('NAPI_VERSION=9')
  expect(mac.defines).toEqual([
    'SSM_WITH_METAL',
    'SSM_BLAS_HEADER=<Accelerate/Accelerate.h>',
    'ACCELERATE_NEW_LAPACK',
  ])
  expect(mac.actions[0].outputs[0]).toMatch(/kernel_sources\.cpp$/)
})

test('is shipped with all that the build on a Mac needs', () => {
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  expect(files).toEqual(expect.arrayContaining(['native', 'metal', 'binding.gyp']))
  for (const input of expand(mac.actions[0].inputs)) {
    expect(files.some((name: string) => input === name || input.startsWith(`${name}/`))).toBe(true)
  }
})

// What a Mac compiles is what the rig compiles.
const folder = mkdtempSync(join(tmpdir(), 'embedded-'))
afterAll(() => rmSync(folder, { recursive: true }))
const kernelFiles = readdirSync(join(root, 'metal')).filter((name) => name.endsWith('.metal'))
const embedded = join(folder, 'kernel_sources.cpp')
execFileSync('node', [join(root, 'scripts/embed-metal.mjs'), embedded])
const sources = readFileSync(embedded, 'utf8')

// With constants of each kind: metal/constants.h makes them literals, and buffers absent or not.
test.each(
  kernelFiles.flatMap((name) => [
    [name, 0],
    [name, 1],
  ]) as [string, number][],
)('%s is embedded as it is, constants being %d', (name, value) => {
  const text = new RegExp(`\\{"${name}", .*R"metal\\(([^]*?)\\)metal"`).exec(sources)?.[1]
  const declared = [...(text ?? '').matchAll(/^SSM_CONSTANT\(\w+, (\w+)\);/gm)]
  const constants = declared.map(([, name]) => `-DSSM_VALUE_${name}=${value}`)
  // Token by token, macros expanded, comments gone; Metal's own header is empty.
  const tokens = (input: string, ...args: string[]) => {
    const output = execFileSync(
      process.env.CXX ?? 'clang++-19',
      [
        '-E',
        '-P',
        '-nostdinc',
        '-D__METAL_VERSION__=310',
        '-DSSM_KERNEL=name',
        ...constants,
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
  const embedded = tokens(text ?? '', '-')
  expect(embedded).toEqual(tokens('', '-I', 'metal', `metal/${name}`))
  expect(embedded.join(' ')).not.toContain('SSM_')
})
